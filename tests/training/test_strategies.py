"""Gradients within a memory budget against the full batch's, theory, and counts by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from cldtrans.training.strategies.accumulate import accumulate, mean_loss
from cldtrans.training.strategies.fusion import frozen_statistics, fusion
from cldtrans.training.strategies.memory import saved_bytes
from cldtrans.training.strategies.spsa import Perturbation, mezo, projected_gradient

Batch = tuple[Tensor, Tensor]


class Small(nn.Module):
    """Convolution, batch normalisation, one transformer layer, a number a window."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(4, 16, 5, stride=2, padding=2)
        self.normalisation = nn.BatchNorm1d(16)
        self.transformer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = F.gelu(self.normalisation(self.convolution(x))).transpose(1, 2)
        return self.head(self.transformer(tokens).mean(1)).squeeze(1)


def small(n: int, dtype: torch.dtype = torch.float32) -> tuple[Small, Callable[..., Tensor], Batch]:
    torch.manual_seed(0)
    module = Small() if dtype == torch.float32 else Small().to(dtype)  # fake tensors know no `to`
    batch = torch.randn(n, 4, 32, dtype=dtype), torch.randn(n, dtype=dtype)
    return module, lambda x, y: F.mse_loss(module(x), y), batch


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_rows_at_a_time_give_the_gradient_of_the_batch(dtype: torch.dtype, tolerance: float) -> None:
    module, loss, batch = small(10, dtype)
    module.head.weight.grad = torch.ones_like(module.head.weight)
    parameters = [*module.parameters(), nn.Parameter(torch.ones(3, dtype=dtype))]
    with frozen_statistics(module):
        whole = loss(*batch)
        expected = torch.autograd.grad(whole, list(module.parameters()))
        for rows in (1, 4, 10, 99):
            value, gradient = accumulate(loss, batch, parameters, rows)
            torch.testing.assert_close(value, whole.detach(), rtol=tolerance, atol=0)
            for found, known in zip(gradient, expected, strict=False):
                assert (found - known).abs().max() <= min(
                    1e-6, tolerance * max(1.0, float(known.abs().max()))
                )
            assert torch.equal(gradient[-1], torch.zeros(3, dtype=dtype))
            torch.testing.assert_close(mean_loss(loss, batch, rows), value, rtol=tolerance, atol=0)
    assert not value.requires_grad
    assert torch.equal(module.head.weight.grad, torch.ones_like(module.head.weight))


def test_parameters_whose_gradients_are_one_tensor_are_added_up_apart() -> None:
    a, b = (nn.Parameter(torch.zeros(3)) for _ in range(2))
    x = torch.arange(12.0).reshape(4, 3)
    _, gradient = accumulate(lambda rows: ((a + b) * rows).sum(1).mean(), [x], [a, b], 1)
    assert gradient[0].data_ptr() != gradient[1].data_ptr()
    for found in gradient:
        torch.testing.assert_close(found, x.mean(0))


def test_rows_that_do_not_match_are_named() -> None:
    with pytest.raises(ValueError, match="found 3, 2 rows, 4 at a time"):
        accumulate(F.mse_loss, (torch.zeros(3), torch.zeros(2)), [], 4)


