"""Hand-made features, as baselines for times to an event use them."""

from __future__ import annotations

import numpy as np

from cldtrans.baselines.feature_linear import hand_made
from cldtrans.methods.windows import LabelledWindows


class HandMade:
    """Hand-made features of windows, standardised and filled by those of training windows."""

    def __init__(self, modality: str, rate_hz: float) -> None:
        self._modality, self._rate_hz = modality, rate_hz

    def fitted(self, train: LabelledWindows) -> np.ndarray:
        """Return the features [n, F] of training windows, and remember their mean and deviation."""
        x = hand_made(train, self._modality, self._rate_hz)
        known = np.isfinite(x)
        count = np.maximum(known.sum(0), 1)
        self._mean = np.where(known, x, 0).sum(0) / count
        deviation = np.sqrt((np.where(known, x - self._mean, 0) ** 2).sum(0) / count)
        self._scale = np.where(deviation > 1e-9, deviation, np.inf)
        return self._standard(x)

    def __call__(self, windows: LabelledWindows) -> np.ndarray:
        """Return the features [n, F] of other windows."""
        if not len(windows):
            return np.zeros((0, len(self._mean)))
        return self._standard(hand_made(windows, self._modality, self._rate_hz))

    def _standard(self, x: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(x), (x - self._mean) / self._scale, 0.0).clip(-10, 10)
