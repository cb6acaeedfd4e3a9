"""The gradient of few rows, joined with the slope of many along a random direction.

Few rows need little memory and their gradient is noisy; a slope needs two passes without a graph, so many
rows fit, but it knows one direction. For each tensor

    g = share * g_first + (1 - share) * |g_first| * u,

g_first the gradient of the few rows, u the random direction of unit length, turned to where the loss of the
many grows. The length of g_first is lent to u because that of a slope's estimate grows with the root of the
number of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from cldtrans.training.strategies.accumulate import Loss, accumulate, mean_loss
from cldtrans.training.strategies.spsa import Perturbation, projected_gradient


def fusion(
    loss: Loss,
    module: nn.Module,
    few: Sequence[Shaped[Tensor, "b ..."]],
    many: Sequence[Shaped[Tensor, "N ..."]],
    *,
    share: float,
    perturbation: Perturbation,
    scale: float,
    rows: int,
) -> tuple[Float[Tensor, ""], list[Float[Tensor, ...]]]:
    """Compute a gradient from few rows with a graph and many without.

    Parameters
    ----------
    loss : callable
        `loss(*rows)`, the mean over rows, a function of the module's parameters.
    module : Module
        Whose parameters that require a gradient are meant. In the passes without a graph its batch
        normalisation uses the statistics it has, and does not change them.
    few : sequence of tensors [b, ...]
        Arguments of the loss, b rows, for the gradient.
    many : sequence of tensors [N, ...]
        The same of N rows, for the slope.
    share : float
        Of the gradient, in [0, 1]; 1: nothing but it, bit by bit, and no other pass is made.
    perturbation : Perturbation
        The random direction.
    scale : float
        As in `projected_gradient`.
    rows : int
        How many go through the module at once, of either.

    Returns
    -------
    value : tensor []
        Mean loss of the few rows.
    gradient : list of tensors
        One for each parameter that requires a gradient, in the module's order.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share of the gradient: expected a number in [0, 1], found {share}")
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    value, gradient = accumulate(loss, few, parameters, rows)
    if share == 1.0:
        return value, gradient
    with frozen_statistics(module):
        found = projected_gradient(lambda: mean_loss(loss, many, rows), parameters, perturbation, scale)
    sign = float(found.slope > 0) - float(found.slope < 0)
    for first, z in zip(gradient, perturbation.directions(parameters), strict=True):
        unit = z / z.norm().clamp_min(torch.finfo(z.dtype).tiny)  # a sparse z may be zero in a small tensor
        length = first.norm()
        first.mul_(share).add_((1.0 - share) * sign * length * unit)
    return value, gradient


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Let normalisation over a batch use its running statistics and leave them alone while the block runs."""
    layers = [layer for layer in module.modules() if isinstance(layer, _NormBase) and layer.training]
    try:
        for layer in layers:
            layer.eval()
        yield
    finally:
        for layer in layers:
            layer.train()
