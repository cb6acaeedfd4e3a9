"""Proportional hazards on what is known without a signal: age, sex, and when a window begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from cldtrans.baselines.survival.times import only_times
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

PENALTY = 1e-4  # of |w|^2 / 2 beside the mean partial likelihood: keeps a column that does not vary in place
COLUMNS = ("age", "sex", "start")
OLDEST = 90.0  # years; PTB-XL writes 300 for all beyond


def fit_cox(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, penalty: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit Cox's proportional hazards, ties by Breslow.

    Parameters
    ----------
    x : array [n, F]
        Centred.
    time : array [n]
        Of the event or of the end of follow-up.
    event : array [n] of bool
        Which of both.
    penalty : float
        Of half the squared norm, beside the mean partial log-likelihood.

    Returns
    -------
    weights : array [F]
        Log hazard ratios.
    times, hazard : array [m]
        Breslow's cumulative baseline hazard after each distinct time.

    References
    ----------
    Cox 1972, J. R. Stat. Soc. B 34:187; Breslow 1974, Biometrics 30:89.
    """
    order = np.argsort(-time, kind="stable")
    x, falling, event = x[order], time[order], event[order].astype(float)
    last = len(time) - 1 - np.searchsorted(falling[::-1], falling, side="left")  # of those still at risk

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        linear = x @ weights
        shift = linear.max(initial=0.0)
        relative = np.exp(linear - shift)
        risk = np.cumsum(relative)[last]
        mean = np.cumsum(relative[:, None] * x, axis=0)[last] / risk[:, None]
        value = event @ (linear - shift - np.log(risk)) / len(x)
        slope = (event[:, None] * (x - mean)).sum(0) / len(x)
        return float(-value + 0.5 * penalty * weights @ weights), -slope + penalty * weights

    options = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 500}
    weights = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options=options).x
    risk = np.cumsum(np.exp(x @ weights))[last]
    times, place = np.unique(falling, return_inverse=True)
    return weights, times, np.cumsum(np.bincount(place, weights=event / risk, minlength=len(times)))


class CoxMetadata:
    """The `classifier` factory of the config, and the floor beside every score of a time to an event.

    Age and sex where the dataset's index has them, and the hours from the recording's start to the window's.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    """

    card = Card(
        title="Cox on age, sex, start",
        source="Cox 1972, J. R. Stat. Soc. B 34:187",
        licence="MIT (ours)",
        reproduced="",
        differs="sees no signal: what it scores, a method has to beat",
    )

    def __init__(
        self, task: Any, channels: tuple[str, ...], sample_rate: float, modality: str, seed: int, threads: int
    ) -> None:
        self._times = only_times(task, type(self).__name__)
        self.notes: list[str] = []
        self.parameters: int | None = None

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit on training windows; validation windows are not looked at."""
        x = _known(train)
        absent = [name for name, column in zip(COLUMNS, x.T, strict=True) if not np.isfinite(column).any()]
        if absent:
            self.notes.append(f"the index has no {', '.join(absent)}")
        self._mean = pd.DataFrame(x).mean().fillna(0.0).to_numpy()
        deviation = pd.DataFrame(x).std(ddof=0).fillna(0.0).to_numpy()
        self._scale = np.where(deviation > 1e-9, deviation, np.inf)
        self._fit = fit_cox(self._standard(x), train.y[:, 0], train.y[:, 1] == 1, PENALTY)
        self.parameters = x.shape[1] - len(absent)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K] of an event until each time."""
        weights, times, hazard = self._fit
        baseline = np.concatenate([[0.0], hazard])[np.searchsorted(times, self._times, side="right")]
        return 1 - np.exp(-np.exp(self._standard(_known(windows)) @ weights)[:, None] * baseline)

    def _standard(self, x: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(x), (x - self._mean) / self._scale, 0.0)


def _known(windows: LabelledWindows) -> np.ndarray:
    """Age in years, sex as a number, hours from the recording's start, [n, 3]; NaN where not known.

    How long the recording is stays out of it: where it ends with the event, that tells the label.
    """
    index = windows.shards.index.iloc[windows.rows]
    found = []
    for name in ("age", "sex"):
        column = index.get(name, pd.Series(np.nan, index=index.index)).replace({"F": 0, "M": 1})
        found.append(pd.to_numeric(column, errors="coerce").to_numpy(dtype=float))
    return np.column_stack([np.minimum(found[0], OLDEST), found[1], index["start_s"] / 3600])
