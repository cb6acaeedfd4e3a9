"""Magnitude alone: the edge into a channel comes from the next smaller one, without a look at time.

Rivers grow downstream, so that the mean discharge of two stations says which drives which; a score of causal
discovery on rivers that does not beat this one has seen nothing but size (Stein et al. 2025, ICLR).
"""

from __future__ import annotations

import numpy as np

from cldtrans.methods.cards import Card
from cldtrans.methods.estimators import LagEstimate


class Magnitude:
    """The `estimator` factory: the smaller the step up in mean size, the likelier the edge."""

    card = Card(
        title="Magnitude alone",
        source="Stein et al. 2025, ICLR (CausalRivers)",
        licence="MIT (ours, from the paper)",
        reproduced="edges by mean size alone, no look at time",
        differs="gives no lags",
    )

    reads_level = True

    def __call__(
        self,
        x: np.ndarray,
        sample_rate: float,
        tau_max_s: float,
        seed: int = 0,
        level: np.ndarray | None = None,
    ) -> LagEstimate:
        """Score edges of windows x [N, C, T] by the channels' mean sizes, or by their standard deviations."""
        size = np.log(x.std(axis=(0, 2)) if level is None else level)
        step = size[:, None] - size
        score = np.where(step > 0, -step, -1e3 + step)
        n_channels = len(size)
        nothing = np.zeros((n_channels, n_channels), bool)
        return LagEstimate(np.full(nothing.shape, np.nan), nothing, None, score=score)


class LargestVariance:
    """The `readout` factory: the channel of largest variance leads, of which no lag says anything."""

    card = Magnitude.card

    def __call__(self, x: np.ndarray, mask: np.ndarray, sample_rate: float) -> np.ndarray:
        """Score channels: float [n, C] of windows x [n, C, T]; -inf where the mask is False."""
        return np.where(mask, x.var(axis=-1), -np.inf)
