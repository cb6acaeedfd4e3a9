"""Lags and edges of a simulated system by `fit_ldsem`."""

from __future__ import annotations

from typing import Any

import numpy as np

from cldtrans.methods.estimators import LagEstimate


class Ldsem:
    """`fit_ldsem` as an estimator; settings are its keyword arguments."""

    def __init__(self, innovation: str = "laplace", **settings: Any) -> None:
        from cldtrans.lag import fit_ldsem

        self._fit = fit_ldsem
        self.settings = {"innovation": innovation, **settings}

    def __call__(self, x: np.ndarray, sample_rate: float, tau_max_s: float, seed: int = 0) -> LagEstimate:
        """Estimate edges and lags of windows x [N, C, T] of one system; lags reach `tau_max_s` seconds."""
        fit = self._fit(x, sample_rate, tau_max_s, **self.settings)
        return LagEstimate(
            np.asarray(fit.tau, dtype=float),
            np.asarray(fit.support, dtype=bool),
            np.asarray(fit.tau_stderr, dtype=float),
            score=-np.log(np.maximum(np.asarray(fit.p_value, dtype=float), 1e-300)),
        )
