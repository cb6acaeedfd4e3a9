"""Tables of lagged covariances between channels, at whole samples and between them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from cldtrans.lag import fourier

SINC_TAPS = 12  # on each side, to interpolate covariances
KAISER = 12.0  # of the window on the sinc: where rhythms are slow, 1e-5 decides about a lag
FINER = 4  # steps a sample of an interpolated table
BLOCK = 16  # samples interpolated by one product
ROWS_AT_ONCE = 16  # channels whose covariances are transformed together on a CPU: they stay in its cache


def standardise(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Bring each channel to zero mean and unit variance, zeros where masked.

    Parameters
    ----------
    x : tensor [B, C, T]
        Windows, in any unit.
    mask : tensor [B, C] of bool
        Valid channels.

    Returns
    -------
    x : tensor [B, C, T]
        The standardised windows.
    alive : tensor [B, C] of bool
        The mask less flat channels.
    """
    x = torch.where(mask[..., None], x, 0.0)
    x = x - x.mean(-1, keepdim=True)
    scale = x.square().mean(-1, keepdim=True).sqrt()
    alive = mask & (scale[..., 0] > torch.finfo(x.dtype).tiny * 1e8)
    return torch.where(alive[..., None], x / scale.clamp_min(torch.finfo(x.dtype).tiny), 0.0), alive


def lagged_covariance(x: Tensor, y: Tensor, max_lag: int) -> Tensor:
    """Compute `R_ij(m) = 1/T sum_t x_i(t) y_j(t - m)`, m = 0..max_lag, with zeros outside the window.

    Overlap-save: short frames, each with the `max_lag` samples before it, and one product of C x frames
    matrices a frequency.

    Parameters
    ----------
    x, y : tensor [B, C, T]
        Windows.
    max_lag : int
        Samples.

    Returns
    -------
    tensor [B, C, C, max_lag + 1]
        The covariances.
    """
    n_samples, size = x.shape[-1], next_fast_len(2 * (max_lag + 1), real=True)
    step = size - max_lag
    n_frames = -(-n_samples // step)
    tail = n_frames * step - n_samples
    now = F.pad(x, (0, tail)).unflatten(-1, (n_frames, step))
    past = F.pad(y, (max_lag, tail)).unfold(-1, size, step)
    a = fourier.rfft(now, size).conj().permute(0, 3, 1, 2).resolve_conj().contiguous()  # [B, F, C, frames]
    b = fourier.rfft(past).permute(0, 3, 1, 2).contiguous().mT
    table = x.new_empty(*x.shape[:2], y.shape[1], max_lag + 1)
    rows = ROWS_AT_ONCE if x.device.type == "cpu" else x.shape[1]
    for some, part in zip(a.split(rows, 2), table.split(rows, 1), strict=True):
        backwards = fourier.irfft((some @ b).permute(0, 2, 3, 1), size)  # from lag max_lag downwards
        torch.div(backwards[..., : max_lag + 1].flip(-1), n_samples, out=part)
    return table


def two_sided(table: Tensor) -> Tensor:
    """Extend `R_ij(m)` from m = 0..M to m = -M..M, by `R_ij(-m) = R_ji(m)`: [..., C, C, 2 M + 1]."""
    return torch.cat([table[..., 1:].flip(-1).transpose(-2, -3), table], -1)


def finer(wide: Tensor) -> Tensor:
    """Refine a table over lags `first - SINC_TAPS .. last + SINC_TAPS` to `first .. last` at 1/FINER sample.

    By a windowed sinc, as products with one block of a banded matrix: convolutions in float64 are slow. A
    product a window: the sums of one product for all would depend, in their last bits, on how many windows
    there are.

    Parameters
    ----------
    wide : tensor [..., n]
        The table at whole samples.

    Returns
    -------
    tensor [..., FINER * (n - 2 SINC_TAPS)]
        The finer table.
    """
    rows = wide.flatten(1, -2)
    n_lags = rows.shape[2] - 2 * SINC_TAPS
    tap = torch.arange(BLOCK + 2 * SINC_TAPS, device=wide.device)
    whole = torch.arange(SINC_TAPS, SINC_TAPS + BLOCK, device=wide.device)
    phase = torch.arange(FINER, device=wide.device) / FINER
    distance = ((whole[:, None] + phase).reshape(-1) - tap[:, None]).to(wide.dtype)
    near = (whole.repeat_interleave(FINER) - tap[:, None]).abs() <= SINC_TAPS
    inside = (1 - (distance / (SINC_TAPS + 1)).square()).clamp_min(0).sqrt()
    kernel = torch.sinc(distance) * torch.special.i0(KAISER * inside)
    kernel = torch.where(near, kernel, 0.0).to(wide.dtype)
    kernel /= kernel[:, : FINER * BLOCK].sum(0)  # a constant stays the same constant: slow signals count most
    fine = rows.new_empty(*rows.shape[:2], FINER * n_lags)
    for first in range(0, n_lags, BLOCK):
        some = min(BLOCK, n_lags - first)
        taps, steps = some + 2 * SINC_TAPS, FINER * some
        to_steps = kernel[:taps, :steps].expand(len(rows), taps, steps)
        fine[..., FINER * first :][..., :steps] = torch.bmm(rows[..., first : first + taps], to_steps)
    return fine.view(*wide.shape[:-1], FINER * n_lags)


def covariance_at(fine: Tensor, first: int, i: Tensor, j: Tensor, lag: Tensor) -> Tensor:
    """Look up `R_ij(lag)` by cubic interpolation in a finer table.

    Parameters
    ----------
    fine : tensor [B, C, C, n]
        A table as from `finer`.
    first : int
        Lag at which it begins, samples.
    i, j : tensor [B, ...]
        Channels; they broadcast with `lag`.
    lag : tensor [B, ...]
        Samples.

    Returns
    -------
    tensor [B, ...]
        The covariances.
    """
    batch = torch.arange(fine.shape[0], device=fine.device).view(-1, *([1] * (lag.dim() - 1)))
    row = ((batch * fine.shape[1] + i) * fine.shape[2] + j) * fine.shape[3]
    place = (lag - first).clamp_min_(0).mul_(FINER)
    left = place.floor().clamp_(1, fine.shape[-1] - 3)
    u = place.sub_(left)
    at = left.long().add_(row).sub_(1)
    flat = fine.view(-1)
    a, b, c, d = (flat[step:][at] for step in range(4))
    return cubic(a, b, c, d, u)


def cubic(a: Tensor, b: Tensor, c: Tensor, d: Tensor, u: Tensor) -> Tensor:
    """Evaluate Newton's polynomial through a, b, c, d at -1, 0, 1, 2, at places u; overwrite a and d."""
    slope = c - b
    bend = a.sub_(b).add_(slope)
    third = d.sub_(c).sub_(slope).sub_(bend)
    value = third.div_(6).mul_(u + 1).add_(bend, alpha=0.5).mul_(u - 1)
    return value.add_(slope).mul_(u).add_(b)


def peak(profile: Tensor) -> tuple[Tensor, Tensor]:
    """Return height and place of the largest value, between samples by a parabola through its neighbours."""
    height, at = profile.max(-1)
    last = profile.shape[-1] - 1
    inside = (at > 0) & (at < last)
    left = profile.gather(-1, (at - 1).clamp_min(0)[..., None])[..., 0]
    right = profile.gather(-1, (at + 1).clamp_max(last)[..., None])[..., 0]
    curve = left - 2 * height + right
    shift = torch.where(inside & (curve < 0), (left - right) / (2 * curve.clamp_max(-1e-12)), 0.0)
    return height, at + shift.clamp(-0.5, 0.5)
