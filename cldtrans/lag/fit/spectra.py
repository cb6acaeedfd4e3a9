"""Windows of one system as spectra, with the samples that may be scored.

A window cut from a record is continued beyond its end, so that a delayed source reads no wrapped samples;
samples whose delayed sources or interpolation kernels reach over the window's ends are never scored.
Everything that the likelihood, the search and the information matrix need comes from these spectra.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

from cldtrans.lag.fit.bins import Bins
from cldtrans.lag.fit.continuation import continued

GUARD = 8
"""Samples beyond the largest lag, at either end, in which the cut kernel of a fractional delay is felt.

The kernel's tail beyond n samples holds about 2 sin²(πδ) / (π² n) of the power: 2.5 % of a delayed source at
the first scored sample at worst, falling as 1/n from there. Guards of 4 to 24 samples give the same errors
(white noise and poles of radius 0.9 and 0.98); longer ones only cost samples."""

LONGEST = 8192
"""Longer windows cut from a record are split into overlapping ones; no scored sample is lost."""

COARSE = 1024
"""Samples of the transform on which the Jacobian is computed: the mean of a smooth function over its bins is
that over any finer ones, up to what is left of the system's responses after so many samples."""


@dataclass(frozen=True)
class Spectra:
    """Spectra of N windows of C channels; `B` is the number of bins of the real transform.

    Attributes
    ----------
    spectrum : array [C, N, B] of complex
        The channels.
    source : array [C, N, B] of complex
        What is delayed, g(x); the same array where g is the identity.
    scored : array [N, n_fft]
        1.0 where a sample is scored, else 0.0.
    n_fft : int
        Samples of a window with its continuation.
    n_scored : int
        Number of scored samples a channel, all windows together.
    bins : Bins
        Those of the spectra.
    coarse : Bins
        Those of the Jacobian, whose responses are short against a window: at most COARSE samples.
    """

    spectrum: np.ndarray
    source: np.ndarray
    scored: np.ndarray
    n_fft: int
    n_scored: int
    bins: Bins
    coarse: Bins

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.spectrum)

    @property
    def in_band(self) -> np.ndarray | None:
        """1.0 at bins [B] in the band used by the Whittle likelihood, else 0.0; None: all bins."""
        return self.bins.in_band

    @property
    def effective_samples(self) -> float:
        """Independent samples a channel: those scored times the fraction of the bins that is used."""
        if self.in_band is None:
            return float(self.n_scored)
        return self.n_scored * float(self.in_band @ self.bins.counts) / self.n_fft

    def samples(self, spectrum: np.ndarray) -> np.ndarray:
        """Go back to the time domain, real [..., n_fft]."""
        return fft.irfft(spectrum, self.n_fft)

    @cached_property
    def _scored(self) -> tuple[np.ndarray, np.ndarray]:
        """Sample of each scored one in its window, and where that window begins, all windows in a row."""
        window, sample = np.nonzero(self.scored)
        return sample, window * self.n_fft

    def scored_of(self, values: np.ndarray) -> np.ndarray:
        """Return the scored ones of values [q, N, n_fft], [q, n_scored]."""
        sample, begin = self._scored
        return np.take(values.reshape(len(values), self.scored.size), sample + begin, axis=1)

    def past(self, x: np.ndarray, order: int) -> np.ndarray:
        """Return what came 1, 2, ..., `order` samples before the scored ones of x [N, n_fft].

        An array [order, n_scored].
        """
        sample, begin = self._scored
        earlier = (sample - np.arange(1, order + 1)[:, None]) % self.n_fft
        earlier += begin
        return np.take(x, earlier)

    def delay(self, lag_samples: np.ndarray, order: int = 0) -> np.ndarray:
        """Return `d^order/dtau^order exp(-i omega tau)`, complex [..., B]; real at the Nyquist bin."""
        return self.bins.delay(lag_samples, order)


def to_spectra(
    x: np.ndarray,
    source: np.ndarray | None,
    max_lag: float,
    *,
    periodic: bool,
    in_band: tuple[float, float] | None = None,
) -> Spectra:
    """Transform windows.

    Parameters
    ----------
    x : array [N, C, T]
        Windows.
    source : array [N, C, T] or None
        Replaces x where it is delayed; None: x itself.
    max_lag : float
        Largest lag that will be asked for, in samples; it includes the lags of the channels' own filters.
    periodic : bool
        Each window is exactly one period: every sample is scored.
    in_band : (float, float), optional
        Band in cycles per sample; bins outside are not used.
    """
    if periodic:
        n_fft = x.shape[-1]
        scored = np.ones((len(x), n_fft))
    else:
        lead, tail = int(np.ceil(max_lag)) + GUARD, GUARD
        x, starts = _split(x, lead, tail)
        if source is not None:
            source, _ = _split(source, lead, tail)
        n_samples = x.shape[-1]
        n_fft = fft.next_fast_len(n_samples + lead, real=True)
        x = continued(x, n_fft)
        if source is not None:
            source = continued(source, n_fft)
        scored = np.zeros((len(x), n_fft))
        for window, start in enumerate(starts):
            scored[window, start : n_samples - tail] = 1.0
    spectrum = fft.rfft(np.moveaxis(x, 0, 1), n_fft)
    return Spectra(
        spectrum=spectrum,
        source=spectrum if source is None else fft.rfft(np.moveaxis(source, 0, 1), n_fft),
        scored=scored,
        n_fft=n_fft,
        n_scored=int(scored.sum()),
        bins=Bins.of(n_fft, in_band),
        coarse=Bins.of(n_fft if n_fft <= COARSE else COARSE, in_band),
    )


def _split(x: np.ndarray, lead: int, tail: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of at most LONGEST samples that overlap by lead + tail, and each one's first scored sample."""
    n_windows, n_channels, n_samples = x.shape
    longest = max(LONGEST, 4 * (lead + tail))
    if n_samples <= longest:
        return x, np.full(n_windows, lead)
    hop = longest - lead - tail
    n_parts = -(-(n_samples - lead - tail) // hop)
    begin = np.minimum(np.arange(n_parts) * hop, n_samples - longest)
    parts = np.stack([x[:, :, b : b + longest] for b in begin], 1).reshape(-1, n_channels, longest)
    # The last part is moved back to end with the window: what the part before it scored is not scored twice.
    first = lead + np.arange(n_parts) * hop - begin
    return parts, np.tile(first, n_windows)
