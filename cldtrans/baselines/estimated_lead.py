"""Focal leads from any estimator of lags and edges: which channel drives more of the others than drive it.

An estimator reads the window as one system and scores every ordered pair. A channel's score is the share of
the others that it rather drives than is driven by; ties count half, and are broken by the sum of the
differences. Ranks alone are compared, so that F values, logits and weights mean the same. An estimator
without scores has its edges counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cldtrans.methods.estimators import LagEstimate


class EstimatedLead:
    """The `readout` factory.

    Parameters
    ----------
    estimator : str
        Factory of the estimator, as `module:class`.
    tau_max_s : float
        Largest lag searched, seconds.
    rate_hz : float or None
        Windows sampled faster are resampled to it: an estimator on a grid of lags pays for every sample.
    **settings
        Of the estimator.
    """

    def __init__(
        self, estimator: str, tau_max_s: float = 0.25, rate_hz: float | None = 90.0, **settings: Any
    ) -> None:
        from cldtrans.methods.factories import build

        self._estimator = build(estimator, **settings)
        self.tau_max_s, self.rate_hz = tau_max_s, rate_hz

    def __call__(self, x: np.ndarray, mask: np.ndarray, sample_rate: float) -> np.ndarray:
        """Score channels: float [n, C] of windows x [n, C, T]; -inf where the mask is False."""
        scores = np.full(mask.shape, -np.inf)
        for k, (window, valid) in enumerate(zip(x, mask, strict=True)):
            signal, rate = self._resampled(window[valid].astype(np.float64), sample_rate)
            scores[k, valid] = drive(self._estimator(signal[None], rate, self.tau_max_s))
        return scores

    def _resampled(self, window: np.ndarray, sample_rate: float) -> tuple[np.ndarray, float]:
        from scipy.signal import resample_poly

        if self.rate_hz is None or self.rate_hz >= sample_rate:
            return window, sample_rate
        return resample_poly(window, round(self.rate_hz), round(sample_rate), axis=-1), self.rate_hz


def drive(estimate: LagEstimate) -> np.ndarray:
    """Return the share [C] of other channels that each rather drives than is driven by, ties broken."""
    score = estimate.support.astype(float) if estimate.score is None else estimate.score
    difference = np.nan_to_num(score.T - score)  # [source, other]: positive where the source drives
    np.fill_diagonal(difference, 0.0)
    others = max(len(difference) - 1, 1)
    won = (np.sign(difference).sum(axis=1) / others + 1) / 2
    size = np.abs(difference).sum()
    return won + (0.01 / others * difference.sum(axis=1) / size if size > 0 else 0.0)
