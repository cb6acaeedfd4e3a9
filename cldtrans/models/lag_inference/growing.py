"""Search for the sources and lags of every target by least squares, on covariances alone.

For each target i a linear model is grown,

    x_i(t) = sum_p a_ip x_i(t - p) + sum_k w_k x_{j_k}(t - tau_k) + e_i(t),

first its own past, then one source and whole-sample lag at a time (the candidate that reduces the residual
variance most, given what is already in). `lag_fit` then refines the lags to fractions of a sample.

Source of the growing: Chen, Billings & Luo 1989, doi:10.1080/00207178908953472 (orthogonal least squares).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

OWN_LAGS = 6  # order of a channel's own filter
NOISE_FLOOR = 1e-9  # white noise added to unit-variance channels: bounds what empty bands and ties can do,
# and biases lags of slow rhythms: at 1e-6 narrow ones lose a quarter of what is known
TINY = 10 * NOISE_FLOOR * 1e-2  # variance below which nothing is left of a candidate


@dataclass
class Grown:
    """Models of C' targets at whole-sample lags; a candidate is (source, lag), C * (max_lag + 1) of them."""

    target: Tensor  # [C'] long, the targets' channels: all, or some of them
    source: Tensor  # [B, C', K] long, channel of each selected regressor, in the order of selection
    lag: Tensor  # [B, C', K] long, samples
    used: Tensor  # [B, C', K] bool: False where nothing was left to select
    marginal: Tensor  # [B, C', C] largest |t| given the own past
    marginal_lag: Tensor
    den: Tensor  # [B, C', candidates] variance given the model; infinite where there is none or it is in
    rows: Tensor  # [P + K, B, C', candidates] covariances with the regressors, made orthonormal in order
    factor: Tensor  # [B, C', P, P] Cholesky factor of the own past's Gram matrix
    scale: Tensor  # [B, C', K] standard deviation of each selected regressor given the ones before it


@dataclass
class Bare:
    """Models of C' targets without sources yet: what growing starts from, any number of times."""

    wide: Tensor  # [B, C, C, n] covariances around lag 0
    targets: slice
    pair: Tensor  # [B, C', C] bool, the sources that there are
    max_lag: int
    rows: Tensor  # [P + K, B, C', candidates]; growing writes the last K, the others are of the own past
    factor: Tensor  # [B, C', P, P] Cholesky factor of the own past's Gram matrix
    auto: Tensor  # [B, C', zero + 1] covariances of the targets with themselves, from lag 0
    den: Tensor  # [B, C', candidates] variance given the own past; infinite where there is no source


def own_past(wide: Tensor, pair: Tensor, targets: slice, max_lag: int, steps: int) -> Bare:
    """Start models of some targets of all windows: they have their own past alone, and room for more.

    Parameters
    ----------
    wide : tensor [B, C, C, n]
        Covariances around lag 0, `max_lag` on both sides at least.
    pair : tensor [B, C', C] of bool
        The sources there are.
    targets : slice
        The C' targets.
    max_lag : int
        Samples.
    steps : int
        How many sources there is room for.
    """
    b, n_targets, c = pair.shape
    n_lags, zero = max_lag + 1, wide.shape[-1] // 2
    starting = wide.unfold(3, n_lags, 1)  # [B, C, C, first lag + zero, n_lags]
    every = wide.diagonal(dim1=1, dim2=2).transpose(1, 2)[..., zero:]
    auto = every[:, targets]
    p = torch.arange(1, OWN_LAGS + 1, device=wide.device)
    gram = auto[..., (p[:, None] - p).abs()]
    factor = torch.linalg.cholesky_ex(gram + NOISE_FLOOR * torch.eye(len(p), device=wide.device).to(gram))[0]
    rows = wide.new_empty(OWN_LAGS + steps, b, n_targets, c * n_lags)
    shape = (b, n_targets, c, n_lags)
    for row in range(OWN_LAGS):  # <x_i(t-p), x_j(t-l)> = R_ij(l - p), made orthonormal by substitution
        rows[row].view(shape).copy_(starting[:, targets, :, zero - 1 - row])
        subtract(rows[row], factor[:, :, row], rows[:row])
        rows[row] /= factor[:, :, row, row, None]
    den = every[:, None, :, :1].expand(shape).masked_fill(~pair[..., None], torch.inf).flatten(2)
    for row in rows[:OWN_LAGS]:
        den.addcmul_(row, row, value=-1)
    F.threshold(den, TINY, torch.inf, inplace=True)
    return Bare(wide, targets, pair, max_lag, rows, factor, auto, den)


