"""Whether one hidden source, seen by every channel with a delay, explains them as well as edges would.

Three things have to hold.

- Delays add up: `tau_ij = d_i - d_j` within the standard errors, for one arrival d of each channel. Where
  channels drive each other, paths of several lags meet, and they do not.
- The source is as good a predictor as all channels together: what one factor a band, with loadings of any
  phase, says of a channel is compared with its multiple coherence with all others.
- No channel stands between others. In a chain, a star or a river, delays add up as well, but two channels
  have nothing in common given those between them; behind a hidden source all have. Partial coherences off
  the tree of the largest coherences are compared with those on it, among the channels with the largest.

None of them says that there are no edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float

from cldtrans.lag.pairwise.result import PairwiseDelays

FEWEST = 4
"""Channels: any three coherences are those of one factor."""
ADDS_UP = 1.0
"""Median of the misfit of delays, in standard errors, up to which they add up; 0.67 or less if they do."""
AS_WELL = 0.67
"""Of what all other channels predict of a channel, what one source has to."""
TREE = 0.25
"""Partial coherence off the tree against that on it, from which nobody stands between; 0 in a tree."""
COMPARED = 8
"""Channels whose partial coherences are looked at: of many close ones, neighbours determine each."""
COHERENT = 0.1
"""Multiple coherence below which there is nothing to explain."""
AVERAGES, PER_CHANNEL, MOST_BANDS = 32, 4, 64
"""Bins of a band at least, in all windows and for each channel; bands at most."""
ROUNDS = 100
"""Steps of the factor's expectation maximisation."""
LEAST = 1e-4
"""Of its variance, what a channel has of its own at least."""


@dataclass(frozen=True)
class HiddenSource:
    """How well one hidden source explains channels.

    Attributes
    ----------
    arrival : array [C]
        When the source reaches each channel, seconds after the first; NaN for channels that do not vary.
    misfit : float
        Median over pairs of how far a delay is from the difference of arrivals, in standard errors.
    share : float
        Of a channel's variance that the source predicts, averaged over channels and bands.
    predictable : float
        That all other channels predict.
    beyond_tree : float
        Squared partial coherence of pairs off the tree over that of pairs on it.
    n_channels : int
        That vary.
    """

    arrival: Float[np.ndarray, " C"]
    misfit: float
    share: float
    predictable: float
    beyond_tree: float
    n_channels: int

    @property
    def explains(self) -> bool:
        """Tell whether the source explains the channels as well as they explain each other."""
        return (
            self.n_channels >= FEWEST
            and self.predictable >= COHERENT
            and self.misfit <= ADDS_UP
            and self.share >= AS_WELL * self.predictable
            and self.beyond_tree >= TREE
        )

    def sentence(self) -> str:
        """Say so, or that it does not, in one line."""
        if self.n_channels < FEWEST:
            return f"{self.n_channels} channels cannot tell edges between them from a hidden source of both"
        verb = "explains" if self.explains else "does not explain"
        return (
            f"one hidden source {verb} these channels as well as edges between them: it predicts "
            f"{100 * self.share:.0f} % of a channel, all others {100 * max(self.predictable, 0.0):.0f} %; "
            f"delays are off their sums by {self.misfit:.2g} standard errors; partial coherence beyond a "
            f"tree is {self.beyond_tree:.2g} of that on it"
        )


def hidden_source(
    x: Any, sample_rate: float, delays: PairwiseDelays, band_hz: tuple[float, float] | None = None
) -> HiddenSource:
    """Ask whether one hidden source explains the channels of windows.

    Parameters
    ----------
    x : array or tensor [C, T] or [N, C, T]
        Windows.
    sample_rate : float
        Hertz.
    delays : PairwiseDelays
        Of the same windows.
    band_hz : (float, float), optional
        Frequencies used; default: all.
    """
    windows, alive = _windows(x, delays)
    arrival = np.full(windows.shape[1], np.nan)
    if len(alive) < FEWEST:
        return HiddenSource(arrival, np.inf, 0.0, 0.0, 0.0, len(alive))
    square = np.ix_(alive, alive)
    tau, stderr = delays.tau[square], np.maximum(delays.tau_stderr[square], 1e-12)
    at = arrivals(tau, stderr)
    arrival[alive] = at - at.min()
    rows, columns = np.tril_indices(len(alive), -1)
    misfit = np.abs(tau - (at[:, None] - at)) / stderr
    coherency, count = _coherency(windows[:, alive], sample_rate, at, band_hz)
    share = 1 - one_factor(coherency)[1]
    inverse = np.linalg.inv(coherency)
    left = 1 / np.diagonal(inverse, axis1=1, axis2=2).real * count / (count - len(alive) + 1)
    central = np.sort(np.argsort(-share.mean(0), kind="stable")[:COMPARED])
    among = _coherency(windows[:, alive[central]], sample_rate, at[central], band_hz)
    return HiddenSource(
        arrival=arrival,
        misfit=float(np.median(misfit[rows, columns])),
        share=float(share.mean()),
        predictable=float(1 - left.mean()),
        beyond_tree=beyond_tree(*among),
        n_channels=len(alive),
    )


