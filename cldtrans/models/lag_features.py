"""Closed-form evidence for lagged edges in one window: what the lag network refines.

Everything here follows from short tables of lagged covariances; no dense [C, C, T] tensor appears. For each
target i a linear model is grown by least squares,

    x_i(t) = sum_p a_ip x_i(t - p) + sum_k w_k x_{j_k}(t - tau_k) + e_i(t),

first its own past, then one source and whole-sample lag at a time (orthogonal least squares: the candidate
that reduces the residual variance most, given what is already in), last all lags refined to fractions of a
sample by Gauss-Newton steps on the interpolated covariances. A second table, of phase-whitened signals
(GCC-PHAT), serves where one coherent source drives everything and conditioning explains it away.

All of it is equivariant under permutations of the channels, and nothing is differentiated: there is no
parameter before this point.

Sources: Chen, Billings & Luo 1989 (orthogonal least squares); Knapp & Carter 1976 (GCC-PHAT).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

OWN_LAGS = 6  # order of a channel's own filter
NOISE_FLOOR = 1e-3  # white noise added to unit-variance channels: bounds what empty bands and ties can do
STEP = 0.3  # samples on each side of a lag between which a Gauss-Newton step interpolates
SINC_TAPS = 8  # on each side, to interpolate covariances
FINER = 4  # steps a sample of the interpolated table


@dataclass
class LagFeatures:
    """Evidence for each ordered pair, row = target; lags in samples."""

    score: Tensor  # [B, C, C] |t| of the pair's best lag: joint where selected, partial elsewhere
    tau: Tensor  # [B, C, C] its lag
    weight: Tensor  # [B, C, C] its coefficient, channels of unit variance
    selected: Tensor  # [B, C, C] bool: in the grown model of the target
    own: Tensor  # [B, C, OWN_LAGS] coefficients of the target's own past in that model
    noise: Tensor  # [B, C] residual variance of that model
    marginal: Tensor  # [B, C, C] largest |t| of the pair given only the target's own past
    marginal_tau: Tensor  # [B, C, C]
    phat: Tensor  # [B, C, C] largest coherence of the phases over positive lags
    phat_tau: Tensor  # [B, C, C]
    phat_net: Tensor  # [B, C, C] signed lag of the largest coherence, > 0: the target follows

    def to(self, dtype: torch.dtype) -> LagFeatures:
        """The numbers as `dtype`."""
        values = (getattr(self, f.name) for f in fields(self))
        return LagFeatures(*(v.to(dtype) if v.is_floating_point() else v for v in values))


def standardise(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Zero mean and unit variance a channel, zeros where masked; and the mask less flat channels."""
    x = torch.where(mask[..., None], x, 0.0)
    x = x - x.mean(-1, keepdim=True)
    scale = x.square().mean(-1, keepdim=True).sqrt()
    alive = mask & (scale[..., 0] > torch.finfo(x.dtype).tiny * 1e8)
    return torch.where(alive[..., None], x / scale.clamp_min(torch.finfo(x.dtype).tiny), 0.0), alive


