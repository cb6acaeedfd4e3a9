"""Bins of a real Fourier transform: delays there, and means over the two-sided ones."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from cldtrans.lag.system import bin_counts, rfft_bins


@dataclass(frozen=True)
class Bins:
    """The bins of a real transform of `n` samples; `B` is their number.

    Attributes
    ----------
    n : int
        Samples of the transform.
    omega : array [B]
        Radians a sample.
    counts : array [B]
        How often the bin counts among the two-sided ones.
    in_band : array [B] or None
        1.0 in the band used by the Whittle likelihood, else 0.0; None: all bins.
    """

    n: int
    omega: np.ndarray
    counts: np.ndarray
    in_band: np.ndarray | None

    @classmethod
    def of(cls, n: int, band: tuple[float, float] | None = None) -> "Bins":
        """Make the bins of n samples, of which those in `band` (cycles a sample) are used."""
        frequency = rfft_bins(n)
        inside = None if band is None else ((frequency >= band[0]) & (frequency <= band[1])).astype(float)
        return cls(n, 2 * np.pi * frequency, bin_counts(n), inside)

    @property
    def weight(self) -> np.ndarray:
        """Weight of each bin in a mean over the two-sided bins in use, [B]; sums to 1."""
        used = self.counts if self.in_band is None else self.counts * self.in_band
        return used / used.sum()

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of the real part over the two-sided bins in use, along the last axis."""
        return values.real @ self.weight

    def own_filter(self, own: np.ndarray) -> np.ndarray:
        """Return `1 - sum_k own_k exp(-i omega k)`, k = 1, 2, ...; own [C, P] -> complex [C, B]."""
        return fft.rfft(np.concatenate([np.ones((len(own), 1)), -own], 1), self.n)

    def mean_delayed(self, spectrum: np.ndarray, n_lags: int) -> np.ndarray:
        """Return the means of spectrum [C, B] times delays of 1 to n_lags samples, [C, n_lags]."""
        spread = spectrum.conj() * (self.weight / self.counts * self.n)
        return fft.irfft(spread, self.n)[:, 1 : n_lags + 1]

    def delay(self, lag_samples: np.ndarray, order: int = 0) -> np.ndarray:
        """Return `d^order/dtau^order exp(-i omega tau)`, complex [..., B]; real at the Nyquist bin.

        The bins being evenly spaced, a phase is the product of a coarse and a fine one: two short tables of
        exponentials and one product a bin, a tenth of the time of an exponential a bin.
        """
        lag = np.asarray(lag_samples, float)[..., None]
        n_fine = int(np.sqrt(len(self.omega))) + 1
        step = 2 * np.pi / self.n
        fine = np.exp(-1j * step * lag * np.arange(n_fine))
        n_coarse = -(-len(self.omega) // n_fine)
        coarse = np.exp(-1j * step * n_fine * lag * np.arange(n_coarse))
        phase = coarse[..., :, None] * fine[..., None, :]
        factor = phase.reshape(*lag.shape[:-1], n_coarse * n_fine)[..., : len(self.omega)]
        if order:
            factor = factor * (-1j * self.omega) ** order
        if self.n % 2 == 0:
            factor[..., -1] = factor[..., -1].real
        return factor

    def slope(self, lag_samples: np.ndarray, delay: np.ndarray) -> np.ndarray:
        """Return `delay(lag_samples, 1)` from `delay(lag_samples)`, at the cost of a product a bin."""
        factor = delay * (-1j * self.omega)
        if self.n % 2 == 0:
            factor[..., -1] = -np.pi * np.sin(np.pi * np.asarray(lag_samples, float))
        return factor
