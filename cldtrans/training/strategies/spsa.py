"""The slope of a loss along a random direction, from two passes without a graph, and a step along it.

Simultaneous perturbation (Spall 1992, IEEE Trans. Autom. Control 37:332): with z of independent entries of
unit variance, `slope * z`, slope = (L(w + scale z) - L(w - scale z)) / (2 scale), has the gradient as its
mean for a small scale. Its direction is a poor one: for normal z the expected cosine with the gradient is
about sqrt(2 / (pi d)), d entries. MeZO (Malladi et al. 2023, arXiv 2305.17333) steps along it and keeps of z
its seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Perturbation:
    """A random direction z, kept as its seed: it is drawn anew, a tensor at a time, when it is needed.

    Attributes
    ----------
    seed : int
        The same seed gives the same direction on one kind of device; CPU and GPU draw different ones.
    sparsity : float
        Share of the entries, at random, that are zero, in [0, 1); the others grow to keep the variance 1.
    """

    seed: int
    sparsity: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.sparsity < 1.0:
            raise ValueError(f"sparsity: expected a share in [0, 1), found {self.sparsity}")

    def directions(self, parameters: Sequence[Tensor]) -> Iterator[Float[Tensor, ...]]:
        """Draw z for each parameter in turn, of its shape, type and device."""
        generators: dict[torch.device, torch.Generator] = {}
        for parameter in parameters:
            device = parameter.device
            if device not in generators:
                generators[device] = torch.Generator(device).manual_seed(self.seed)
            source = generators[device]
            z = torch.randn(parameter.shape, generator=source, device=device, dtype=parameter.dtype)
            if self.sparsity:
                kept = torch.rand(parameter.shape, generator=source, device=device) >= self.sparsity
                z.mul_(kept).div_(math.sqrt(1.0 - self.sparsity))
            yield z


@dataclass(frozen=True)
class Projection:
    """What two passes say of a direction.

    Attributes
    ----------
    slope : float
        Derivative of the loss along z.
    loss : float
        Mean of the two passes.
    """

    slope: float
    loss: float


def projected_gradient(
    loss: Callable[[], Tensor], parameters: Sequence[nn.Parameter], perturbation: Perturbation, scale: float
) -> Projection:
    """Compute the slope of a loss along a random direction.

    Both passes see the same loss: they begin from one state of torch's random numbers, so that dropout hides
    the same units. The parameters are put back bit by bit, whatever happens, from a copy: arithmetic would
    leave rounding behind, and a copy of them is small beside what autograd would keep.

    Parameters
    ----------
    loss : callable
        Of nothing; returns a scalar. No gradient is recorded in it.
    parameters : sequence of Parameter
        Those that move; changed while it runs.
    perturbation : Perturbation
        The direction z.
    scale : float
        How far to either side, in units of z; positive.

    Raises
    ------
    FloatingPointError
        Where a pass is not finite, so that there is no slope.
    """
    devices = {parameter.device for parameter in parameters if parameter.device.type == "cuda"}
    copies = [parameter.detach().clone() for parameter in parameters]

    def shifted(by: float) -> float:
        for parameter, copy, z in zip(parameters, copies, perturbation.directions(copies), strict=True):
            parameter.copy_(torch.add(copy, z, alpha=by))
        return float(loss())

    with torch.no_grad():
        try:
            with torch.random.fork_rng(list(devices)):
                above = shifted(scale)
            below = shifted(-scale)
        finally:
            for parameter, copy in zip(parameters, copies, strict=True):
                parameter.copy_(copy)
    if not (math.isfinite(above) and math.isfinite(below)):
        raise FloatingPointError(
            f"direction of seed {perturbation.seed}: expected finite losses, found {above} and {below}"
        )
    return Projection((above - below) / (2 * scale), (above + below) / 2)


def mezo(
    loss: Callable[[], Tensor],
    parameters: Sequence[nn.Parameter],
    perturbation: Perturbation,
    scale: float,
    rate: float,
) -> Projection:
    """Step down the slope along a random direction, `w -= rate * slope * z`, without a gradient's memory.

    Parameters
    ----------
    loss, parameters, perturbation, scale
        As in `projected_gradient`; the parameters are changed.
    rate : float
        Learning rate; stable ones are about d times smaller than with the gradient.
    """
    found = projected_gradient(loss, parameters, perturbation, scale)
    with torch.no_grad():
        for parameter, z in zip(parameters, perturbation.directions(parameters), strict=True):
            parameter.sub_(z, alpha=rate * found.slope)
    return found
