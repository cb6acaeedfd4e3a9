"""Least squares of a target on its own past and on sources at fractional lags, over the samples that count.

Sums over a window that ends with a jump are biased, the more the narrower the rhythm: a lag of sources with
poles of radius 0.9 errs twice as far as it has to. So the sums run over those samples alone whose whole past
is in the window. The covariances of the window and its surroundings (zeros) are looked up in a table, and
what the samples at its two ends contribute is taken away again: a tenth of the work of summing the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cldtrans.models.lag_inference.covariances import (
    FINER,
    SINC_TAPS,
    covariance_at,
    cubic,
    finer,
    lagged_covariance,
    two_sided,
)
from cldtrans.models.lag_inference.growing import NOISE_FLOOR, OWN_LAGS, Grown

STEP = 0.3  # samples on each side of a lag between which a Gauss-Newton step interpolates
STEPS = 2


@dataclass
class Ends:
    """Signals [B, C, T] around the beginning and the end of their window: where times do not count."""

    fine: tuple[Tensor, Tensor]  # [B, C, FINER, n], FINER a sample
    starts: tuple[int, int]  # time at which each of these begins
    times: tuple[tuple[int, int], tuple[int, int]]  # first and last + 1 that do not count

    def delayed(self, channel: Tensor, lag: Tensor) -> Tensor:
        """Look up `x(t - lag)` at the times that do not count.

        Parameters
        ----------
        channel : tensor [B, ...] of int
            Channels.
        lag : tensor [B, ...]
            Samples.

        Returns
        -------
        tensor [B, ..., times]
            The delayed samples.
        """
        parts = zip(self.fine, self.starts, self.times, strict=True)
        return torch.cat(
            [_delayed(fine, channel, t0 - lag - start, t1 - t0) for fine, start, (t0, t1) in parts], -1
        )


@dataclass
class Sums:
    """Windows of T samples as `fit` needs them. Time t counts where `first <= t < last`."""

    x: Tensor  # [B, C, T]
    fine: Tensor  # [B, C, C, n] covariances with zeros around the window, from lag -max_lag, FINER a sample
    ends: Ends
    past_at_ends: Tensor  # [B, C, P + 1, times] that do not count: each channel at lags 0..P
    first: int
    last: int
    max_lag: int
    correction: Tensor | None = None  # [B, C', 1 + K, n] what pseudo-responses of the targets add to their
    # covariances with themselves and their sources, as `fine` from lag 0

    @classmethod
    def of(cls, x: Tensor, max_lag: int) -> Sums:
        """Prepare the sums of standardised windows x [B, C, T]."""
        n = x.shape[-1]
        first, last = min(max_lag + SINC_TAPS, n // 4), n - min(SINC_TAPS, n // 8)
        table = lagged_covariance(x, x, max_lag + SINC_TAPS)
        diagonal = torch.arange(x.shape[1], device=x.device)
        table[:, diagonal, diagonal, 0] += NOISE_FLOOR
        # Interpolated, x reaches SINC_TAPS beyond its ends, and so much farther when it is delayed.
        reach = max_lag + 2 + SINC_TAPS  # and a sample for shifts, one for the cubic
        around = F.pad(x, (reach + 2 * SINC_TAPS, reach + 2 * SINC_TAPS))
        begin, end = reach + SINC_TAPS, last - reach  # the ends' first sample, from the pads' and in time
        ends = around[..., : begin + first + 2 * SINC_TAPS + 2], around[..., end + reach + SINC_TAPS :]
        head, tail = (finer(part).unflatten(-1, (-1, FINER)).mT.contiguous() for part in ends)
        times = ((-SINC_TAPS, first), (last, n + max_lag + SINC_TAPS + 1))
        at_ends = Ends((head, tail), (-begin, end), times)
        past = torch.arange(OWN_LAGS + 1, dtype=x.dtype, device=x.device).expand(*x.shape[:2], -1)
        return cls(
            x,
            finer(two_sided(table)),
            at_ends,
            at_ends.delayed(diagonal[None, :, None], past),
            first,
            last,
            max_lag,
        )


def _delayed(fine: Tensor, channel: Tensor, begin: Tensor, n_samples: int) -> Tensor:
    """`n_samples` values from sample `begin` of signals [B, C, FINER, n], phase by phase, by cubics."""
    stretch = fine.unfold(-1, n_samples, 1)
    batch = torch.arange(len(fine), device=fine.device).view(-1, *([1] * (channel.dim() - 1)))
    place = begin * FINER
    left = place.floor().clamp(1, FINER * stretch.shape[3] - 3)
    u = (place - left)[..., None]
    at = left.long()
    a, b, c, d = (
        stretch[batch, channel, (at + step) % FINER, (at + step) // FINER] for step in (-1, 0, 1, 2)
    )
    return cubic(a, b, c, d, u)


@dataclass
class Fit:
    """Least squares of each of C' targets on its own past and its sources at given lags."""

    channel: Tensor  # [B, C', P + K] of each regressor
    lag: Tensor  # [B, C', P + K] samples
    live: Tensor  # [B, C', P + K] 1 or 0
    coefficient: Tensor  # [B, C', P + K]
    inverse: Tensor  # [B, C', P + K, P + K] of the Gram matrix


