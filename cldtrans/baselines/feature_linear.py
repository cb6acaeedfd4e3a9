"""Hand-made features and logistic regression: what a day of work without a network reaches.

EEG, per channel: log power in six bands (Hann segments of 2 s), line length, Hjorth activity, mobility and
complexity (Hjorth 1970, Electroencephalogr. Clin. Neurophysiol. 29:306), and their mean and maximum over
channels. ECG: the beat averaged around R peaks (30 points a lead from -0.25 to 0.45 s), intervals between
beats, and per lead the spread, skewness and kurtosis. A channel that the recording lacks has undefined
features, which the mean of training stands in for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import find_peaks

from cldtrans.methods.cards import Card
from cldtrans.methods.probes import probe_of
from cldtrans.methods.windows import LabelledWindows, in_batches

BANDS_HZ = ((0.5, 2), (2, 4), (4, 8), (8, 13), (13, 20), (20, 40))
SEGMENT_S = 2.0
BEAT_S = (-0.25, 0.45)
BEAT_POINTS = 30
_BATCH = 256


class FeatureLinear:
    """The `classifier` factory of the config."""

    card = Card(
        title="Features + linear",
        source="ours; Hjorth 1970, Electroencephalogr. Clin. Neurophysiol. 29:306",
        licence="MIT (ours)",
        reproduced="Hjorth parameters",
        differs="a floor of what is known without a network, after no single paper",
    )

    def __init__(
        self, task: Any, channels: tuple[str, ...], sample_rate: float, modality: str, seed: int, threads: int
    ) -> None:
        self.rate_hz, self.modality = sample_rate, modality
        self._probe = probe_of(task.kind, task.classes)

    @property
    def parameters(self) -> int | None:
        """Number of fitted parameters; None before the fit."""
        return self._probe.parameters

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit, for the result file."""
        return self._probe.notes

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit on the features of training windows; validation windows choose the penalty."""
        features = self._features(train)
        finite = np.isfinite(features)
        total = np.where(finite, features, 0).sum(axis=0)
        self._fill = total / np.maximum(finite.sum(axis=0), 1)
        self._probe.fit(self._filled(features), train.y, self._filled(self._features(val)), val.y)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]."""
        return self._probe.predict_proba(self._filled(self._features(windows)))

    def _filled(self, features: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(features), features, self._fill)

    def _features(self, windows: LabelledWindows) -> np.ndarray:
        found = hand_made(windows, self.modality, self.rate_hz)
        return found if len(windows) else np.zeros((0, len(self._fill)))


def hand_made(windows: LabelledWindows, modality: str, sample_rate: float) -> np.ndarray:
    """Return the features of all windows, [n, F]; NaN where a channel is not valid, [0, 0] of no window."""
    extract = ecg_features if modality == "ecg" else eeg_features
    pieces = [
        extract(windows.x(part), windows.mask(part), sample_rate) for part in in_batches(len(windows), _BATCH)
    ]
    return np.concatenate(pieces) if pieces else np.zeros((0, 0))


def eeg_features(x: np.ndarray, mask: np.ndarray, sample_rate: float) -> np.ndarray:
    """Compute the features of EEG windows.

    Parameters
    ----------
    x : array [n, C, T]
        Windows in any unit.
    mask : array [n, C] of bool
        Valid channels.
    sample_rate : float
        Hertz.

    Returns
    -------
    array [n, 10 (C + 2)]
        NaN for channels that are not valid.
    """
    length = min(round(SEGMENT_S * sample_rate), x.shape[-1])
    n_segments = x.shape[-1] // length
    segments = x[..., : n_segments * length].reshape(*x.shape[:2], n_segments, length)
    taper = np.hanning(length).astype(np.float32)
    centred = (segments - segments.mean(axis=-1, keepdims=True)) * taper
    power = (np.abs(np.fft.rfft(centred)) ** 2).mean(axis=2) / (sample_rate * (taper**2).sum())
    frequency = np.fft.rfftfreq(length, 1 / sample_rate)
    bands = [power[..., (frequency >= low) & (frequency < high)].sum(axis=-1) for low, high in BANDS_HZ]
    first = np.diff(x, axis=-1)
    activity, slope = x.var(axis=-1), first.var(axis=-1)
    curvature = np.diff(first, axis=-1).var(axis=-1)
    columns = [*bands, np.abs(first).mean(axis=-1), activity, slope / _positive(activity)]
    features = np.log(_positive(np.stack([*columns, curvature / _positive(slope)], axis=-1)))  # [n, C, 10]
    features[~mask] = np.nan
    some = np.where(np.any(mask, axis=1, keepdims=True)[..., None], features, 0.0)
    across = [np.nanmean(some, axis=1), np.nanmax(some, axis=1)]
    return np.concatenate([features.reshape(len(x), -1), *across], axis=1)


