"""Delays of pairs as an estimator: every pair's delay, and which are next to each other, which way."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from cldtrans.methods.estimators import LagEstimate


class Pairwise:
    """The `estimator` factory; it claims no edge.

    Its score of an ordered pair, for propagation alone: the squared partial coherence of the two given all
    other channels, arrivals taken out, times the probability that the row is later. Partial coherence leaves
    direct neighbours; the delay says which way.
    """

    reads_band = True

    def __call__(
        self,
        x: np.ndarray,
        sample_rate: float,
        tau_max_s: float,
        seed: int = 0,
        band_hz: tuple[float, float] | None = None,
    ) -> LagEstimate:
        """Estimate the delays of windows x [N, C, T] of one system, from a band where one is given."""
        from cldtrans.lag import pairwise_delays
        from cldtrans.lag.single_source.common import partial_coherence

        found = pairwise_delays(x, sample_rate, tau_max_s, band_hz=band_hz)
        later = ndtr(found.tau / np.maximum(found.tau_stderr, 1e-12))
        near = partial_coherence(x, sample_rate, found)
        if not near.any():  # more channels than a band has ordinates: nothing is left to condition on
            near = found.coherence
        score = np.nan_to_num(near * later)
        nothing = np.zeros(found.tau.shape, bool)
        return LagEstimate(
            np.full(found.tau.shape, np.nan),
            nothing,
            None,
            score=score,
            delay=found.tau,
            delay_stderr=found.tau_stderr,
        )
