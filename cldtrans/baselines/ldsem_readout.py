"""The LD-SEM fitted to each window as a focal-lead readout.

Every window is fitted on its own (`fit_ldsem`); a channel's score is its net lead, the lags of its outgoing
edges minus those of its incoming ones, each weighted by its size over its standard error. A window without
any edge scores all channels alike. The cost is bounded by the size of the problem, never by a clock:
windows are resampled so that the pass-band fills 90 % of what the rate can hold (beyond it there is no
signal to fit).
"""

from __future__ import annotations

import numpy as np


class LdsemReadout:
    """The `readout` factory.

    Parameters
    ----------
    tau_max_s : float
        Largest lag, seconds.
    band_high_hz : float or None
        Upper edge of the pass-band; None: windows are fitted at their own rate.
    innovation : one of "laplace", "student", "gaussian"
        Family of the likelihood.
    """

    def __init__(
        self, tau_max_s: float = 0.25, band_high_hz: float | None = 40.0, innovation: str = "laplace"
    ) -> None:
        self.tau_max_s, self.band_high_hz, self.innovation = tau_max_s, band_high_hz, innovation

    def __call__(self, x: np.ndarray, mask: np.ndarray, sample_rate: float) -> np.ndarray:
        """Score channels: float [n, C] of windows x [n, C, T]; -inf where the mask is False."""
        from cldtrans.lag import fit_ldsem

        scores = np.full(mask.shape, -np.inf)
        for k, (window, valid) in enumerate(zip(x, mask, strict=True)):
            signal, rate = self._filled_band(window[valid].astype(np.float64), sample_rate)
            fit = fit_ldsem(signal[None], rate, self.tau_max_s, innovation=self.innovation)
            scores[k, valid] = net_lead(
                np.asarray(fit.tau),
                np.asarray(fit.weight),
                np.asarray(fit.weight_stderr),
                np.asarray(fit.support),
            )
        return scores

    def _filled_band(self, window: np.ndarray, sample_rate: float) -> tuple[np.ndarray, float]:
        from scipy.signal import resample_poly

        if self.band_high_hz is None:
            return window, sample_rate
        target = round(2 * self.band_high_hz / 0.9)
        if target >= sample_rate:
            return window, sample_rate
        return resample_poly(window, target, round(sample_rate), axis=-1), float(target)


def net_lead(tau: np.ndarray, weight: np.ndarray, stderr: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Weigh outgoing minus incoming lags of each channel.

    Parameters
    ----------
    tau, weight, stderr : array [C, C]
        Lags, weights and their standard errors, with targets as rows.
    support : array [C, C] of bool
        Edges.

    Returns
    -------
    array [C]
        Higher for likelier leads.
    """
    strength = np.where(support & (stderr > 0), np.abs(weight) / np.where(stderr > 0, stderr, 1), 0.0)
    flow = np.where(support, strength * np.nan_to_num(tau), 0.0)
    return (flow.sum(axis=0) - flow.sum(axis=1)) / max(strength.sum(), 1e-12)
