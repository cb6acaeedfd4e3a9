"""Logistic regression on given features: the linear probe, and the classifier of hand-made features.

Standardised on the training windows alone, classes weighted to balance, ridge penalty chosen on validation
subjects by the task's primary metric. Deterministic: lbfgs from zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from cldtrans.scoring.metrics import PRIMARY, classification

PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001)  # weight of |w|^2 / 2 beside the mean loss of a window
DEFAULT_PENALTY = 0.1
MAX_ITERATIONS = 300
_NEVER = -30.0  # logit of a class that training lacks

Linear = tuple[np.ndarray, np.ndarray]  # weights [K', F], biases [K']; K' is 1 for a yes/no question


class LinearProbe:
    """Ridge logistic regression; multinomial for exclusive classes, one model a label otherwise."""

    def __init__(self, kind: str, classes: Sequence[str]) -> None:
        self.kind, self.classes = kind, tuple(classes)
        self.parameters: int | None = None
        self.penalty = DEFAULT_PENALTY
        self.notes: list[str] = []

    def fit(self, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> None:
        """Fit the probe; validation windows choose the penalty only.

        Parameters
        ----------
        x, x_val : array [n, F]
            Features of training and validation windows.
        y, y_val : array [n] of int, or [n, K]
            Their labels; -1: not labelled.
        """
        x = np.asarray(x, dtype=np.float64)
        deviation = x.std(axis=0)
        self.mean = x.mean(axis=0)
        self.scale = np.where(
            deviation > 1e-5 * np.abs(self.mean) + 1e-12, deviation, np.inf
        )  # constant but for float32 rounding: dropped
        x, x_val = self._standardise(x), self._standardise(x_val)
        questions = (
            [y[:, k] for k in range(len(self.classes))] if self.kind == "multilabel" else [np.asarray(y)]
        )
        n_classes = len(self.classes) if self.kind == "multiclass" else 2
        paths = list(zip(*(_path(x, truth, n_classes) for truth in questions), strict=True))
        qualities = [self._quality(models, x_val, y_val) for models in paths]
        if None in qualities:
            best = PENALTIES.index(DEFAULT_PENALTY)
            self.notes.append(
                f"validation does not define {PRIMARY[self.kind]}: penalty {DEFAULT_PENALTY:g} by default"
            )
        else:
            best = int(np.argmax(np.round(np.array(qualities, dtype=float), 9)))  # ties: the stronger penalty
        self.penalty, self._models = PENALTIES[best], paths[best]
        self.parameters = sum(weights.size + bias.size for weights, bias in self._models)

    def linear(self) -> Linear:
        """Return weights [K', F] and biases [K'] of the fit.

        They are for features standardised and clipped as here.
        """
        return np.concatenate([w for w, _ in self._models]), np.concatenate([b for _, b in self._models])

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Predict probabilities [n, K] from features [n, F]."""
        return self._predict(self._models, self._standardise(x))

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        return np.clip((np.asarray(x, dtype=np.float64) - self.mean) / self.scale, -10, 10)

    def _quality(self, models: Sequence[Linear], x_val: np.ndarray, y_val: np.ndarray) -> float | None:
        together = np.zeros(len(y_val), dtype=int)  # as one subject: no interval is wanted here
        scores = classification(self.kind, self.classes, y_val, self._predict(models, x_val), together)
        return scores.metrics[PRIMARY[self.kind]]

    def _predict(self, models: Sequence[Linear], x: np.ndarray) -> np.ndarray:
        logits = np.concatenate([x @ weights.T + bias for weights, bias in models], axis=1)
        if self.kind == "multiclass":
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            return shifted / shifted.sum(axis=1, keepdims=True)
        positive = 1 / (1 + np.exp(-logits))
        return np.concatenate([1 - positive, positive], axis=1) if self.kind == "binary" else positive


def _path(x: np.ndarray, truth: np.ndarray, n_classes: int) -> list[Linear]:
    """Fit one question at every penalty, strongest first, each starting from the last."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    known = truth >= 0
    x, truth = x[known], truth[known].astype(int)
    values = np.unique(truth)
    if len(values) < 2:
        constant = np.full(n_classes if n_classes > 2 else 1, _NEVER)
        if len(values) and (n_classes > 2 or values[0] == 1):
            constant[values[0] if n_classes > 2 else 0] *= -1
        return [(np.zeros((len(constant), x.shape[1])), constant)] * len(PENALTIES)
    model = LogisticRegression(class_weight="balanced", max_iter=MAX_ITERATIONS, warm_start=True)
    fits = []
    for penalty in PENALTIES:
        model.set_params(C=1 / (penalty * len(x)))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # the weak end may stop early: validation decides
            model.fit(x, truth)
        fits.append(_all_classes(model.coef_.copy(), model.intercept_.copy(), values, n_classes))
    return fits


def _all_classes(weights: np.ndarray, bias: np.ndarray, values: np.ndarray, n_classes: int) -> Linear:
    """Extend a fit to the classes that occur to all classes."""
    if n_classes == 2:
        return weights, bias
    if len(values) == 2:  # one row for the second class: the first is the reference
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.append(0.0, bias)
    full, offset = np.zeros((n_classes, weights.shape[1])), np.full(n_classes, _NEVER)
    full[values], offset[values] = weights, bias
    return full, offset