def test_the_cosine_of_a_random_direction_is_that_of_theory() -> None:
    """Of |z . g| / (|z| |g|), whose mean over the sphere is sqrt(2 / (pi d)) to 1 / (4 d)."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in ((10, 20), (200,))]
    curvature = [torch.rand_like(p) for p in parameters]

    def loss() -> Tensor:
        return torch.stack([(c * p**2).sum() for c, p in zip(curvature, parameters, strict=True)]).sum()

    gradient = torch.cat([(2 * c * p).detach().flatten() for c, p in zip(curvature, parameters, strict=True)])
    cosines = []
    for seed in range(1000):
        z = torch.cat([part.flatten() for part in Perturbation(seed).directions(parameters)])
        estimate = projected_gradient(loss, parameters, Perturbation(seed), 1e-3).slope * z
        cosines.append(float(estimate @ gradient / estimate.norm() / gradient.norm()))
    error = np.std(cosines) / np.sqrt(len(cosines))
    assert np.mean(cosines) == pytest.approx(np.sqrt(2 / (np.pi * 400)), abs=3 * error)
    assert error < 0.0015
    assert min(cosines) >= 0  # a slope never points the wrong way


@pytest.mark.parametrize("sparsity", [0.0, 0.75])
def test_the_mean_of_many_estimates_is_the_gradient(sparsity: float) -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64))
    total, zero = torch.zeros(4, dtype=torch.float64), 0
    for seed in range(1500):
        perturbation = Perturbation(seed, sparsity)
        (z,) = perturbation.directions([parameter])
        zero += int((z == 0).sum())
        total += projected_gradient(lambda: (parameter**2).sum(), [parameter], perturbation, 1e-3).slope * z
    spread = 2 * float(parameter.detach().norm()) * (3 / (1 - sparsity)) ** 0.5 / 1500**0.5
    torch.testing.assert_close(total / 1500, 2 * parameter.detach(), rtol=0, atol=3 * spread)
    assert zero / 6000 == pytest.approx(sparsity, abs=0.025)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_parameters_come_back_bit_by_bit(dtype: torch.dtype) -> None:
    parameter = nn.Parameter((torch.randn(1000) * 10.0 ** torch.linspace(-6, 3, 1000)).to(dtype))
    before = parameter.detach().clone()
    recorded = []

    def loss() -> Tensor:
        recorded.append((torch.is_grad_enabled(), bool(torch.equal(parameter, before))))
        return parameter.float().sum()

    projected_gradient(loss, [parameter], Perturbation(3), 1e-3)
    assert recorded == [(False, False)] * 2
    assert torch.equal(parameter, before)
    assert parameter.requires_grad

    def broken() -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        projected_gradient(broken, [parameter], Perturbation(3), 1e-3)
    assert torch.equal(parameter, before)
    with pytest.raises(FloatingPointError, match="seed 3: expected finite losses, found inf and inf"):
        projected_gradient(lambda: torch.tensor(float("inf")), [parameter], Perturbation(3), 1e-3)
    assert torch.equal(parameter, before)


def test_both_passes_see_the_same_loss_and_the_next_two_another() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    drawn = []

    def loss() -> Tensor:
        drawn.append(float(torch.rand(())))
        return torch.tensor(drawn[-1])

    for seed in range(2):
        assert projected_gradient(loss, [parameter], Perturbation(seed), 1e-3).slope == 0.0
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[3]
    assert drawn[0] != drawn[2]


def test_a_step_along_a_direction_draws_it_again_and_goes_down() -> None:
    parameters = [nn.Parameter(torch.ones(4, dtype=torch.float64)) for _ in range(2)]

    def loss() -> Tensor:
        return torch.cat(list(parameters)).square().sum()

    expected = [p.detach().clone() for p in parameters]
    perturbation = Perturbation(7, 0.5)
    slope = projected_gradient(loss, parameters, perturbation, 1e-4).slope
    for value, z in zip(expected, perturbation.directions(parameters), strict=True):
        value -= 0.01 * slope * z
    assert mezo(loss, parameters, perturbation, 1e-4, 0.01).slope == slope
    for found, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(found.detach(), value, rtol=1e-14, atol=0)
    for seed in range(300):
        mezo(loss, parameters, Perturbation(seed), 1e-4, 0.03)
    assert float(loss().detach()) < 1e-3
    with pytest.raises(ValueError, match=r"sparsity: expected a share in \[0, 1\), found 1"):
        Perturbation(0, 1.0)


def fused(
    module: nn.Module,
    loss: Callable[..., Tensor],
    batch: Batch,
    share: float,
    few: int = 2,
    **perturbed: float,
) -> list[Tensor]:
    first = tuple(tensor[:few] for tensor in batch)
    perturbation = Perturbation(int(perturbed.get("seed", 1)), perturbed.get("sparsity", 0.0))
    return fusion(loss, module, first, batch, share=share, perturbation=perturbation, scale=1e-3, rows=few)[1]


def test_fusion_of_first_order_alone_is_first_order_bit_by_bit() -> None:
    module, loss, batch = small(8)
    expected = torch.autograd.grad(loss(*(tensor[:2] for tensor in batch)), list(module.parameters()))
    for found, known in zip(fused(module, loss, batch, 1.0), expected, strict=True):
        assert torch.equal(found, known)
    with pytest.raises(ValueError, match=r"found 1\.5"):
        fused(module, loss, batch, 1.5)


@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_fusion_lends_each_tensors_length_to_the_direction(sparsity: float) -> None:
    module, loss, batch = small(8, torch.float64)
    module.head.bias.requires_grad_(False)
    first = fused(module, loss, batch, 1.0)
    joined = fused(module, loss, batch, 0.25, sparsity=sparsity)
    parameters = [p for p in module.parameters() if p.requires_grad]
    with frozen_statistics(module):
        slope = torch.autograd.grad(loss(*batch), parameters)
    z = list(Perturbation(1, sparsity).directions(parameters))
    uphill = sum(float((a * b).sum()) for a, b in zip(slope, z, strict=True))
    for found, g, direction in zip(joined, first, z, strict=True):
        rest = found - 0.25 * g
        if g.norm() > 1e-12 and direction.norm() > 0:
            assert float(rest.norm()) == pytest.approx(0.75 * float(g.norm()), rel=1e-9)
            assert np.sign(float((rest * direction).sum())) == np.sign(uphill)
        assert bool((rest[direction == 0].abs() <= 1e-15).all())
    zeros = torch.cat([(direction == 0).flatten() for direction in z]).double().mean()
    assert float(zeros) == pytest.approx(sparsity, abs=0.02)


def test_passes_without_a_graph_leave_statistics_alone() -> None:
    module, loss, batch = small(8)
    twin, loss_of_twin, _ = small(8)
    fused(module, loss, batch, 0.5)
    fused(twin, loss_of_twin, batch, 1.0)
    assert module.normalisation.state_dict()["num_batches_tracked"] == 1
    for found, known in zip(module.buffers(), twin.buffers(), strict=True):
        assert torch.equal(found, known)
    assert module.normalisation.training
    module.normalisation.eval()
    fused(module, loss, batch, 0.5)
    assert not module.normalisation.training


def test_bytes_are_counted_once_a_storage_and_until_the_graph_is_gone() -> None:
    x = torch.ones(100, requires_grad=True)
    with saved_bytes() as all_of_it:
        y = x * x  # x, twice
        assert (all_of_it.held, all_of_it.peak) == (400, 400)
        z = y.exp()  # its result
        assert all_of_it.held == 800
        z.sum().backward()
    assert (all_of_it.held, all_of_it.peak) == (0, 800)
    with saved_bytes() as let_go:
        y = (x * x).exp().softmax(0)
        assert let_go.held == 1200
        del y  # without a backward pass
        assert let_go.held == 0
    with saved_bytes(apart_from=[x]) as new:
        (x * x).exp().sum().backward()
    assert new.peak == 400
    with saved_bytes() as none, torch.no_grad():
        (x * x).exp()
    assert none.peak == 0


def peak(step: Callable[[], object], module: nn.Module, batch: Batch) -> int:
    with saved_bytes(apart_from=[*module.parameters(), *module.buffers(), *batch]) as counted:
        step()
    assert counted.held == 0
    return counted.peak


def test_fusion_holds_a_quarter_or_less_of_what_a_batch_does() -> None:
    module, loss, batch = small(32)
    parameters = list(module.parameters())
    full = peak(lambda: accumulate(loss, batch, parameters, 32), module, batch)
    assert full / peak(lambda: fused(module, loss, batch, 0.5), module, batch) >= 4
    assert full / peak(lambda: accumulate(loss, batch, parameters, 2), module, batch) >= 4
    assert (
        peak(
            lambda: mezo(lambda: mean_loss(loss, batch, 8), parameters, Perturbation(1), 1e-3, 1e-6),
            module,
            batch,
        )
        == 0
    )


def test_bytes_of_a_large_batch_are_known_without_its_memory() -> None:
    """As many as were really held, and those of 128 rows more than four times those of 8."""
    module, loss, batch = small(8)
    real = peak(lambda: accumulate(loss, batch, list(module.parameters()), 8), module, batch)
    found = {}
    with FakeTensorMode():
        for n in (8, 128):
            module, loss, batch = small(n)
            step = lambda: accumulate(loss, batch, list(module.parameters()), n)  # noqa: B023, E731 - called at once
            found[n] = peak(step, module, batch)
    assert found[8] == real
    assert found[128] / found[8] >= 4
