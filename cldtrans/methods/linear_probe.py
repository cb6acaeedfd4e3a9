"""Logistic regression on given features: the linear probe, and the classifier of hand-made features.

Standardised on the training windows alone, classes weighted to balance, ridge penalty chosen on validation
subjects by the log loss, each answer to a question equally heavy: with few windows the task's metric, which
sees ranks alone, has few values and chooses by chance. Features may come in blocks, each with a penalty of
its own: the same total variance times its share, whatever its width, until validation says otherwise
(`block_weights`). Deterministic: lbfgs from zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from cldtrans.methods.block_weights import block_weights

PENALTIES = (1e4, 1e3, 1e2, 10.0, 1.0, 0.1, 0.01, 0.001)  # of |w|^2 / 2 beside the mean loss of a window
DEFAULT_PENALTY = 0.1
MAX_ITERATIONS = 300
LEAST = 1e-6  # of a probability, before its logarithm
_NEVER = -30.0  # logit of a class that training lacks

Linear = tuple[np.ndarray, np.ndarray]  # weights [K', F], biases [K']; K' is 1 for a yes/no question
Blocks = Sequence[tuple[int, float]]  # width and share of each block, in the order of the columns


class LinearProbe:
    """Ridge logistic regression; multinomial for exclusive classes, one model a label otherwise.

    Parameters
    ----------
    kind : one of "binary", "multiclass", "multilabel"
        Of the task.
    classes : sequence of str
        Their names.
    blocks : sequence of (int, float), optional
        Width and share of each block of features; default: all are one block.
    """

    def __init__(self, kind: str, classes: Sequence[str], blocks: Blocks | None = None) -> None:
        self.kind, self.classes, self.blocks = kind, tuple(classes), blocks
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
        self._factor = self._factors(x, y, x_val, y_val)
        x, basis = _rotated(x * self._factor)
        x_val = x_val * self._factor @ basis if basis is not None else x_val * self._factor
        questions = (
            [y[:, k] for k in range(len(self.classes))] if self.kind == "multilabel" else [np.asarray(y)]
        )
        n_classes = len(self.classes) if self.kind == "multiclass" else 2
        paths = list(zip(*(_path(x, truth, n_classes) for truth in questions), strict=True))
        qualities = [self._quality(models, x_val, y_val) for models in paths]
        if None in qualities:
            best = PENALTIES.index(DEFAULT_PENALTY)
            self.notes.append(
                f"validation windows give no question both answers: penalty {DEFAULT_PENALTY:g} by default"
            )
        else:
            best = int(np.argmax(np.round(np.array(qualities, dtype=float), 9)))  # ties: the stronger penalty
        self.penalty = PENALTIES[best]
        self._models = [(w if basis is None else w @ basis.T, b) for w, b in paths[best]]
        self.parameters = sum(weights.size + bias.size for weights, bias in self._models)

    def linear(self) -> Linear:
        """Return weights [K', F] and biases [K'] of the fit.

        They are for features standardised and clipped as here.
        """
        weights = np.concatenate([w for w, _ in self._models]) * self._factor
        return weights, np.concatenate([b for _, b in self._models])

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Predict probabilities [n, K] from features [n, F]."""
        return self._predict(self._models, self._standardise(x) * self._factor)

    def _factors(self, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> np.ndarray:
        """Return what each standardised feature is multiplied by, [F]; mean square 1 over those that vary."""
        if self.blocks is None:
            return np.ones(x.shape[1])
        edges = np.cumsum([width for width, _ in self.blocks])
        if edges[-1] != x.shape[1]:
            raise ValueError(f"blocks of {edges[-1]} features in all, but there are {x.shape[1]}")
        varies = np.isfinite(self.scale)
        alive = [max(int(part.sum()), 1) for part in np.split(varies, edges[:-1])]
        share = np.array([share for _, share in self.blocks])
        share = share * [part.any() for part in np.split(varies, edges[:-1])]
        first = share / max(share.sum(), 1e-12) * max(int(varies.sum()), 1) / np.array(alive)
        parts, parts_val = (
            [part * size**0.5 for part, size in zip(np.split(v, edges[:-1], 1), first, strict=True)]
            for v in (x, x_val)
        )
        weights = block_weights(parts, self._one_hot(y), parts_val, self._one_hot(y_val))
        total = weights * share / max((weights * share).sum(), 1e-12) * max(int(varies.sum()), 1)
        return np.repeat(np.sqrt(total / np.array(alive)), [width for width, _ in self.blocks])

    def _one_hot(self, y: np.ndarray) -> np.ndarray:
        """Labels as columns of 0 and 1; -1 where a label is not known."""
        y = np.asarray(y)
        if self.kind == "multilabel":
            return y.reshape(len(y), len(self.classes))
        if self.kind == "binary":
            return y[:, None]
        return np.where(y[:, None] < 0, -1, y[:, None] == np.arange(len(self.classes)))

    def _standardise(self, x: np.ndarray) -> np.ndarray:
        return np.clip((np.asarray(x, dtype=np.float64) - self.mean) / self.scale, -10, 10)

    def _quality(self, models: Sequence[Linear], x_val: np.ndarray, y_val: np.ndarray) -> float | None:
        """Return minus the log loss, the mean over questions of the mean of both answers' means."""
        if not len(y_val):
            return None
        truth, found = self._one_hot(y_val), self._predict(models, x_val)
        found = found[:, 1:] if self.kind == "binary" else found
        losses = []
        for k in range(truth.shape[1]):
            sure = np.log(np.where(truth[:, k] == 1, found[:, k], 1 - found[:, k]).clip(LEAST))
            answers = [sure[truth[:, k] == answer] for answer in (0, 1)]
            if all(map(len, answers)):
                losses.append(np.mean([part.mean() for part in answers]))
        return float(np.mean(losses)) if losses else None

    def _predict(self, models: Sequence[Linear], x: np.ndarray) -> np.ndarray:
        logits = np.concatenate([x @ weights.T + bias for weights, bias in models], axis=1)
        if self.kind == "multiclass":
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            return shifted / shifted.sum(axis=1, keepdims=True)
        positive = 1 / (1 + np.exp(-logits))
        return np.concatenate([1 - positive, positive], axis=1) if self.kind == "binary" else positive


def _rotated(x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return x [n, F] on a basis [F, n] of its rows where F > n: the same ridge fits from fewer numbers."""
    if x.shape[1] <= x.shape[0]:
        return x, None
    basis = np.linalg.qr(x.T)[0]
    return x @ basis, basis


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