def beyond_tree(coherency: Complex[np.ndarray, "K C C"], count: int) -> float:
    """Compare partial coherences off the tree of the largest coherences with those on it, less chance.

    Parameters
    ----------
    coherency : array [K, C, C]
        Of K bands.
    count : int
        Ordinates in each.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree

    partial = _partial(coherency, count)
    apart = 1 + 1e-9 - (np.abs(coherency) ** 2).mean(0)
    np.fill_diagonal(apart, 0.0)
    on = minimum_spanning_tree(np.tril(apart)).toarray() > 0
    off = np.tril(~on, -1)
    return float(max(partial[off].mean(), 0.0) / max(partial[on].mean(), 1e-12))


def arrivals(tau: Float[np.ndarray, "C C"], stderr: Float[np.ndarray, "C C"]) -> Float[np.ndarray, " C"]:
    """Solve `tau_ij = d_i - d_j` by weighted least squares; the mean of d is zero."""
    weight = stderr**-2.0
    np.fill_diagonal(weight, 0.0)
    normal = np.diag(weight.sum(1)) - weight
    found: np.ndarray = np.linalg.lstsq(normal, (weight * tau).sum(1), rcond=1e-12)[0]
    return found - found.mean()


def partial_coherence(x: Any, sample_rate: float, delays: PairwiseDelays) -> Float[np.ndarray, "C C"]:
    """Return squared coherence of two channels given all others, delays taken out, averaged over bands.

    Arguments as of `hidden_source`; 0 for channels that do not vary.
    """
    windows, alive = _windows(x, delays)
    full = np.zeros((windows.shape[1], windows.shape[1]))
    if len(alive) < 2:
        return full
    square = np.ix_(alive, alive)
    at = arrivals(delays.tau[square], np.maximum(delays.tau_stderr[square], 1e-12))
    coherency, count = _coherency(windows[:, alive], sample_rate, at, None)
    full[square] = np.maximum(_partial(coherency, count), 0.0)
    np.fill_diagonal(full, 0.0)
    return full


def _windows(x: Any, delays: PairwiseDelays) -> tuple[np.ndarray, np.ndarray]:
    """Return windows [N, C, T], and which channels vary."""
    windows = x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
    windows = (windows[None] if windows.ndim == 2 else windows).astype(float)
    return windows, np.flatnonzero(np.isfinite(np.diag(delays.tau)))


def _partial(coherency: np.ndarray, count: int) -> np.ndarray:
    """Squared partial coherence [C, C], less what chance gives, averaged over bands."""
    inverse = np.linalg.inv(coherency)
    root = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2).real)
    partial: np.ndarray = (np.abs(inverse / root[:, :, None] / root[:, None]) ** 2).mean(0)
    degrees = max(count - coherency.shape[1] + 2, 2)
    return (degrees * partial - 1) / (degrees - 1)


def _coherency(
    x: np.ndarray, sample_rate: float, arrival: np.ndarray, band_hz: tuple[float, float] | None
) -> tuple[Complex[np.ndarray, "K C C"], int]:
    """Average periodograms, arrivals taken out, within bands; and how many ordinates each has."""
    n_windows, n_channels, n_samples = x.shape
    x = (x - x.mean(-1, keepdims=True)) * np.hanning(n_samples + 2)[1:-1]
    frequency = np.fft.rfftfreq(n_samples, 1 / sample_rate)
    low, high = band_hz or (0.0, sample_rate)
    inside = np.flatnonzero((frequency > 0) & (frequency >= low) & (frequency <= high))
    spectrum = np.fft.rfft(x)[..., inside] * np.exp(2j * np.pi * frequency[inside] * arrival[:, None])
    bins = -(-max(AVERAGES, PER_CHANNEL * n_channels) // n_windows)
    bins = min(max(bins, -(-len(inside) // MOST_BANDS)), len(inside))
    bands = len(inside) // bins
    cut = spectrum[..., : bands * bins].reshape(n_windows, n_channels, bands, bins)
    rows = cut.transpose(2, 1, 0, 3).reshape(bands, n_channels, -1)
    power = rows @ rows.conj().swapaxes(1, 2)
    root = np.sqrt(np.maximum(np.diagonal(power, axis1=1, axis2=2).real, 1e-300))
    ridge = LEAST * np.eye(n_channels)  # sums of channels leave no inverse
    # The taper makes neighbouring ordinates alike: as many as half of them are new.
    return (power / root[:, :, None] / root[:, None] + ridge) / (1 + LEAST), rows.shape[-1] // 2


def one_factor(
    coherency: Complex[np.ndarray, "K C C"],
) -> tuple[Complex[np.ndarray, "K C"], Float[np.ndarray, "K C"]]:
    """Fit `a a^H + diag(own)` to coherency matrices by maximum likelihood: loadings a, and own."""
    values, vectors = np.linalg.eigh(coherency)
    loading = vectors[:, :, -1] * np.sqrt(0.7 * values[:, -1:])
    own = np.clip(1 - np.abs(loading) ** 2, LEAST, None)
    for _ in range(ROUNDS):
        over = loading.conj() / own
        spread = 1 / (1 + (over * loading).sum(1).real)
        filtered = spread[:, None] * over
        with_source = np.einsum("kij,kj->ki", coherency, filtered.conj())
        power = spread + np.einsum("ki,ki->k", filtered, with_source).real
        loading = with_source / power[:, None]
        own = np.clip(1 - (loading * with_source.conj()).real, LEAST, None)
    return loading, own
