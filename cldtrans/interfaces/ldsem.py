"""`LDSEM`: `fit_ldsem` as an estimator of scikit-learn."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, validate_data

from cldtrans.errors import DataError
from cldtrans.lag.fit.ldsem import TAU_MAX_S, fit_ldsem
from cldtrans.lag.fit.likelihood import Innovation
from cldtrans.lag.inputs import is_mne, read_input
from cldtrans.machine import threads_of


class LDSEM(BaseEstimator):
    """Lags, weights and edges between the channels of one system.

    Parameters
    ----------
    tau_max : float
        Largest lag searched, seconds.
    sample_rate : float, optional
        Hertz; mne's objects know it, arrays do not.
    innovation, periodic, alpha, error_rate, max_order, band_hz
        As in `fit_ldsem`.
    threads : int
        Of the numerical libraries: beside other work, more are slower.

    Attributes
    ----------
    result_ : LagFit
        All of it, with standard errors, warnings, pictures and exports.
    tau_, tau_stderr_, weight_, p_value_ : array [C, C]
        Rows are targets; seconds, and weights in the input's units.
    support_ : array [C, C] of bool
        Edges.
    n_features_in_ : int
        C.
    feature_names_in_ : array [C] of str
        Names of the channels, where X has them.

    Examples
    --------
    >>> from cldtrans import LDSEM
    >>> from cldtrans.lag import simulate_ldsem
    >>> system = simulate_ldsem(3, 30.0, lag_range_s=(0.02, 0.08), seed=0)
    >>> found = LDSEM(tau_max=0.1, sample_rate=system.sample_rate).fit(system.x)
    >>> bool((found.support_ == system.support).all())
    True
    """

    def __init__(
        self,
        tau_max: float = TAU_MAX_S,
        *,
        sample_rate: float | None = None,
        innovation: Innovation = "laplace",
        periodic: bool = False,
        alpha: float = 0.01,
        error_rate: Literal["family", "discovery"] = "family",
        max_order: int = 32,
        band_hz: tuple[float, float] | None = None,
        threads: int = 1,
    ) -> None:
        self.tau_max = tau_max
        self.sample_rate = sample_rate
        self.innovation = innovation
        self.periodic = periodic
        self.alpha = alpha
        self.error_rate = error_rate
        self.max_order = max_order
        self.band_hz = band_hz
        self.threads = threads

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit one system.

        Parameters
        ----------
        X : array [T, C], array [N, C, T], mne.io.BaseRaw or mne.BaseEpochs
            Two dimensions are scikit-learn's: a sample of all channels in each row; three, windows.
        y : ignored
            For pipelines.

        Raises
        ------
        ValueError
            Where the input cannot be fitted; one line says why and what to do.
        """
        try:
            if is_mne(X):
                given = read_input(X, self.sample_rate)
                windows, names = X, None  # which knows them
                self.n_features_in_ = given.x.shape[1]
                self.feature_names_in_ = np.array(given.channels, dtype=object)
            else:
                windows = self._windows(X)
                known = getattr(self, "feature_names_in_", None)
                names = None if known is None else [str(name) for name in known]
            with threads_of(self.threads):
                self.result_ = fit_ldsem(
                    windows,
                    self.sample_rate,
                    self.tau_max,
                    self.innovation,
                    self.periodic,
                    alpha=self.alpha,
                    error_rate=self.error_rate,
                    max_order=self.max_order,
                    band_hz=self.band_hz,
                    channels=names,
                )
        except DataError as error:  # scikit-learn expects errors of the input to be of this type
            raise ValueError(str(error)) from error
        self.tau_, self.tau_stderr_ = self.result_.tau, self.result_.tau_stderr
        self.weight_, self.p_value_ = self.result_.weight, self.result_.p_value
        self.support_ = self.result_.support
        return self

    def _windows(self, X: Any) -> np.ndarray:
        """Return windows [N, C, T] of an array."""
        X = X.detach().cpu().numpy() if hasattr(X, "detach") else X
        if getattr(X, "ndim", 2) != 3:
            return validate_data(self, X, dtype=np.float64, ensure_min_samples=2).T[None]
        windows = check_array(X, dtype=np.float64, allow_nd=True)
        self.n_features_in_ = windows.shape[1]
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # of an earlier fit
        return windows

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
