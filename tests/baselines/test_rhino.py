"""Rhino: its spline against quadrature and autograd, its graph, and worlds of its paper's kind."""

import numpy as np
import pytest
import torch
from lagged_worlds import f1, of_rhino

from cldtrans.baselines.rhino import BINS, BOUND, Graph, Messages, Model, Rhino, spline


def test_splines_rise_have_the_slope_they_say_and_end_in_the_identity():
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(4, 1, 3 * BINS - 1, generator=generator, dtype=torch.float64).expand(
        -1, 2001, -1
    )
    x = torch.linspace(-7, 7, 2001, dtype=torch.float64).expand(4, -1).clone().requires_grad_()
    y, log_slope = spline(x, parameters)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope)
    assert (y.diff(dim=1) > 0).all()
    beyond = x.abs() >= BOUND
    torch.testing.assert_close(y[beyond], x[beyond])


def test_the_density_is_one():
    """Over what one channel may be now, the other fixed, given the past and every edge: by quadrature."""
    torch.manual_seed(0)
    model = Model(2, 2, 8).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    past, graph = torch.randn(1, 2, 2, dtype=torch.float64), torch.ones(1, 3, 2, 2, dtype=torch.float64)
    graph[:, 0] = 0
    grid = torch.linspace(-15, 15, 20_001, dtype=torch.float64)
    step, n = float(grid[1] - grid[0]), len(grid)
    rows = torch.cat([torch.zeros(n, 1, 2, dtype=torch.float64), past.expand(n, -1, -1)], dim=1)
    with torch.no_grad():
        at_zero = float(model.log_density(rows[:1], graph).exp())
        sums = []
        for channel in range(2):
            now = rows.clone()
            now[:, 0, channel] = grid
            sums.append(step * float(model.log_density(now, graph.expand(n, -1, -1, -1)).exp().sum()))
    assert sums[0] * sums[1] / at_zero == pytest.approx(1, abs=1e-3)


def test_a_channel_listens_to_its_parents_alone():
    torch.manual_seed(0)
    messages, graph = Messages(3, 2, 8, 1), torch.zeros(1, 2, 3, 3)
    graph[:, 1, 0, 2] = 1  # one sample ago, from 0 to 2
    x = torch.randn(5, 2, 3)
    before = messages(x, graph.expand(5, -1, -1, -1))
    other = x.clone()
    other[:, 0] += 1
    other[:, 1, 1:] += 1
    torch.testing.assert_close(messages(other, graph.expand(5, -1, -1, -1)), before)
    other[:, 1, 0] += 1
    moved = (messages(other, graph.expand(5, -1, -1, -1)) - before).abs().amax((0, 2))
    assert moved[2] > 1e-3 and (moved[:2] == 0).all()


def test_graphs_now_go_one_way_and_cycles_are_counted():
    torch.manual_seed(0)
    graph = Graph(4, 2)
    with torch.no_grad():
        graph.now.zero_()
        graph.lagged.zero_()
    drawn = graph.sample(2000, 0.25).detach()
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    assert (drawn[:, 0] * drawn[:, 0].mT == 0).all()
    assert (drawn[:, 0].diagonal(dim1=1, dim2=2) == 0).all()
    torch.testing.assert_close(drawn.mean(0), graph.probability(), rtol=0, atol=0.05)
    assert graph.cyclic().item() > 0.1
    with torch.no_grad():
        graph.now[:] = torch.tensor([-30.0, 30.0, -30.0])[:, None]  # always from the lower to the higher
    assert graph.cyclic().item() == pytest.approx(0, abs=1e-5)
    assert torch.allclose(graph.probability()[0], torch.ones(4, 4).triu(1))
    assert graph.entropy().item() == pytest.approx(2 * 16 * np.log(2), rel=1e-3)  # of lagged edges alone


@pytest.mark.slow
def test_a_nonlinear_edge_and_its_lag_stand_out():
    """x1 hears |x0| three samples ago, which no correlation sees; everything else is independent."""
    rng = np.random.default_rng(0)
    x = rng.laplace(size=(10, 3, 400))
    x[:, 1, 3:] += 1.5 * np.abs(x[:, 0, :-3])
    found = Rhino(steps=500, batch_size=512, width=16)(x, 100.0, 0.04)
    assert np.argwhere(found.support).tolist() == [[1, 0]]
    assert found.tau[1, 0] == pytest.approx(0.03)
    again = Rhino(steps=3, width=8)(x, 100.0, 0.02, seed=1).score
    np.testing.assert_array_equal(again, Rhino(steps=3, width=8)(x, 100.0, 0.02, seed=1).score)


def test_worlds_of_the_paper_are_acyclic_now_and_stationary():
    edges, x = of_rhino(0, n_windows=5)
    assert edges.shape == (3, 5, 5) and x.shape == (5, 5, 200)
    assert edges.sum((1, 2)).tolist() == [5, 5, 5]
    assert np.linalg.matrix_power(edges[0].astype(int), 5).sum() == 0
    assert np.isfinite(x).all()
    assert f1(edges, edges) == 1 and f1(edges, ~edges) == 0