def lagged_covariance(x: Tensor, y: Tensor, max_lag: int) -> Tensor:
    """`R_ij(m) = 1/T sum_t x_i(t) y_j(t - m)`, m = 0..max_lag: [B, C, C, max_lag + 1]; zero outside.

    Overlap-save: short frames, one product of C x frames matrices a frequency.
    """
    n_samples, size = x.shape[-1], max_lag + 1
    n_frames = -(-n_samples // size)
    tail = n_frames * size - n_samples
    now = F.pad(x, (0, tail)).unflatten(-1, (n_frames, size))
    now = F.pad(now, (size, 0))
    past = F.pad(y, (size, tail)).unfold(-1, 2 * size, size)
    a = torch.fft.rfft(now).permute(0, 3, 1, 2)  # [B, F, C, frames]
    b = torch.fft.rfft(past).permute(0, 3, 1, 2)
    spectrum = a @ b.transpose(-1, -2).conj()
    table = torch.fft.irfft(spectrum.permute(0, 2, 3, 1), 2 * size)
    return table[..., :size] / n_samples


def two_sided(table: Tensor) -> Tensor:
    """`R_ij(m)` for m = -M..M from m = 0..M, by `R_ij(-m) = R_ji(m)`: [..., C, C, 2 M + 1]."""
    return torch.cat([table[..., 1:].flip(-1).transpose(-2, -3), table], -1)


def phase_whitened(x: Tensor, floor: float = 0.01) -> Tensor:
    """Each channel with a flat spectrum where it has power: bins far below its strongest ones stay small."""
    spectrum = torch.fft.rfft(x)
    power = spectrum.abs().square()
    smooth = F.avg_pool1d(power, 15, stride=1, padding=7, count_include_pad=False)
    scale = (smooth + floor**2 * smooth.amax(-1, keepdim=True)).sqrt()
    white = torch.fft.irfft(spectrum / scale.clamp_min(torch.finfo(x.dtype).tiny), x.shape[-1])
    return white / white.square().mean(-1, keepdim=True).sqrt().clamp_min(torch.finfo(x.dtype).tiny)


@torch.no_grad()
def lag_features(x: Tensor, mask: Tensor, max_lag: int, sources: int) -> LagFeatures:
    """Evidence from windows `x` [B, C, T] (standardised, zeros where not `mask` [B, C]).

    Parameters
    ----------
    max_lag : end of the lag grid in samples; it begins at 0
    sources : largest number of sources that a target's model is grown to
    """
    n_samples, n_channels = x.shape[-1], x.shape[1]
    table = lagged_covariance(x, x, max_lag + SINC_TAPS)
    diagonal = torch.arange(n_channels, device=x.device)
    table[:, diagonal, diagonal, 0] += NOISE_FLOOR
    wide = two_sided(table)
    full = wide[..., SINC_TAPS:-SINC_TAPS].contiguous()
    pair = mask[:, :, None] & mask[:, None, :]
    pair = pair & ~torch.eye(n_channels, dtype=torch.bool, device=x.device)
    grown = _grow(full, pair, max_lag, min(sources, n_channels - 1), n_samples)
    tau, weight, t_joint, own, noise = _refine(_finer(wide), grown, max_lag, n_samples)

    score, lag = grown.partial, grown.partial_lag.to(x.dtype)
    coefficient = grown.partial_weight

    def place(values: Tensor) -> Tensor:
        """[B, C, K] of the selected regressors -> [B, C, C]; unused ones may name any source."""
        return torch.zeros_like(score).scatter_add(2, grown.source, values * grown.used)

    selected = place(torch.ones_like(tau)) > 0
    score = torch.where(selected, place(t_joint), score)
    lag = torch.where(selected, place(tau), lag)
    coefficient = torch.where(selected, place(weight), coefficient)

    white = phase_whitened(x)
    coherence = two_sided(lagged_covariance(white, white, max_lag))
    phat, phat_tau = _peak(coherence[..., max_lag:].abs())
    _, net = _peak(coherence.abs())

    def keep(value: Tensor) -> Tensor:
        return torch.where(pair, value, 0.0)

    return LagFeatures(
        score=keep(score),
        tau=keep(lag),
        weight=keep(coefficient),
        selected=selected & pair,
        own=own,
        noise=noise,
        marginal=keep(grown.marginal),
        marginal_tau=keep(grown.marginal_lag.to(x.dtype)),
        phat=keep(phat),
        phat_tau=keep(phat_tau),
        phat_net=keep(net - max_lag),
    )


@dataclass
class _Grown:
    source: Tensor  # [B, C, K] long, channel of each selected regressor
    lag: Tensor  # [B, C, K] long, samples
    used: Tensor  # [B, C, K] bool
    marginal: Tensor  # [B, C, C] largest |t| given the own past
    marginal_lag: Tensor
    partial: Tensor  # [B, C, C] largest |t| given the whole model (pairs outside it)
    partial_lag: Tensor
    partial_weight: Tensor


def _grow(full: Tensor, pair: Tensor, max_lag: int, steps: int, n_samples: int) -> _Grown:
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
    used: list[Tensor] = []
    free = pair.clone()
    rows = cross
    for _ in range(steps):
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
        own_row = rows.gather(3, best[:, :, None, None].expand(b, c, rows.shape[2], 1))
        scale = den.gather(2, best[..., None]).clamp_min(tiny).sqrt()
        direction = (inner - (rows * own_row).sum(2)) / scale * use[..., None]
        along = num.gather(2, best[..., None]) / scale * use[..., None]
        num = num - direction * along
        den = den - direction.square()
        residual = residual - along[..., 0].square()
        rows = torch.cat([rows, direction[:, :, None]], 2)
        free = free.scatter(2, source[..., None], False)
        taken.append(best)
        used.append(use)
    gain = scores()
    partial, partial_lag = t_values(gain).unflatten(2, (c, n_lags)).max(-1)
    slope = (num / den.clamp_min(tiny)).unflatten(2, (c, n_lags))
    partial_weight = slope.gather(3, partial_lag[..., None])[..., 0]
    chosen = torch.stack(taken, -1)
    return _Grown(
        source=chosen // n_lags,
        lag=chosen % n_lags,
        used=torch.stack(used, -1),
        marginal=marginal,
        marginal_lag=marginal_lag,
        partial=partial,
        partial_lag=partial_lag,
        partial_weight=partial_weight,
    )


def _refine(
    fine: Tensor, grown: _Grown, max_lag: int, n_samples: int, steps: int = 3
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Lags to fractions of a sample, then the joint fit: tau, weight, |t| [B, C, K], own [B, C, P], noise.

    A step replaces each regressor by two copies, `STEP` earlier and later; the fitted share of the later one
    says which way the lag has to move.
    """
    tau = grown.lag.to(fine.dtype)
    for _ in range(steps):
        near = torch.cat([tau - STEP, tau + STEP], -1)
        twice = torch.cat([grown.source, grown.source], -1)
        used = torch.cat([grown.used, grown.used], -1)
        coefficient, _, _, _ = _fit(fine, twice, near, used, max_lag)
        early, late = coefficient[..., OWN_LAGS:].chunk(2, -1)
        total = early + late
        move = STEP * (late - early) / torch.where(total.abs() < 1e-6, torch.full_like(total, 1e-6), total)
        tau = torch.where(grown.used, tau + move.clamp(-0.7, 0.7), tau).clamp(0, max_lag)
    coefficient, inverse, noise, _ = _fit(fine, grown.source, tau, grown.used, max_lag)
    error = (inverse.diagonal(dim1=-2, dim2=-1) * noise[..., None] / n_samples).clamp_min(1e-12).sqrt()
    t = (coefficient.abs() / error)[..., OWN_LAGS:]
    weight = coefficient[..., OWN_LAGS:]
    return tau, weight * grown.used, t * grown.used, coefficient[..., :OWN_LAGS], noise


def _fit(
    fine: Tensor, source: Tensor, tau: Tensor, used: Tensor, max_lag: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Least squares of each target on its own past and on `source` at lags `tau` [B, C, K].

    Returns coefficients [B, C, P + K], the inverse Gram matrix, the residual variance [B, C] and the right
    side [B, C, P + K].
    """
    b, c, _ = source.shape
    own = torch.arange(1, OWN_LAGS + 1, device=fine.device)
    me = torch.arange(c, device=fine.device)[None, :, None].expand(b, c, OWN_LAGS)
    channel = torch.cat([me, source], -1)
    lag = torch.cat([own.to(fine.dtype).expand(b, c, OWN_LAGS), tau], -1)
    live = torch.cat([torch.ones_like(me, dtype=torch.bool), used], -1).to(fine.dtype)
    gram = _covariance_at(
        fine, channel[..., :, None], channel[..., None, :], lag[..., None, :] - lag[..., :, None], max_lag
    )
    gram = gram * live[..., :, None] * live[..., None, :]
    ridge = NOISE_FLOOR + (1 - live)
    gram = gram + torch.diag_embed(ridge)
    right = _covariance_at(fine, me[..., :1], channel, lag, max_lag) * live
    inverse = torch.linalg.inv(gram)
    coefficient = (inverse @ right[..., None])[..., 0]
    power = fine.diagonal(dim1=1, dim2=2)[:, max_lag * FINER]
    noise = (power - (coefficient * right).sum(-1)).clamp_min(NOISE_FLOOR * 1e-2)
    return coefficient, inverse, noise, right


def _finer(wide: Tensor) -> Tensor:
    """`R_ij(m)`, |m| <= M + SINC_TAPS, at 1/FINER sample over |lag| <= M, by a windowed sinc."""
    taps = torch.arange(-SINC_TAPS, SINC_TAPS + 1, device=wide.device)
    phase = torch.arange(FINER, device=wide.device) / FINER
    distance = phase[:, None] - taps
    kernel = torch.sinc(distance) * torch.cos(math.pi * distance / (2 * SINC_TAPS + 2)) ** 2
    rows = wide.reshape(-1, 1, wide.shape[-1])
    fine = F.conv1d(rows, kernel[:, None].to(wide.dtype))  # [rows, FINER, 2M + 1]
    return fine.transpose(1, 2).reshape(*wide.shape[:3], -1)


def _covariance_at(fine: Tensor, i: Tensor, j: Tensor, lag: Tensor, max_lag: int) -> Tensor:
    """`R_ij(lag)` at any lags, by cubic interpolation in the finer table; i, j and lag broadcast."""
    i, j, lag = torch.broadcast_tensors(i, j, lag)
    place = (lag + max_lag).clamp(0, 2 * max_lag) * FINER
    first = place.floor().clamp(1, fine.shape[-1] - 3)
    u = place - first
    batch = torch.arange(fine.shape[0], device=fine.device).view(-1, *([1] * (i.dim() - 1)))
    at = ((batch * fine.shape[1] + i) * fine.shape[2] + j) * fine.shape[3] + first.long()
    flat = fine.reshape(-1)
    below, left, right, above = (flat[at + step] for step in (-1, 0, 1, 2))
    return (
        -u * (u - 1) * (u - 2) / 6 * below
        + (u + 1) * (u - 1) * (u - 2) / 2 * left
        - (u + 1) * u * (u - 2) / 2 * right
        + (u + 1) * u * (u - 1) / 6 * above
    )


def _peak(profile: Tensor) -> tuple[Tensor, Tensor]:
    """Height and place of the largest value, between samples by a parabola through its neighbours."""
    height, at = profile.max(-1)
    last = profile.shape[-1] - 1
    inside = (at > 0) & (at < last)
    left = profile.gather(-1, (at - 1).clamp_min(0)[..., None])[..., 0]
    right = profile.gather(-1, (at + 1).clamp_max(last)[..., None])[..., 0]
    curve = left - 2 * height + right
    shift = torch.where(inside & (curve < 0), (left - right) / (2 * curve.clamp_max(-1e-12)), 0.0)
    return height, at + shift.clamp(-0.5, 0.5)