def refine(sums: Sums, grown: Grown, tau: Tensor) -> Tensor:
    """Move lags to fractions of a sample, by Gauss-Newton steps.

    Parameters
    ----------
    sums : Sums
        The windows.
    grown : Grown
        Models at whole-sample lags.
    tau : tensor [B, C', K]
        Lags in samples.

    Returns
    -------
    tensor [B, C', K]
        The lags.
    """
    for _ in range(STEPS):
        near = fit_beside(sums, grown, tau)
        tau = moved(tau, near.coefficient, grown.used, sums.max_lag)
    return tau


def corrected(sums: Sums, grown: Grown, table: Tensor) -> Sums:
    """Add corrections to the sums, of what models look up alone.

    Parameters
    ----------
    sums : Sums
        The windows.
    grown : Grown
        Models of C' targets.
    table : tensor [B, C', C, n]
        Corrections of covariances, lags from -SINC_TAPS.
    """
    channel = torch.cat([grown.target[None, :, None].expand(len(table), -1, 1), grown.source], -1)
    wanted = table.gather(2, channel[..., None].expand(*channel.shape, table.shape[-1]))
    return replace(sums, correction=finer(wanted))


def fit_beside(sums: Sums, grown: Grown, tau: Tensor) -> Fit:
    """Fit with each source twice, `STEP` earlier and later."""
    return fit(sums, grown, tau, (-STEP, STEP))


def moved(tau: Tensor, coefficient: Tensor, used: Tensor, max_lag: int) -> Tensor:
    """Move lags to where the shares of the earlier and the later copy point."""
    early, late = coefficient[..., OWN_LAGS:].chunk(2, -1)
    total = early + late
    move = STEP * (late - early) / torch.where(total.abs() < 1e-6, torch.full_like(total, 1e-6), total)
    return torch.where(used, tau + move.clamp(-0.7, 0.7), tau).clamp(0, max_lag)


def fit(sums: Sums, grown: Grown, tau: Tensor, shifts: tuple[float, ...] = (0.0,)) -> Fit:
    """Fit by least squares with the sources at given lags, or each once a shift of them.

    Covariances that recur are looked up once: between sources they depend on the difference of two shifts,
    and with the target's past, lags 0..P, lag 0 gives the right-hand side.

    Parameters
    ----------
    sums : Sums
        The windows.
    grown : Grown
        Sources of C' targets.
    tau : tensor [B, C', K]
        Lags of the sources, samples.
    shifts : tuple of float
        S shifts of the lags, samples.
    """
    fine, max_lag, n_samples = sums.fine, sums.max_lag, sums.x.shape[-1]
    b, c, k = tau.shape
    n_own, n_all = OWN_LAGS, OWN_LAGS + k * len(shifts)
    me = grown.target[None, :, None]
    past = torch.arange(n_own + 1, device=fine.device)
    late = torch.cat([tau + shift for shift in shifts], -1)  # [B, C', S K]
    source, used = (value.repeat(1, 1, len(shifts)) for value in (grown.source, grown.used.to(fine.dtype)))
    channel = torch.cat([me.expand(b, c, n_own), source], -1)
    lag = torch.cat([past[1:].to(fine.dtype).expand(b, c, n_own), late], -1)
    live = torch.cat([torch.ones_like(lag[..., :n_own]), used], -1)

    auto = fine.diagonal(dim1=1, dim2=2)[:, FINER * max_lag :: FINER].transpose(1, 2)[:, grown.target]
    since = late[..., None, :] - past[:, None]
    before = covariance_at(fine, -max_lag, me[..., None], source[..., None, :], since) * used[..., None, :]
    after = covariance_at(fine, -max_lag, source[..., None, :], me[..., None], -since[..., 1:, :])
    apart = tau[..., None, :] - tau[..., :, None]
    moves = sorted({later - earlier for earlier in shifts for later in shifts})
    first, second = grown.source[:, :, None, :, None], grown.source[:, :, None, None, :]
    between = covariance_at(fine, -max_lag, first, second, torch.stack([apart + m for m in moves], 2))
    gram = fine.new_empty(b, c, n_all, n_all)
    gram[..., :n_own, :n_own] = auto[..., (past[1:, None] - past[1:]).abs()]
    gram[..., :n_own, n_own:] = before[..., 1:, :]
    gram[..., n_own:, :n_own] = (after * used[..., None, :]).mT
    for row, earlier in enumerate(shifts):
        for column, later in enumerate(shifts):
            block = gram[..., n_own + row * k :, n_own + column * k :][..., :k, :k]
            block.copy_(between[:, :, moves.index(later - earlier)])
    gram[..., n_own:, n_own:] *= used[..., :, None] * used[..., None, :]
    right = torch.cat([auto[..., 1 : n_own + 1], before[..., 0, :]], -1)

    itself = sums.past_at_ends[:, grown.target]
    others = sums.ends.delayed(source, late) * used[..., None]
    now, ends = itself[..., :1, :], torch.cat([itself[..., 1:, :], others], -2)
    gram = gram - ends @ ends.mT / n_samples
    right = right - (ends @ now.mT)[..., 0] / n_samples
    if sums.correction is not None:
        row_of = torch.arange(c, device=fine.device)[None, :, None]
        place = torch.arange(1, k + 1, device=fine.device).repeat(len(shifts))
        regressor = F.pad(place, (n_own, 0)).expand(1, 1, n_all)  # the own past's is the target itself
        right = right + covariance_at(sums.correction, 0, row_of, regressor, lag) * live
    gram.diagonal(dim1=-2, dim2=-1).add_(NOISE_FLOOR + 1 - live)
    inverse = torch.linalg.inv(gram)
    coefficient = (inverse @ right[..., None])[..., 0]
    return Fit(channel, lag, live, coefficient, inverse)
