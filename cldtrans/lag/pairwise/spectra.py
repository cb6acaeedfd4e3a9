"""Cross-covariances of whitened channels at small lags, from every sample of the windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from scipy.fft import next_fast_len
from torch import Tensor

from cldtrans.errors import DataError
from cldtrans.lag.fourier import irfft, rfft

AVERAGES = 48
"""Samples of a recording for each of the reach of the lag window: the more, the smoother are spectra."""
SHORTEST, LONGEST = 12, 512
"""Samples that the lag window reaches at least, and at most."""
EMPTY = 1e-9
"""Of a channel's largest power: frequencies with less hold nothing that was recorded."""
GROUPS = 16
"""Pieces of the recording whose scatter the standard error contains."""


@dataclass(frozen=True)
class Plan:
    """Sizes, in samples.

    Attributes
    ----------
    n_samples : int
        Of all windows together.
    max_lag : float
        Largest delay searched.
    width : int
        Reach K of the lag window about a delay.
    reach : int
        M: lags from -M to M - 1 are held.
    block : int
        B: of a window's pieces.
    """

    n_samples: int
    max_lag: float
    width: int
    reach: int
    block: int

    @classmethod
    def of(cls, n_samples: int, window: int, sample_rate: float, tau_max: float) -> Plan:
        """Choose sizes for windows of `window` samples, `n_samples` in all."""
        max_lag = tau_max * sample_rate
        width = max(SHORTEST, min(n_samples // AVERAGES, window // 4, LONGEST))
        reach = next_fast_len(math.ceil(max_lag) + width + 1)
        return cls(n_samples, max_lag, width, reach, min(window, 2 * reach))

    @property
    def averages(self) -> float:
        """Number of independent periodogram ordinates in one value of a smoothed spectrum."""
        return self.n_samples / (0.75 * self.width)

    @property
    def alike(self) -> float:
        """Bins that hold one value of a smooth spectrum."""
        return 2 * self.reach / (0.75 * self.width)


def whitened(
    x: Float[Tensor, "N C T"], plan: Plan, sample_rate: float, band_hz: tuple[float, float] | None
) -> tuple[Float[Tensor, "N C T"], Bool[Tensor, "C F"]]:
    """Divide spectra by the roots of smooth ones, which keeps phases; and bins [C, F] that hold anything."""
    n_samples = x.shape[-1]
    taper = _taper(n_samples, x)
    spectrum = rfft(x * taper)
    power = (spectrum.real.square() + spectrum.imag.square()).mean(0)
    half = max(1, round(n_samples / plan.width / 2))
    smooth = running_mean(power, half)
    frequency = torch.fft.rfftfreq(n_samples, 1 / sample_rate, dtype=torch.float64, device=x.device)
    low, high = band_hz or (0.0, sample_rate)
    keep = (smooth > EMPTY * smooth.amax(-1, keepdim=True)) & (frequency >= low) & (frequency <= high)
    keep[:, 0] = False
    if not bool(keep.any(-1).all()):
        raise DataError(f"no frequency between {low:g} and {high:g} Hz is left in {n_samples} samples")
    white = torch.where(keep, smooth.clamp_min(1e-300).rsqrt(), 0.0)
    y = irfft(spectrum * white, n_samples)
    y = y / y.square().mean((0, 2)).clamp_min(1e-300).sqrt()[:, None]
    coarse = torch.linspace(0, sample_rate / 2, plan.reach + 1, dtype=torch.float64, device=x.device)
    nearest = torch.bucketize(coarse, frequency).clamp_max(len(frequency) - 1)
    return y, keep[:, nearest]


def _taper(n_samples: int, like: Tensor) -> Float[Tensor, " T"]:
    """Rise and fall as a cosine over one part in fifty at either end."""
    n = max(1, n_samples // 50)
    rise = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) / n)
    window = torch.ones(n_samples, dtype=like.dtype, device=like.device)
    window[:n], window[-n:] = rise, rise.flip(0)
    return window


def running_mean(values: Float[Tensor, "C F"], half: int) -> Float[Tensor, "C F"]:
    """Average over `half` bins on either side, fewer at the ends."""
    total = torch.nn.functional.pad(values.cumsum(-1), (1, 0))
    at = torch.arange(values.shape[-1], device=values.device)
    low, high = (at - half).clamp_min(0), (at + half + 1).clamp_max(values.shape[-1])
    return (total[:, high] - total[:, low]) / (high - low)


@dataclass(frozen=True)
class Spectra:
    """Transforms of pieces of windows, and of each with M samples on either side.

    Their products hold exact covariances at lags -M to M - 1.

    Attributes
    ----------
    piece, around : tensor [G, b, C, F]
        Of G groups of b pieces.
    size : int
        Samples of the transforms.
    """

    piece: Complex[Tensor, "G b C F"]
    around: Complex[Tensor, "G b C F"]
    size: int

    @classmethod
    def of(cls, y: Float[Tensor, "N C T"], plan: Plan) -> Spectra:
        """Cut windows into pieces and transform them."""
        block, reach = plan.block, plan.reach
        count = -(-y.shape[-1] // block)
        size = next_fast_len(block + 2 * reach, real=True)
        padded = torch.nn.functional.pad(y, (reach, count * block - y.shape[-1] + reach))
        around = padded.unfold(-1, block + 2 * reach, block)  # [N, C, count, B + 2 M]
        piece = around.clone()
        piece[..., :reach] = 0
        piece[..., reach + block :] = 0
        n_groups = min(GROUPS, y.shape[0] * count)
        per_group = -(-y.shape[0] * count // n_groups)

        def grouped(z: Tensor) -> Tensor:
            rows = rfft(z, size).transpose(1, 2).flatten(0, 1)  # [N count, C, F]
            rows = torch.nn.functional.pad(rows, (0, 0, 0, 0, 0, -len(rows) % per_group))
            return rows.unflatten(0, (-1, per_group))

        return cls(grouped(piece), grouped(around), size)

    def covariance(self, rows: Tensor, columns: Tensor, reach: int) -> Float[Tensor, "P L"]:
        """Sum the products of row and column at lags 0 to M - 1, then -M to -1."""
        # A product of matrices a frequency has the pairs of all channels at once.
        around, piece = (z.flatten(0, 1).permute(2, 1, 0) for z in (self.around, self.piece))
        every = around @ piece.mH
        values = irfft(every[:, rows, columns].mT, self.size)
        return torch.cat([values[:, :reach], values[:, -reach:]], 1)

    def variance(self, reach: int) -> Float[Tensor, "C L"]:
        """Sum the products of every channel with itself at the same lags."""
        values = irfft((self.around * self.piece.conj()).sum((0, 1)), self.size)
        return torch.cat([values[:, :reach], values[:, -reach:]], 1)

    def filtered(self, rows: Tensor, columns: Tensor, kernel: Float[Tensor, "P L"]) -> Float[Tensor, "G P"]:
        """Sum each group's products over the same lags, times a kernel."""
        padded = kernel.new_zeros(len(kernel), self.size)
        half = kernel.shape[1] // 2
        padded[:, :half], padded[:, -half:] = kernel[:, :half], kernel[:, half:]
        turned = rfft(padded).conj() * (2 / self.size)
        turned[:, 0] /= 2
        if self.size % 2 == 0:
            turned[:, -1] /= 2
        sums = [
            ((around[:, rows] * piece[:, columns].conj()).sum(0) * turned).real.sum(-1)
            for around, piece in zip(self.around, self.piece, strict=True)
        ]
        return torch.stack(sums)
