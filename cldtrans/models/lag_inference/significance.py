"""How significant each pair is, and where its lag lies, by the score of the innovations (`innovations`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cldtrans.lag import fourier
from cldtrans.models.lag_inference.covariances import SINC_TAPS, lagged_covariance, peak
from cldtrans.models.lag_inference.fitting import STEP, Fit, Sums, corrected, fit, fit_beside, moved
from cldtrans.models.lag_inference.growing import NOISE_FLOOR, OWN_LAGS, TINY, Grown, subtract
from cldtrans.models.lag_inference.innovations import ScoreFunction

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
    moments: Tensor  # [B, C', N_MOMENTS] of the residuals
    partial: Tensor  # [B, C', C]
    partial_lag: Tensor  # [B, C', C] samples
    partial_weight: Tensor  # [B, C', C]
    correction: Tensor  # [B, C', C, n] covariances of pseudo-response less response, lags from -SINC_TAPS


def significance(sums: Sums, grown: Grown, tau: Tensor, score: ScoreFunction) -> Significance:
    """Judge grown models with refined lags by the windows themselves.

    Parameters
    ----------
    sums : Sums
        The windows.
    grown : Grown
        Models of C' targets.
    tau : tensor [B, C', K]
        Refined lags, samples.
    score : callable
        Score function of the innovations.
    """
    n_samples, max_lag = sums.x.shape[-1], sums.max_lag
    before = fit(sums, grown, tau)
    e = residuals(sums.x, before, max_lag)[..., sums.first : sums.last]
    answer = score(e)
    pseudo, correction = _against(sums, torch.cat([answer.pseudo, answer.pseudo - e], 1)).chunk(2, 1)
    sums = corrected(sums, grown, correction)
    beside = fit_beside(sums, grown, tau)
    tau = moved(tau, beside.coefficient, grown.used, max_lag)
    last = fit(sums, grown, tau)
    variance = (last.inverse.diagonal(dim1=-2, dim2=-1) * answer.variance[..., None]).clamp_min(TINY**2)
    t = last.coefficient.abs() * (n_samples / variance).sqrt() * last.live
    partial, partial_lag, partial_weight = _outside(grown, pseudo, answer.variance, max_lag, n_samples)
    return Significance(
        tau=tau,
        tau_error=_lag_error(beside, answer.variance / n_samples),
        weight=last.coefficient[..., OWN_LAGS:] * grown.used,
        t=t[..., OWN_LAGS:],
        own=last.coefficient[..., :OWN_LAGS],
        noise=e.square().mean(-1).clamp_min(NOISE_FLOOR),
        efficiency=answer.efficiency,
        moments=answer.moments,
        partial=partial,
        partial_lag=partial_lag,
        partial_weight=partial_weight,
        correction=correction,
    )


def _against(sums: Sums, values: Tensor) -> Tensor:
    """Covariances of values [B, C', n] at the samples that count with every channel: lags from -SINC_TAPS."""
    around = F.pad(values, (sums.first, sums.x.shape[-1] - sums.last))
    ahead = F.pad(sums.x, (0, SINC_TAPS))[..., SINC_TAPS:]
    return lagged_covariance(around, ahead, sums.max_lag + 2 * SINC_TAPS)


def _lag_error(beside: Fit, variance: Tensor) -> Tensor:
    """Return standard error [B, C', K] of lags from the fit with every source earlier and later.

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
    """Compute `e_i(t)` of a fit, fractional delays as phases; before the window there are zeros.

    Parameters
    ----------
    x : tensor [B, C, T]
        Windows.
    model : Fit
        Of C' targets.
    max_lag : int
        Samples.

    Returns
    -------
    tensor [B, C', T]
        The residuals.
    """
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
    grown: Grown, pseudo: Tensor, variance: Tensor, max_lag: int, n_samples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Largest |t| over lags of each pair given the model, its lag and weight."""
    c = pseudo.shape[2]
    n_lags = max_lag + 1
    num = pseudo[..., SINC_TAPS : SINC_TAPS + n_lags].flatten(2)  # against every candidate
    me = torch.arange(pseudo.shape[1], device=pseudo.device)
    own = pseudo[:, me, grown.target, SINC_TAPS + 1 : SINC_TAPS + 1 + OWN_LAGS]
    along = torch.linalg.solve_triangular(grown.factor, own[..., None], upper=False)
    subtract(num, along[..., 0], grown.rows[:OWN_LAGS])
    for k in range(grown.source.shape[-1]):
        best = grown.source[..., k] * n_lags + grown.lag[..., k]
        share = num.gather(2, best[..., None]) / grown.scale[..., k, None] * grown.used[..., k, None]
        num.addcmul_(share, grown.rows[OWN_LAGS + k], value=-1)
    t = (num.abs() / grown.den.sqrt()).mul_((n_samples / variance).sqrt()[..., None])
    partial, lag = peak(t.unflatten(2, (c, n_lags)))
    nearest = lag.round().long().clamp(0, max_lag)
    at = nearest + n_lags * torch.arange(c, device=lag.device)
    weight = num.gather(2, at) / grown.den.gather(2, at)
    return partial, lag, weight