def grow(
    bare: Bare, n_samples: int, allowed: Tensor | None = None, correction: Tensor | None = None
) -> Grown:
    """Grow models of some targets of all windows at once, by orthogonal least squares.

    For every candidate (source, lag) of a target, `num` is its covariance with the target's residual and
    `den` its variance, both given the regressors taken so far; `rows` holds its covariances with those
    regressors after orthonormalisation, until the same bare models are grown again.

    Parameters
    ----------
    bare : Bare
        The models without sources.
    n_samples : int
        T of the windows.
    allowed : tensor [B, C', C] of bool, optional
        The sources that models may take; default: all that there are.
    correction : tensor [B, C', C, max_lag + 1], optional
        What pseudo-responses of the targets add to their covariances from lag 0.
    """
    wide, rows, factor = bare.wide, bare.rows, bare.factor
    b, n_targets, c = bare.pair.shape
    n_lags, zero = bare.max_lag + 1, wide.shape[-1] // 2
    shape = (b, n_targets, c, n_lags)
    starting = wide.unfold(3, n_lags, 1)
    channel = torch.arange(c, device=wide.device)
    past, num = bare.auto[..., 1 : OWN_LAGS + 1], starting[:, bare.targets, :, zero].clone()
    if correction is not None:
        past = past + correction.diagonal(bare.targets.start or 0, 1, 2).mT[..., 1 : OWN_LAGS + 1]
        num += correction[..., :n_lags]
    own = torch.linalg.solve_triangular(factor, past[..., None], upper=False)[..., 0]
    num = num.flatten(2)
    subtract(num, own, rows[:OWN_LAGS])
    den = bare.den.clone()
    residual = bare.auto[..., 0] - own.square().sum(-1)
    gain = num.square().div_(den)  # by how much each candidate reduces the residual variance
    most, marginal_lag = gain.unflatten(2, (c, n_lags)).max(-1)
    left = (residual[..., None] - most).clamp_min(NOISE_FLOOR * 1e-2)
    marginal = (most * n_samples / left).sqrt()
    steps = len(rows) - OWN_LAGS  # 0 where there is one channel
    chosen = torch.zeros(b, n_targets, steps, dtype=torch.long, device=wide.device)
    scales, used = torch.ones_like(chosen, dtype=wide.dtype), torch.zeros_like(chosen, dtype=torch.bool)
    window, me = torch.arange(b, device=wide.device)[:, None], channel[:n_targets]
    for step in range(steps):
        so_far, direction = rows[: OWN_LAGS + step], rows[OWN_LAGS + step]
        if step:
            torch.mul(num, num, out=gain).div_(den)
        if allowed is not None:
            gain.view(shape).mul_(allowed[..., None])
        best_gain, best = gain.max(-1)  # [B, C']
        use = best_gain > 0
        source, chosen_lag = best // n_lags, best % n_lags
        # <chosen (s, m), candidate (j, l)> = R_sj(l - m)
        direction.view(shape).copy_(starting[window, source, :, zero - chosen_lag])
        subtract(direction, so_far[:, window, me, best].permute(1, 2, 0), so_far)
        scale = den.gather(2, best[..., None]).sqrt()
        share = use[..., None] / scale
        direction *= share
        along = num.gather(2, best[..., None]) * share
        num.addcmul_(direction, along, value=-1)
        den.addcmul_(direction, direction, value=-1)
        by_source = den.view(shape)
        left = by_source[window, me, source]
        by_source[window, me, source] = left.masked_fill(use[..., None], torch.inf)  # it is taken once
        F.threshold(den, TINY, torch.inf, inplace=True)
        chosen[..., step], scales[..., step], used[..., step] = best, scale[..., 0], use
    return Grown(
        target=channel[bare.targets],
        source=chosen // n_lags,
        lag=chosen % n_lags,
        used=used,
        marginal=marginal,
        marginal_lag=marginal_lag,
        den=den,
        rows=rows,
        factor=factor,
        scale=scales,
    )


def subtract(values: Tensor, shares: Tensor, rows: Tensor) -> None:
    """Subtract in place: `values - sum_k shares_k rows_k`.

    Row by row: each pass fits a cache, which is faster than one product of vectors with matrices.

    Parameters
    ----------
    values : tensor [B, C', n]
        Changed.
    shares : tensor [B, C', K]
        Weights of the rows.
    rows : tensor [K, B, C', n]
        What is subtracted.
    """
    for k, row in enumerate(rows):
        values.addcmul_(shares[..., k, None], row, value=-1)
