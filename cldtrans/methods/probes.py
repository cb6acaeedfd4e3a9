"""The linear probe of a task: logistic regression onto classes, ridge regression onto numbers, hazards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cldtrans.methods.hazard_probe import HazardProbe
from cldtrans.methods.linear_probe import Blocks, LinearProbe
from cldtrans.scoring.regression import mean_over_targets

PENALTIES = tuple(np.logspace(4, -3, 8))  # of |w|^2 beside the mean squared error, strongest first


def probe_of(
    kind: str, classes: Sequence[str], blocks: Blocks | None = None
) -> LinearProbe | NumberProbe | HazardProbe:
    """Return the probe of a kind of task; arguments as in `LinearProbe`."""
    return NumberProbe(classes) if kind == "regression" else head_probe(kind, classes, blocks)


def head_probe(kind: str, classes: Sequence[str], blocks: Blocks | None = None) -> LinearProbe | HazardProbe:
    """Return the probe from which a head of that kind starts; arguments as in `LinearProbe`."""
    return HazardProbe(classes, blocks) if kind == "time_to_event" else LinearProbe(kind, classes, blocks)


class NumberProbe:
    """Ridge regression on standardised features; validation windows choose one penalty for all numbers.

    Parameters
    ----------
    classes : sequence of str
        What the numbers are.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.parameters: int | None = None
        self.notes: list[str] = []

    def fit(self, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> None:
        """Fit on features [n, F] and numbers [n, K], NaN where one is not known."""
        x = np.asarray(x, dtype=np.float64)
        deviation = x.std(axis=0)
        self._mean = x.mean(axis=0)
        self._scale = np.where(deviation > 1e-5 * np.abs(self._mean) + 1e-12, deviation, np.inf)
        x, x_val = self._standardised(x), self._standardised(x_val)
        paths = [_path(x, column) for column in np.asarray(y, dtype=float).T]
        errors, alone = [], np.arange(len(x_val))
        for k in range(len(PENALTIES)):
            guess = np.column_stack([x_val @ path[k][0] + path[k][1] for path in paths])
            found = mean_over_targets(y_val, guess, alone, np.ones((1, len(alone))), False)
            errors.append(float(found["nrmse"][0]))
        if not np.isfinite(errors).any():
            self.notes.append("validation windows define no error: the strongest penalty is taken")
        best = int(np.nanargmin(errors)) if np.isfinite(errors).any() else 0
        self._slope = np.column_stack([path[best][0] for path in paths])
        self._bias = np.array([path[best][1] for path in paths])
        self.penalty = PENALTIES[best]
        self.parameters = self._slope.size + self._bias.size

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Predict the numbers [n, K] of features [n, F]."""
        return self._standardised(x) @ self._slope + self._bias

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        return np.clip((np.asarray(x, dtype=np.float64) - self._mean) / self._scale, -10, 10)


def _path(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return slope and bias of one number at every penalty."""
    known = np.isfinite(y)
    if not known.any():
        return [(np.zeros(x.shape[1]), 0.0)] * len(PENALTIES)
    x, y = x[known], y[known]
    middle, level = x.mean(axis=0), float(y.mean())
    left, size, right = np.linalg.svd(x - middle, full_matrices=False)
    along = left.T @ (y - level)
    found = []
    for penalty in PENALTIES:
        slope = right.T @ (size / (size**2 + penalty * len(x)) * along)
        found.append((slope, level - float(middle @ slope)))
    return found
