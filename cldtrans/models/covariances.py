"""Tables of lagged covariances between channels, at whole samples and between them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cldtrans.lag import fourier

SINC_TAPS = 8  # on each side, to interpolate covariances
FINER = 4  # steps a sample of an interpolated table


def standardise(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Zero mean and unit variance a channel, zeros where masked; and the mask less flat channels."""
    x = torch.where(mask[..., None], x, 0.0)
    x = x - x.mean(-1, keepdim=True)
    scale = x.square().mean(-1, keepdim=True).sqrt()
    alive = mask & (scale[..., 0] > torch.finfo(x.dtype).tiny * 1e8)
    return torch.where(alive[..., None], x / scale.clamp_min(torch.finfo(x.dtype).tiny), 0.0), alive


def lagged_covariance(x: Tensor, y: Tensor, max_lag: int) -> Tensor:
    """`R_ij(m) = 1/T sum_t x_i(t) y_j(t - m)`, m = 0..max_lag: [B, C, C, max_lag + 1]; zero outside.

    Overlap-save: short frames, one product of C x frames matrices a frequency. Of the transform back only
    half the lags are wanted, in another order of dimensions: a product with its matrix is faster.
    """
    n_samples, size = x.shape[-1], _smooth(max_lag + 1)
    n_frames = -(-n_samples // size)
    tail = n_frames * size - n_samples
    now = F.pad(x, (0, tail)).unflatten(-1, (n_frames, size))
    now = F.pad(now, (size, 0))
    past = F.pad(y, (size, tail)).unfold(-1, 2 * size, size)
    a = fourier.rfft(now).permute(0, 3, 1, 2)  # [B, F, C, frames]
    b = fourier.rfft(past).permute(0, 3, 1, 2)
    spectrum = a @ b.transpose(-1, -2).conj()
    bins, lag = torch.arange(size + 1, device=x.device), torch.arange(max_lag + 1, device=x.device)
    angle = (math.pi / size) * (bins[:, None] * lag % (2 * size)).to(x.dtype)
    count = torch.where((bins == 0) | (bins == size), 0.5, 1.0).to(x.dtype)[:, None] / (size * n_samples)
    parts = torch.cat([spectrum.real, spectrum.imag], 1).flatten(2).transpose(1, 2)
    table = parts @ torch.cat([count * torch.cos(angle), -count * torch.sin(angle)])
    return table.unflatten(1, spectrum.shape[2:])


def _smooth(n: int) -> int:
    """The next number without prime factors above 5: transforms of such lengths are fast."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


def two_sided(table: Tensor) -> Tensor:
    """`R_ij(m)` for m = -M..M from m = 0..M, by `R_ij(-m) = R_ji(m)`: [..., C, C, 2 M + 1]."""
    return torch.cat([table[..., 1:].flip(-1).transpose(-2, -3), table], -1)


def finer(wide: Tensor) -> Tensor:
    """A table over lags `first - SINC_TAPS .. last + SINC_TAPS` -> `first .. last` at 1/FINER sample.

    [..., n] -> [..., FINER * (n - 2 SINC_TAPS)], by a windowed sinc. As one product with a banded matrix:
    convolutions in float64 are slow.
    """
    n = wide.shape[-1]
    tap = torch.arange(n, device=wide.device)
    whole = torch.arange(SINC_TAPS, n - SINC_TAPS, device=wide.device)
    phase = torch.arange(FINER, device=wide.device) / FINER
    distance = (whole[:, None] + phase).reshape(-1) - tap[:, None]
    near = (whole.repeat_interleave(FINER) - tap[:, None]).abs() <= SINC_TAPS
    kernel = torch.sinc(distance) * torch.cos(math.pi * distance / (2 * SINC_TAPS + 2)) ** 2
    return wide @ torch.where(near, kernel, 0.0).to(wide.dtype)


def covariance_at(fine: Tensor, first: int, i: Tensor, j: Tensor, lag: Tensor) -> Tensor:
    """`R_ij(lag)` by cubic interpolation in a finer table [B, C, C, n] that begins at lag `first`.

    i, j [B, ...] and lag broadcast.
    """
    i, j, lag = torch.broadcast_tensors(i, j, lag)
    place = (lag - first).clamp_min(0) * FINER
    left = place.floor().clamp(1, fine.shape[-1] - 3)
    u = place - left
    batch = torch.arange(fine.shape[0], device=fine.device).view(-1, *([1] * (i.dim() - 1)))
    at = ((batch * fine.shape[1] + i) * fine.shape[2] + j) * fine.shape[3] + left.long()
    flat = fine.reshape(-1)
    a, b, c, d = (flat[at + step] for step in (-1, 0, 1, 2))
    return (
        -u * (u - 1) * (u - 2) / 6 * a
        + (u + 1) * (u - 1) * (u - 2) / 2 * b
        - (u + 1) * u * (u - 2) / 2 * c
        + (u + 1) * u * (u - 1) / 6 * d
    )


def phase_whitened(x: Tensor, band: tuple[float, float] | None, floor: float = 0.01) -> Tensor:
    """Each channel with a flat spectrum: in a band (shares of the sampling rate), or where it has power.

    Without a band, bins far below a channel's strongest ones stay small: what a filter left is not raised.
    """
    spectrum = fourier.rfft(x)
    power = spectrum.abs().square()
    smooth = F.avg_pool1d(power, 15, stride=1, padding=7, count_include_pad=False)
    if band is None:
        scale = (smooth + floor**2 * smooth.amax(-1, keepdim=True)).sqrt()
    else:
        frequency = torch.fft.rfftfreq(x.shape[-1], device=x.device)
        outside = (frequency < band[0]) | (frequency > band[1])
        scale = smooth.sqrt().masked_fill(outside, torch.inf)
    white = fourier.irfft(spectrum / scale.clamp_min(1e-12), x.shape[-1])
    return white / white.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-12)


def peak(profile: Tensor) -> tuple[Tensor, Tensor]:
    """Height and place of the largest value, between samples by a parabola through its neighbours."""
    height, at = profile.max(-1)
    last = profile.shape[-1] - 1
    inside = (at > 0) & (at < last)
    left = profile.gather(-1, (at - 1).clamp_min(0)[..., None])[..., 0]
    right = profile.gather(-1, (at + 1).clamp_max(last)[..., None])[..., 0]
    curve = left - 2 * height + right
    shift = torch.where(inside & (curve < 0), (left - right) / (2 * curve.clamp_max(-1e-12)), 0.0)
    return height, at + shift.clamp(-0.5, 0.5)