def ecg_features(x: np.ndarray, mask: np.ndarray, sample_rate: float) -> np.ndarray:
    """Compute the features of ECG windows.

    Parameters
    ----------
    x : array [n, C, T]
        Windows in any unit.
    mask : array [n, C] of bool
        Valid leads.
    sample_rate : float
        Hertz.

    Returns
    -------
    array [n, (BEAT_POINTS + 3) C + 4]
        NaN for leads that are not valid.
    """
    return np.stack([_one_ecg(window, valid, sample_rate) for window, valid in zip(x, mask, strict=True)])


def _one_ecg(x: np.ndarray, valid: np.ndarray, sample_rate: float) -> np.ndarray:
    peaks = r_peaks(x * valid[:, None], sample_rate)
    offsets = np.linspace(BEAT_S[0], BEAT_S[1], BEAT_POINTS) * sample_rate
    half = max(1, round(sample_rate * (BEAT_S[1] - BEAT_S[0]) / BEAT_POINTS / 2))
    summed = np.cumsum(np.pad(x, ((0, 0), (half + 1, half)), mode="edge"), axis=1)
    smooth = (summed[:, 2 * half + 1 :] - summed[:, : -2 * half - 1]) / (2 * half + 1)
    inside = peaks[(peaks + offsets[0] >= 0) & (peaks + offsets[-1] < x.shape[1])]
    if len(inside):
        beat = np.median(smooth[:, np.round(inside[:, None] + offsets).astype(int)], axis=1)  # [C, points]
    else:
        beat = np.full((len(x), BEAT_POINTS), np.nan)
    spread = x.std(axis=1)
    z = (x - x.mean(axis=1, keepdims=True)) / _positive(spread)[:, None]
    lead = np.column_stack(
        [beat, np.log(_positive(spread)), (z**3).mean(axis=1), np.log((z**4).mean(axis=1) + 1)]
    )
    lead[~valid] = np.nan
    interval = np.diff(peaks) / sample_rate
    rhythm = np.full(4, np.nan)
    if len(interval) > 1:
        change = np.abs(np.diff(interval))
        rhythm[:] = interval.mean(), interval.std(), np.sqrt(np.mean(change**2)), np.ptp(interval)
    return np.concatenate([lead.ravel(), rhythm])


def r_peaks(x: np.ndarray, sample_rate: float) -> np.ndarray:
    """Find R peaks in one ECG x [C, T]: maxima of the 5-20 Hz slope energy over all leads; sample numbers."""
    n = x.shape[1]
    frequency = np.fft.rfftfreq(n, 1 / sample_rate)
    band = np.exp(-(((frequency - 12) / 7) ** 4))
    filtered = np.fft.irfft(np.fft.rfft(x) * band, n)
    filtered /= _positive(filtered.std(axis=1))[:, None]
    bell = np.hanning(2 * max(1, round(0.06 * sample_rate)) + 1)  # a single top, unlike a box: beats line up
    energy = np.convolve((filtered**2).sum(axis=0), bell / bell.sum(), mode="same")
    threshold = 0.3 * np.quantile(energy, 0.98)
    return find_peaks(energy, height=threshold, distance=max(1, round(0.25 * sample_rate)))[0]


def _positive(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 1e-12)
