"""Pairwise delays by GCC-PHAT: a focal-lead readout, and an estimator of lags and edges.

Knapp & Carter 1976, IEEE Trans. ASSP 24:320: the delay between two channels is where their cross-spectrum,
whitened to unit modulus, has the largest inverse transform. Here tau_ij > 0 means that j leads i.
"""

from __future__ import annotations

import numpy as np

from cldtrans.methods.cards import Card
from cldtrans.methods.estimators import LagEstimate

CARD = Card(
    title="GCC-PHAT",
    source="Knapp & Carter 1976, IEEE Trans. ASSP 24:320",
    licence="MIT (ours, from the paper)",
    reproduced="whitened cross-spectra",
    differs="averaged over windows; peaks between samples by a finer grid and a parabola; each is tested",
)


class GccPhat:
    """The `readout` factory: how much a channel leads the others, weighted by how sharp each pair's peak is.

    score_j = sum_i q_ij tau_ij / sum_i q_ij, with q the peak's height to the power `sharpness`.

    Parameters
    ----------
    tau_max_s : float
        Largest delay searched, seconds.
    band_hz : (float, float)
        Frequencies used. Whitening gives noise beyond the discharge's harmonics the same say as the
        discharge: on real EEG with a planted 3-4 Hz discharge at 10 dB the lead comes first in 0.55 of
        windows with 1-40 Hz, in 1.0 with 2-12 Hz.
    sharpness : float
        Exponent of the weights.
    """

    card = CARD

    def __init__(
        self, tau_max_s: float = 0.5, band_hz: tuple[float, float] = (2.0, 12.0), sharpness: float = 2.0
    ) -> None:
        self.tau_max_s, self.band_hz, self.sharpness = tau_max_s, band_hz, sharpness

    def __call__(self, x: np.ndarray, mask: np.ndarray, sample_rate: float) -> np.ndarray:
        """Score channels: float [n, C] of windows x [n, C, T]; higher leads; -inf where the mask is False."""
        scores = np.full(mask.shape, -np.inf)
        for k, (window, valid) in enumerate(zip(x, mask, strict=True)):
            curves, lags_s = correlations(window[None, valid], sample_rate, self.tau_max_s, self.band_hz)
            tau, height = peaks(curves, lags_s)
            weight = np.maximum(height, 0) ** self.sharpness
            np.fill_diagonal(weight, 0)
            scores[k, valid] = (weight * tau).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-12)
        return scores


class GccPhatPairs:
    """The `estimator` factory: an edge wherever a pair's peak is higher than chance allows.

    With phases at random the averaged correlation at one delay has variance 1 / (N T); the threshold is
    normal, two sided, and corrected for every pair and every delay searched (Bonferroni). Pairs without
    conditioning: indirect paths and common causes count as edges.

    Parameters
    ----------
    alpha : float
        Family-wise error rate over all pairs and delays.
    per_sample : int
        Delays a sample; a parabola refines the highest of more than one.
    """

    card = CARD

    def __init__(self, alpha: float = 0.01, per_sample: int = 4) -> None:
        self.alpha, self.per_sample = alpha, per_sample

    reads_band = True

    def __call__(
        self,
        x: np.ndarray,
        sample_rate: float,
        tau_max_s: float,
        seed: int = 0,
        band_hz: tuple[float, float] | None = None,
    ) -> LagEstimate:
        """Estimate edges and lags of windows x [N, C, T] of one system, from a band where one is given."""
        from scipy.special import ndtri

        curves, lags_s = correlations(x, sample_rate, tau_max_s, band_hz, self.per_sample)
        tau, height = peaks(np.abs(curves), lags_s)
        if self.per_sample == 1:
            tau = lags_s[np.abs(curves).argmax(axis=-1)]
        n_channels = x.shape[1]
        searches = n_channels * (n_channels - 1) / 2 * len(lags_s)
        threshold = -ndtri(self.alpha / searches / 2) / np.sqrt(x.shape[0] * x.shape[2])
        support = (height > threshold) & (tau >= 0) & ~np.eye(n_channels, dtype=bool)
        later = np.where(tau > 0, height, -height)
        return LagEstimate(np.where(support, tau, np.nan), support, None, score=later, delay=tau)


def correlations(
    x: np.ndarray,
    sample_rate: float,
    tau_max_s: float,
    band_hz: tuple[float, float] | None = None,
    per_sample: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Average whitened cross-correlations over windows.

    `curves[i, j]` at tau is large where x_i(t) resembles x_j(t - tau); 1 where it is the same signal. There
    are `per_sample` delays a sample: a white signal's peak is a sinc, whose parabola is off by 0.12 samples
    at one.

    Parameters
    ----------
    x : array [N, C, T]
        Windows.
    sample_rate : float
        Hertz.
    tau_max_s : float
        Largest delay, seconds.
    band_hz : (float, float), optional
        Frequencies used; default: all.
    per_sample : int
        Delays a sample.

    Returns
    -------
    curves : array [C, C, lags]
        Row = target.
    lags : array [lags]
        Delays in seconds.
    """
    n_samples = x.shape[-1]
    size = 2 * n_samples
    spectrum = np.fft.rfft(x - x.mean(axis=-1, keepdims=True), size)
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    low, high = band_hz or (0.0, sample_rate)
    used = np.flatnonzero((frequency >= low) & (frequency <= high))
    floor = 1e-9 * np.abs(spectrum).max(axis=-1, keepdims=True) + 1e-30
    white = (spectrum / np.maximum(np.abs(spectrum), floor))[..., used]
    total = np.zeros((x.shape[1], *white.shape[1:]), dtype=complex)
    for one in white:
        total += one[:, None] * one.conj()
    reach = min(round(tau_max_s * sample_rate), n_samples - 1) * per_sample
    lags = np.arange(-reach, reach + 1) / per_sample
    twice = np.where((used == 0) | (used == n_samples), 1.0, 2.0)  # bins of a real transform
    turn = 2 * np.pi * np.outer(used, lags) / size
    curves = (total.real * twice) @ np.cos(turn) - (total.imag * twice) @ np.sin(turn)
    own = np.sqrt(np.maximum(np.diagonal(curves[..., reach]), 1e-30))
    return curves / (own[:, None] * own)[..., None], lags / sample_rate


def peaks(curves: np.ndarray, lags_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the largest value of each curve.

    Parameters
    ----------
    curves : array [C, C, lags]
        From `correlations`.
    lags_s : array [lags]
        Their delays in seconds.

    Returns
    -------
    tau : array [C, C]
        Delay in seconds, refined by a parabola.
    height : array [C, C]
        The largest value.
    """
    at = curves.argmax(axis=-1)
    inner = np.clip(at, 1, curves.shape[-1] - 2)
    before, here, after = (np.take_along_axis(curves, (inner + d)[..., None], -1)[..., 0] for d in (-1, 0, 1))
    bend = before - 2 * here + after
    shift = np.where((at == inner) & (bend < 0), 0.5 * (before - after) / np.where(bend < 0, bend, -1), 0.0)
    step = lags_s[1] - lags_s[0]
    return lags_s[at] + np.clip(shift, -0.5, 0.5) * step, curves.max(axis=-1)
