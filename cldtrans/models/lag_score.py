"""How significant each pair is: by least squares, or by the score of heavy-tailed innovations.

Least squares weighs a large residual by its square. Where a target's residuals e have heavier tails than a
Gaussian's, their score psi(e) = tanh(2 e / sigma) in place of e tells more: for Laplace innovations it is
worth nearly twice the data. `efficiency = E[psi']^2 E[e^2] / E[psi^2]` says how much; a target takes the
score where that exceeds 1, least squares elsewhere. One Newton step from least squares is enough (Le Cam).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cldtrans.lag import fourier
from cldtrans.models.covariances import SINC_TAPS, covariance_at, finer, lagged_covariance, peak
from cldtrans.models.lag_fit import STEP, Fit, Sums, fit, fit_beside, moved
from cldtrans.models.lag_search import NOISE_FLOOR, OWN_LAGS, Grown, subtract

BINS = 64  # of a spectrum whose phases follow from one another


@dataclass
class Significance:
    """Of C' targets: of the selected regressors [B, C', K], of every other pair's best lag [B, C', C]."""

    tau: Tensor  # [B, C', K] samples
    tau_error: Tensor  # [B, C', K] its standard error
    weight: Tensor  # [B, C', K]
    t: Tensor  # [B, C', K]
    own: Tensor  # [B, C', P] coefficients of the target's own past
    noise: Tensor  # [B, C'] residual variance
    efficiency: Tensor  # [B, C']
    partial: Tensor  # [B, C', C]
    partial_lag: Tensor  # [B, C', C] samples
    partial_weight: Tensor  # [B, C', C]


def significance(sums: Sums, grown: Grown, tau: Tensor) -> Significance:
    """From the grown models with refined lags `tau` [B, C', K] and the windows themselves."""
    x, max_lag = sums.x, sums.max_lag
    n_samples = x.shape[-1]
    first = fit(sums, grown, tau)
    e = residuals(x, first, max_lag)[..., sums.first : sums.last]
    deviation = e.square().mean(-1, keepdim=True).sqrt().clamp_min(NOISE_FLOOR)
    psi = torch.tanh(2 * e / deviation)
    slope = (2 * (1 - psi.square()) / deviation).mean(-1)
    spread = psi.square().mean(-1).clamp_min(1e-6)
    efficiency = slope.square() * deviation[..., 0].square() / spread
    heavy = efficiency > 1.0
    # Least squares is the same with psi = e: slope 1, spread the residual variance.
    slope = torch.where(heavy, slope, 1.0)
    spread = torch.where(heavy, spread, deviation[..., 0].square())
    psi = torch.where(heavy[..., None], psi, e)
    psi = F.pad(psi, (sums.first, n_samples - sums.last))
    ahead = F.pad(x, (0, SINC_TAPS))[..., SINC_TAPS:]
    wide = lagged_covariance(psi, ahead, max_lag + 2 * SINC_TAPS)  # lags -SINC_TAPS .. max_lag + SINC_TAPS
    against = finer(wide)  # from lag 0
    me = torch.arange(wide.shape[1], device=x.device)[None, :, None]

    def step(at: Fit) -> Tensor:
        right = covariance_at(against, 0, me, at.channel, at.lag) * at.live
        return (at.inverse @ right[..., None])[..., 0] / slope[..., None]

    beside = fit_beside(sums, grown, tau)
    better = moved(tau, beside.coefficient + step(beside), grown.used, max_lag)
    tau = torch.where(heavy[..., None], better, tau)
    tau_error = _lag_error(beside, spread / slope.square() / n_samples)
    last = fit(sums, grown, tau)
    coefficient = last.coefficient + step(last)
    variance = (last.inverse.diagonal(dim1=-2, dim2=-1) * (spread / slope.square())[..., None]).clamp_min(
        1e-12
    )
    t = coefficient.abs() * (n_samples / variance).sqrt() * last.live
    partial, partial_lag, partial_weight = _outside(grown, wide, slope, spread, max_lag, n_samples)
    return Significance(
        tau=tau,
        tau_error=tau_error,
        weight=coefficient[..., OWN_LAGS:] * grown.used,
        t=t[..., OWN_LAGS:],
        own=coefficient[..., :OWN_LAGS],
        noise=last.noise,
        efficiency=efficiency,
        partial=partial,
        partial_lag=partial_lag,
        partial_weight=partial_weight,
    )


def _lag_error(beside: Fit, variance: Tensor) -> Tensor:
    """Standard error [B, C', K] of lags from the fit with every source earlier and later.

    tau = STEP (late - early) / (late + early); `variance` [B, C'] is the innovations' over the samples.
    """
    early, late = beside.coefficient[..., OWN_LAGS:].chunk(2, -1)
    k = early.shape[-1]
    inverse = beside.inverse[..., OWN_LAGS:, OWN_LAGS:]
    both = inverse.diagonal(dim1=-2, dim2=-1)
    across = inverse[..., :k, k:].diagonal(dim1=-2, dim2=-1)
    difference = (both[..., :k] + both[..., k:] - 2 * across).clamp_min(0.0) * variance[..., None]
    return STEP * difference.sqrt() / (early + late).abs().clamp_min(1e-6)


def residuals(x: Tensor, model: Fit, max_lag: int) -> Tensor:
    """`e_i(t)` [B, C', T] of a fit, fractional delays as phases; before the window there are zeros."""
    n = x.shape[-1] + max_lag + OWN_LAGS
    n += -n % 128
    spectrum = fourier.rfft(x, n)
    n_bins = spectrum.shape[-1]
    batch = torch.arange(len(x), device=x.device)[:, None]
    target, size = model.channel[..., 0], model.coefficient * model.live
    predicted = fourier.rfft(F.pad(size[..., :OWN_LAGS], (1, 0)), n).mul_(spectrum[batch, target])
    # The phase of bin BINS a + b is the product of two from short tables.
    far = torch.arange(0, n_bins, BINS, device=x.device, dtype=x.dtype)
    near = torch.arange(BINS, device=x.device, dtype=x.dtype)
    for k in range(OWN_LAGS, model.channel.shape[-1]):  # the k-th source of all targets at once
        angle = (-2 * torch.pi / n) * model.lag[..., k, None]
        coarse = torch.polar(size[..., k, None].expand(*angle.shape[:2], len(far)), angle * far)
        fine = torch.polar(torch.ones_like(near).expand(*angle.shape[:2], BINS), angle * near)
        phases = (coarse[..., :, None] * fine[..., None, :]).flatten(2)[..., :n_bins]
        predicted.addcmul_(phases, spectrum[batch, model.channel[..., k]])
    return x[batch, target] - fourier.irfft(predicted, n)[..., : x.shape[-1]]


def _outside(
    grown: Grown, wide: Tensor, slope: Tensor, spread: Tensor, max_lag: int, n_samples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Largest |t| over lags of each pair given the model, its lag and weight."""
    c = wide.shape[2]
    n_lags = max_lag + 1
    num = wide[..., SINC_TAPS : SINC_TAPS + n_lags].flatten(2)  # psi against every candidate
    me = torch.arange(wide.shape[1], device=wide.device)
    own = wide[:, me, grown.target, SINC_TAPS + 1 : SINC_TAPS + 1 + OWN_LAGS]
    along = torch.linalg.solve_triangular(grown.factor, own[..., None], upper=False)
    subtract(num, along[..., 0], grown.rows[:OWN_LAGS])
    for k in range(grown.source.shape[-1]):
        best = grown.source[..., k] * n_lags + grown.lag[..., k]
        share = num.gather(2, best[..., None]) / grown.scale[..., k, None] * grown.used[..., k, None]
        num.addcmul_(share, grown.rows[OWN_LAGS + k], value=-1)
    t = (num.abs() / grown.den.sqrt()).mul_((n_samples / spread).sqrt()[..., None])
    partial, lag = peak(t.unflatten(2, (c, n_lags)))
    nearest = lag.round().long().clamp(0, max_lag)
    at = nearest + n_lags * torch.arange(c, device=lag.device)
    weight = num.gather(2, at) / (slope[..., None] * grown.den.gather(2, at))
    return partial, lag, weight
