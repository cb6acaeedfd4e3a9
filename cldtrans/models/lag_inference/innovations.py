"""The score of a model's innovations: what in a residual tells about lags and weights.

Least squares weighs a large residual by its square. Where innovations have heavier tails than a Gaussian's,
their score `psi(e) = -d log p(e) / de` in place of e tells more: for Laplace innovations it is worth twice
the data. A step of Newton's method from a fit with residuals e is a least squares fit of the pseudo-response
`prediction + psi(e) / E[psi']` (Le Cam's one-step estimator), so sums of products are all that it takes.

The score is learned. It is a combination of few odd functions of the residual, and a small network finds the
combination from their moments in the window: with fresh weights it is the residual itself, which is least
squares. It is trained by score matching, `min E[psi^2 / 2 - psi']` (Hyvarinen 2005, JMLR 6:695), which needs
neither labels nor the density's normalisation; since psi is linear in its coefficients, the moments suffice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.models.lag_inference.growing import NOISE_FLOOR

SHARPNESS = (1.0, 2.0, 4.0)  # of the functions tanh(k u) beside u itself, u of unit variance
SIZE = 1 + len(SHARPNESS)
N_MOMENTS = SIZE * SIZE
WIDTH = 16
GRID = 2**16  # steps of a coefficient in unity


@dataclass
class Answer:
    """What residuals e [..., T] say to the model's parameters."""

    pseudo: Tensor  # [..., T] psi(e) / E[psi'], in units of e
    variance: Tensor  # [...] of that: least squares' own where psi(e) = e
    efficiency: Tensor  # [...] mean square of e over it
    moments: Tensor  # [..., N_MOMENTS] mean products of the functions that psi combines


ScoreFunction = Callable[[Tensor], Answer]


def functions(e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluate the functions that a score combines.

    Parameters
    ----------
    e : tensor [..., T]
        Residuals.

    Returns
    -------
    deviation : tensor [...]
        Standard deviation of the residuals.
    values : tensor [..., SIZE, T]
        Functions of the unit residuals.
    gram : tensor [..., SIZE, SIZE]
        Their mean products.
    """
    deviation = e.square().mean(-1).sqrt().clamp_min(NOISE_FLOOR)
    u = e / deviation[..., None]
    values = torch.stack([u, *(torch.tanh(sharp * u) for sharp in SHARPNESS)], -2)
    return deviation, values, values @ values.mT / e.shape[-1]


def slopes(gram: Tensor) -> Tensor:
    """Return the functions' mean derivatives [..., SIZE], from their mean products [..., SIZE, SIZE]."""
    sharp = torch.tensor(SHARPNESS, dtype=gram.dtype, device=gram.device)
    bent = sharp * (1 - gram.diagonal(dim1=-2, dim2=-1)[..., 1:])
    return torch.cat([torch.ones_like(bent[..., :1]), bent], -1)


def least_squares(e: Tensor) -> Answer:
    """Answer by psi(e) = e."""
    deviation, _, gram = functions(e)
    return Answer(e, deviation.square(), torch.ones_like(deviation), gram.flatten(-2))


class LearnedScoreFunction(nn.Module):
    """psi(e) of a window's channels; least squares with fresh weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(N_MOMENTS, WIDTH)
        self.out = nn.Linear(WIDTH, SIZE)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def coefficients(self, moments: Tensor) -> Tensor:
        """Return the functions' coefficients [..., SIZE], from their moments.

        They are computed in the moments' precision, for choices follow.
        """
        change = _mapped(F.gelu(_mapped(10 * (moments - 0.75), self.embed)), self.out)
        return change + F.pad(torch.ones_like(change[..., :1]), (0, SIZE - 1))

    @torch.no_grad()
    def forward(self, e: Tensor) -> Answer:
        """Answer for residuals [..., T]; by least squares where that tells more."""
        deviation, values, gram = functions(e)
        moments = gram.flatten(-2)
        # Evidence of windows that are nearly singular depends on the last bits of its score; parameters that
        # differ in those, as sums over other ranks do, shall not make another choice of sources.
        a = torch.round(self.coefficients(moments) * GRID) / GRID
        slope, power = _slope_and_power(a, gram)
        efficiency = slope.square() / power.clamp_min(1e-6)
        better = (efficiency > 1.0) & (slope > 0)
        psi = (a[..., None, :] @ values)[..., 0, :] * (deviation / slope.clamp_min(1e-6))[..., None]
        efficiency = torch.where(better, efficiency, 1.0)
        pseudo = torch.where(better[..., None], psi, e)
        return Answer(pseudo, deviation.square() / efficiency, efficiency, moments)

    def matching(self, moments: Tensor) -> Tensor:
        """Return the score matching loss [...] of the residuals with these moments; 0 at least squares."""
        gram = moments.unflatten(-1, (SIZE, SIZE))
        slope, power = _slope_and_power(self.coefficients(moments), gram)
        return 0.5 + power / 2 - slope


def _mapped(values: Tensor, layer: nn.Linear) -> Tensor:
    """Compute `layer(values)` in the values' precision, row by row: to the bit, whatever rows there are."""
    weight, bias = layer.weight.to(values.dtype), layer.bias.to(values.dtype)
    return (values[..., None, :] * weight).sum(-1) + bias


def _slope_and_power(a: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """`E[psi']` and `E[psi^2]` [...] of unit residuals, for coefficients a [..., SIZE]."""
    return (a * slopes(gram)).sum(-1), (a[..., None, :] @ gram @ a[..., None])[..., 0, 0]
