"""Search for the sources and lags of every target by least squares, on covariances alone.

For each target i a linear model is grown,

    x_i(t) = sum_p a_ip x_i(t - p) + sum_k w_k x_{j_k}(t - tau_k) + e_i(t),

first its own past, then one source and whole-sample lag at a time (the candidate that reduces the residual
variance most, given what is already in), last all lags refined to fractions of a sample.

Source of the growing: Chen, Billings & Luo 1989, doi:10.1080/00207178908953472 (orthogonal least squares).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cldtrans.models.covariances import FINER, covariance_at

OWN_LAGS = 6  # order of a channel's own filter
NOISE_FLOOR = 1e-4  # white noise added to unit-variance channels: bounds what empty bands and ties can do
STEP = 0.3  # samples on each side of a lag between which a Gauss-Newton step interpolates
STEPS = 3


@dataclass
class Grown:
    """Models of all targets at whole-sample lags; a candidate is (source, lag), C * (max_lag + 1) of them."""

    source: Tensor  # [B, C, K] long, channel of each selected regressor, in the order of selection
    lag: Tensor  # [B, C, K] long, samples
    used: Tensor  # [B, C, K] bool: False where nothing was left to select
    marginal: Tensor  # [B, C, C] largest |t| given the own past
    marginal_lag: Tensor
    num: Tensor  # [B, C, candidates] covariance with the residual, given the model
    den: Tensor  # [B, C, candidates] variance given the model; infinite where not allowed
    residual: Tensor  # [B, C] residual variance
    rows: Tensor  # [B, C, P + K, candidates] covariances with the regressors, made orthonormal in order
    factor: Tensor  # [B, C, P, P] Cholesky factor of the own past's Gram matrix
    scale: Tensor  # [B, C, K] standard deviation of each selected regressor given the ones before it


@dataclass
class Fit:
    """Least squares of each target on its own past and its sources at given lags."""

    channel: Tensor  # [B, C, P + K] of each regressor
    lag: Tensor  # [B, C, P + K] samples
    live: Tensor  # [B, C, P + K] 1 or 0
    coefficient: Tensor  # [B, C, P + K]
    inverse: Tensor  # [B, C, P + K, P + K] of the Gram matrix
    noise: Tensor  # [B, C] residual variance


def grow(full: Tensor, pair: Tensor, max_lag: int, steps: int, n_samples: int) -> Grown:
    """Orthogonal least squares for all targets of all windows at once.

    For every candidate c = (source, lag) of a target, `num` is its covariance with the target's residual and
    `den` its variance, both given the regressors taken so far; `rows` holds its covariances with those
    regressors after orthonormalisation.
    """
    b, c = full.shape[:2]
    n_lags = max_lag + 1
    n_own = OWN_LAGS
    # own past: Toeplitz blocks of the target's autocovariance, [B, C, P, P] and against candidates
    auto = full.diagonal(dim1=1, dim2=2).transpose(1, 2)  # [B, C, 2M+1]
    p = torch.arange(1, n_own + 1, device=full.device)
    gram = auto[..., (p[:, None] - p).abs() + max_lag]
    factor = torch.linalg.cholesky_ex(gram + NOISE_FLOOR * torch.eye(n_own, device=full.device).to(gram))[0]
    lag = torch.arange(n_lags, device=full.device)
    cross = full[..., lag[None, :] - p[:, None] + max_lag]  # <x_i(t-p), x_j(t-l)> = R_ij(l - p): [B,C,C,P,l]
    cross = torch.linalg.solve_triangular(factor, cross.permute(0, 1, 3, 2, 4).flatten(3), upper=False)
    target = torch.linalg.solve_triangular(factor, auto[..., p + max_lag][..., None], upper=False)[..., 0]

    num = full[..., max_lag:].flatten(2) - (target[..., None] * cross).sum(2)  # [B, C, C * lags]
    power = full.diagonal(dim1=1, dim2=2)[:, max_lag]  # [B, C]
    den = power.repeat_interleave(n_lags, 1)[:, None] - cross.square().sum(2)
    residual = power - target.square().sum(-1)
    allowed = pair.repeat_interleave(n_lags, 2)
    tiny = 10 * NOISE_FLOOR * 1e-2

    def scores() -> Tensor:
        gain = torch.where(allowed & (den > tiny), num.square() / den.clamp_min(tiny), 0.0)
        return gain

    def t_values(gain: Tensor) -> Tensor:
        left = (residual[..., None] - gain).clamp_min(NOISE_FLOOR * 1e-2)
        return (gain * n_samples / left).sqrt()

    marginal, marginal_lag = t_values(scores()).unflatten(2, (c, n_lags)).max(-1)
    taken: list[Tensor] = []
    scales: list[Tensor] = []
    used: list[Tensor] = []
    free = pair.clone()
    rows = torch.cat([cross, cross.new_zeros(b, c, steps, cross.shape[-1])], 2)
    for step in range(steps):
        so_far = rows[:, :, : n_own + step]
        gain = torch.where(free.repeat_interleave(n_lags, 2), scores(), 0.0)
        best_gain, best = gain.max(-1)  # [B, C]
        use = best_gain > 0
        source, chosen_lag = best // n_lags, best % n_lags
        # <candidate (j, l), chosen (s, m)> = R_js(m - l)
        from_source = full.gather(
            2, source[:, None, :, None].expand(b, c, c, 2 * max_lag + 1)
        )  # [B, j, i, .]
        index = (chosen_lag[:, None, :, None] - lag) + max_lag  # [B, 1, i, l]
        inner = from_source.gather(3, index.expand(b, c, c, n_lags)).transpose(1, 2).flatten(2)
        own_row = so_far.gather(3, best[:, :, None, None].expand(b, c, n_own + step, 1))
        scale = den.gather(2, best[..., None]).clamp_min(tiny).sqrt()
        explained = (so_far.transpose(2, 3) @ own_row)[..., 0]
        direction = (inner - explained) / scale * use[..., None]
        along = num.gather(2, best[..., None]) / scale * use[..., None]
        num = num - direction * along
        den = den - direction.square()
        residual = residual - along[..., 0].square()
        rows[:, :, n_own + step] = direction
        free = free.scatter(2, source[..., None], False)
        taken.append(best)
        scales.append(scale[..., 0])
        used.append(use)
    chosen = torch.stack(taken, -1)
    return Grown(
        source=chosen // n_lags,
        lag=chosen % n_lags,
        used=torch.stack(used, -1),
        marginal=marginal,
        marginal_lag=marginal_lag,
        num=num,
        den=torch.where(allowed & (den > tiny), den, torch.inf),
        residual=residual,
        rows=rows,
        factor=factor,
        scale=torch.stack(scales, -1),
    )


def refine(fine: Tensor, grown: Grown, max_lag: int) -> Tensor:
    """Lags [B, C, K] to fractions of a sample, by Gauss-Newton steps on the interpolated covariances."""
    tau = grown.lag.to(fine.dtype)
    for _ in range(STEPS):
        near = fit_beside(fine, grown, tau, max_lag)
        tau = moved(tau, near.coefficient, grown.used, max_lag)
    return tau


def fit_beside(fine: Tensor, grown: Grown, tau: Tensor, max_lag: int) -> Fit:
    """The fit with each source twice, `STEP` earlier and later."""
    source, used = torch.cat([grown.source] * 2, -1), torch.cat([grown.used] * 2, -1)
    return fit(fine, source, torch.cat([tau - STEP, tau + STEP], -1), used, max_lag)


def moved(tau: Tensor, coefficient: Tensor, used: Tensor, max_lag: int) -> Tensor:
    """Lags moved to where the shares of the earlier and the later copy point."""
    early, late = coefficient[..., OWN_LAGS:].chunk(2, -1)
    total = early + late
    move = STEP * (late - early) / torch.where(total.abs() < 1e-6, torch.full_like(total, 1e-6), total)
    return torch.where(used, tau + move.clamp(-0.7, 0.7), tau).clamp(0, max_lag)


def fit(fine: Tensor, source: Tensor, tau: Tensor, used: Tensor, max_lag: int) -> Fit:
    """Least squares with `source` at lags `tau` [B, C, K] where `used`."""
    b, c, _ = source.shape
    own = torch.arange(1, OWN_LAGS + 1, device=fine.device)
    me = torch.arange(c, device=fine.device)[None, :, None].expand(b, c, OWN_LAGS)
    channel = torch.cat([me, source], -1)
    lag = torch.cat([own.to(fine.dtype).expand(b, c, OWN_LAGS), tau], -1)
    live = torch.cat([torch.ones_like(me, dtype=torch.bool), used], -1).to(fine.dtype)
    apart = lag[..., None, :] - lag[..., :, None]
    gram = covariance_at(fine, -max_lag, channel[..., :, None], channel[..., None, :], apart)
    gram = gram * live[..., :, None] * live[..., None, :] + torch.diag_embed(NOISE_FLOOR + 1 - live)
    right = covariance_at(fine, -max_lag, me[..., :1], channel, lag) * live
    inverse = torch.linalg.inv(gram)
    coefficient = (inverse @ right[..., None])[..., 0]
    power = fine.diagonal(dim1=1, dim2=2)[:, max_lag * FINER]
    noise = (power - (coefficient * right).sum(-1)).clamp_min(NOISE_FLOOR)
    return Fit(channel, lag, live, coefficient, inverse, noise)
