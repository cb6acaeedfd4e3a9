"""Ridge regression onto labels, for more features than windows; validation chooses the penalty.

All penalties come from one eigendecomposition, of the smaller of the two Gram matrices. Exclusive classes are
weighted to balance. What it gives is a score for each class, brought to (0, 1) so that a threshold at 0.5
means what it means elsewhere; it is no calibrated probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cldtrans.scoring.metrics import PRIMARY, classification

PENALTIES = tuple(np.logspace(-3, 3, 7))  # times the mean eigenvalue
DEFAULT_PENALTY = 1.0


class RidgeScores:
    """Least squares of -1 and 1 on standardised features.

    Parameters
    ----------
    kind : one of "binary", "multiclass", "multilabel"
        Of the task.
    classes : sequence of str
        Their names.
    """

    def __init__(self, kind: str, classes: Sequence[str]) -> None:
        self.kind, self.classes = kind, tuple(classes)
        self.parameters: int | None = None
        self.notes: list[str] = []

    def fit(self, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> None:
        """Fit; validation windows choose the penalty only.

        Parameters
        ----------
        x, x_val : array [n, F]
            Features of training and validation windows.
        y, y_val : array [n] of int, or [n, K]
            Their labels; -1: not labelled.
        """
        deviation = x.std(axis=0)
        self._mean, self._scale = x.mean(axis=0), np.where(deviation > 1e-6, deviation, np.inf)
        x, x_val = self._standardised(x), self._standardised(x_val)
        target, weight = self._targets(np.asarray(y))
        bias = np.zeros((len(PENALTIES), target.shape[1]))
        slopes = np.zeros((len(PENALTIES), x.shape[1], target.shape[1]), dtype=np.float32)
        patterns, which = np.unique(weight, axis=1, return_inverse=True)
        for k, column in enumerate(patterns.T):
            labels = np.flatnonzero(which == k)
            slopes[..., labels], bias[:, labels] = _solutions(x, target[:, labels], column)
        qualities = [self._quality(w, b, x_val, y_val) for w, b in zip(slopes, bias, strict=True)]
        if None in qualities:
            best = PENALTIES.index(DEFAULT_PENALTY)
            self.notes.append(
                f"validation does not define {PRIMARY[self.kind]}: penalty {DEFAULT_PENALTY:g} by default"
            )
        else:  # of equal ones the strongest
            best = len(PENALTIES) - 1 - int(np.argmax(np.round(np.array(qualities, float), 9)[::-1]))
        self._slope, self._bias = slopes[best], bias[best]
        self.penalty = PENALTIES[best]
        self.parameters = self._slope.size + self._bias.size

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Give scores [n, K] of features [n, F]."""
        return self._scores(self._slope, self._bias, self._standardised(x))

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        return ((x - self._mean) / self._scale).astype(np.float32)

    def _targets(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is regressed on, [n, K'], and the weight of each of its entries."""
        if self.kind == "multilabel":
            return np.where(y > 0, 1.0, -1.0), (y >= 0).astype(float)
        n_classes = len(self.classes)
        count = np.bincount(y, minlength=n_classes)
        weight = (len(y) / np.maximum(count, 1) / (count > 0).sum())[y]
        if self.kind == "binary":
            return np.where(y > 0, 1.0, -1.0)[:, None], weight[:, None]
        hot = np.where(y[:, None] == np.arange(n_classes), 1.0, -1.0)
        return hot, np.repeat(weight[:, None], n_classes, axis=1)

    def _scores(self, slope: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
        score = 2.0 * (x @ slope + bias)  # the middle between the classes at 0
        if self.kind == "multiclass":
            lifted = np.exp(score - score.max(axis=1, keepdims=True))
            return lifted / lifted.sum(axis=1, keepdims=True)
        yes = 1 / (1 + np.exp(-score))
        return np.concatenate([1 - yes, yes], axis=1) if self.kind == "binary" else yes

    def _quality(
        self, slope: np.ndarray, bias: np.ndarray, x_val: np.ndarray, y_val: np.ndarray
    ) -> float | None:
        together = np.zeros(len(y_val), dtype=int)
        found = classification(self.kind, self.classes, y_val, self._scores(slope, bias, x_val), together)
        return found.metrics[PRIMARY[self.kind]]


def _solutions(x: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes [P, F, K] and biases [P, K] at every penalty."""
    share = weight / max(weight.sum(), 1e-12)
    middle, level = share @ x, share @ target
    root = np.sqrt(weight)[:, None]
    z, t = (root * (x - middle)).astype(np.float64), root * (target - level)
    wide = z.shape[1] > z.shape[0]
    values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    values = values.clip(0)
    along = vectors.T @ (t if wide else z.T @ t)
    size = max(float(values.mean()), 1e-12)
    slopes = []
    for penalty in PENALTIES:
        found = vectors @ (along / (values + penalty * size)[:, None])
        slopes.append(z.T @ found if wide else found)
    return np.stack(slopes), np.stack([level - middle @ slope for slope in slopes])
