"""The graph ODE: gradients, solvers and control path, against one another and by hand."""

import pytest
import torch
from toys.model import SETTINGS

from cldtrans.config import ModelConfig
from cldtrans.models.graph_ode import GraphODE, VectorField, control_path


def test_adjoint_and_direct_gradients_agree():
    torch.manual_seed(0)
    gradients = []
    path, adjacency = (torch.randn(s, dtype=torch.float64) for s in ((1, 3, 4, 16), (1, 3, 3, 3)))
    mask = torch.ones(1, 3, dtype=torch.bool)
    for adjoint in (False, True):
        torch.manual_seed(1)
        config = ModelConfig.model_validate(
            {**SETTINGS, "solver": "dopri5", "tolerance": 1e-7, "adjoint": adjoint}
        )
        ode = GraphODE(config).double()
        inputs = [value.clone().requires_grad_() for value in (path, 0.3 * adjacency)]
        result = ode(*inputs, mask)
        assert result.nfe > 0
        result.states.square().sum().backward()
        gradients.append([value.grad for value in (*inputs, *ode.parameters())])
    for direct, adjoint_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(direct, adjoint_gradient, rtol=1e-3, atol=1e-4)


def test_rk4_agrees_with_an_accurate_solution_and_feels_the_whole_path():
    torch.manual_seed(0)
    path = torch.randn(1, 2, 12, 16, dtype=torch.float64)
    adjacency = 0.5 * torch.rand(1, 4, 2, 2, dtype=torch.float64)
    states = {}
    for solver in ("rk4", "dopri5"):
        torch.manual_seed(1)
        config = ModelConfig.model_validate({**SETTINGS, "solver": solver, "tolerance": 1e-9})
        ode = GraphODE(config).double()
        states[solver] = ode(path, adjacency, torch.ones(1, 2, dtype=torch.bool)).states
        assert isinstance(ode.field, VectorField)
    assert (states["rk4"] - states["dopri5"]).abs().max() < 0.05
    moved = path.clone()
    moved[0, 0, -2] += 1.0
    again = ode(moved, adjacency, torch.ones(1, 2, dtype=torch.bool)).states
    changed = (again - states["dopri5"]).abs().amax((0, 1, 3))
    assert changed[-1] > 1e-3 and changed[:9].max() < 1e-9, "later controls act, and not backwards in time"


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_window_that_is_no_number_costs_dopri5_no_other(adjoint: bool, bad: float) -> None:
    """Its own states and energy are NaN, so that the guard of the training sees it; no solver gives up."""
    torch.manual_seed(0)
    settings = {**SETTINGS, "solver": "dopri5", "tolerance": 1e-9, "adjoint": adjoint}
    ode = GraphODE(ModelConfig.model_validate(settings)).double()
    path, adjacency = (
        torch.randn(3, 2, 6, 16, dtype=torch.float64),
        torch.rand(3, 3, 2, 2, dtype=torch.float64),
    )
    mask = torch.ones(3, 2, dtype=torch.bool)
    expected = ode(path[[0, 2]], adjacency[[0, 2]], mask[:2])
    path[1, 0, 3, 5] = bad
    found = ode(path, adjacency, mask)
    assert found.states[1].isnan().all() and found.energy[1].isnan()
    torch.testing.assert_close(found.states[[0, 2]], expected.states, atol=1e-3, rtol=1e-3)
    assert found.energy[[0, 2]].isfinite().all()


def test_control_path_is_the_mean_of_the_tokens_there_are():
    z = torch.arange(10.0).view(1, 1, 10, 1)
    assert control_path(z).flatten().tolist() == [1.5, 5.5, 8.5]
