"""Metrics of predicted numbers, their chance levels, and intervals over subjects.

RMSE, in the label's unit; nRMSE, RMSE over the deviation of the scored labels (the EEG Foundation Challenge
2025 ranks by it: 1 for their mean, lower is better); Pearson's correlation. Point values come from numpy; the
same metrics as functions of subject weights are below, for the bootstrap, and tests hold both equal to
scikit-learn's and scipy's. In a resample the labels' deviation is that of the resample.

Chance is the score of the best guess that does not look at the signal, the mean of the scored labels; what a
model reaches that sees age or earlier trials is a floor, and a method of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num, Shaped

from cldtrans.scoring.intervals import over_subjects
from cldtrans.scoring.metrics import Scores

METRICS = ("rmse", "nrmse", "pearson_r")
# A perfect prediction has no interval: nothing bounds an error from above.
_BOUNDS = {"rmse": (-np.inf, np.inf), "nrmse": (-np.inf, np.inf), "pearson_r": (-1.0, 1.0)}


def regression(
    y: Num[np.ndarray, " n"],
    predicted: Float[np.ndarray, " n"],
    subjects: Shaped[np.ndarray, " n"],
    *,
    of_subjects: bool = False,
    seed: int = 0,
) -> Scores:
    """Score predictions on held-out windows.

    Parameters
    ----------
    y : array [n]
        Labels.
    predicted : array [n]
        What a method says of each window, in the labels' unit.
    subjects : array [n]
        The unit of the intervals.
    of_subjects : bool
        The label is a subject's, not a window's: predictions are averaged over his windows first, and every
        subject counts once.
    seed : int
        Of the resampling of subjects.

    Raises
    ------
    ValueError
        For labels or predictions that are not finite, and for a subject with two labels of his own.
    """
    scores = Scores()
    if len(y) == 0:
        scores.undefined(METRICS, "no labelled test windows")
        return scores
    y, predicted = np.asarray(y, dtype=float), np.asarray(predicted, dtype=float)
    for name, values in (("labels", y), ("predictions", predicted)):
        if not np.isfinite(values).all():
            raise ValueError(f"{(~np.isfinite(values)).sum()} of {len(values)} {name} are not finite")
    names, position = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    if of_subjects:
        y, predicted = _of_subjects(y, predicted, names, position)
        position = np.arange(len(names))
    point = resampled(y, predicted, position, np.ones((1, len(names))))
    scores.metrics = {name: float(v[0]) if np.isfinite(v[0]) else None for name, v in point.items()}
    scores.chance = {"rmse": float(y.std()), "nrmse": 1.0, "pearson_r": 0.0}
    if scores.metrics["nrmse"] is None:
        scores.undefined(("nrmse", "pearson_r"), "all test labels are the same")
        scores.chance["nrmse"] = scores.chance["pearson_r"] = None
    elif scores.metrics["pearson_r"] is None:
        scores.undefined(("pearson_r",), "all predictions are the same")
    found = over_subjects(
        lambda weights: resampled(y, predicted, position, weights),
        len(names),
        cost=6,
        seed=seed,
        bounds=_BOUNDS,
    )
    scores.ci95 = {name: ci for name, ci in found.ci95.items() if scores.metrics[name] is not None}
    for name in ("rmse", "nrmse"):  # a t-interval of few subjects knows no lower end
        ends = scores.ci95.get(name)
        if ends is not None:
            ends[0] = max(0.0, ends[0])
    scores.reasons |= found.reasons
    return scores


def regression_targets(
    names: Sequence[str],
    y: Num[np.ndarray, "n K"],
    predicted: Float[np.ndarray, "n K"],
    subjects: Shaped[np.ndarray, " n"],
    *,
    of_subjects: bool = False,
    seed: int = 0,
) -> Scores:
    """Score predictions of several numbers: each by itself, and the mean over them.

    Parameters
    ----------
    names : sequence of str
        Of the K numbers; of one alone the metrics carry no name.
    y, predicted : array [n, K]
        Labels, NaN where one is not known, and predictions.
    subjects, of_subjects, seed
        As in `regression`.

    Returns
    -------
    Scores
        `<metric>_<name>`, and `<metric>`, the mean over those that are defined, with its interval.
    """
    subjects = np.asarray(subjects, dtype=str)
    known = [np.isfinite(column) for column in np.asarray(y, dtype=float).T]

    def one(k: int) -> Scores:
        rows = known[k]
        arguments = (y[rows, k], predicted[rows, k], subjects[rows])
        return regression(*arguments, of_subjects=of_subjects, seed=seed)

    if len(names) == 1:
        return one(0)
    scores = Scores()
    for k, name in enumerate(names):
        found = one(k)
        scores.metrics |= {f"{metric}_{name}": value for metric, value in found.metrics.items()}
        scores.chance |= {f"{metric}_{name}": value for metric, value in found.chance.items()}
        scores.ci95 |= {f"{metric}_{name}": value for metric, value in found.ci95.items()}
        scores.reasons |= {f"{metric}_{name}": value for metric, value in found.reasons.items()}
    for metric in METRICS:
        for means, singles in ((scores.metrics, scores.metrics), (scores.chance, scores.chance)):
            defined = [v for v in (singles.get(f"{metric}_{name}") for name in names) if v is not None]
            means[metric] = float(np.mean(defined)) if defined else None
        if scores.metrics[metric] is None:
            scores.reasons[metric] = f"none of {', '.join(names)} defines it"
    people, position = np.unique(subjects, return_inverse=True)
    found_means = over_subjects(
        lambda weights: mean_over_targets(y, predicted, position, weights, of_subjects),
        len(people),
        cost=6 * len(names),
        seed=seed,
        bounds=_BOUNDS,
    )
    scores.ci95 |= {name: ci for name, ci in found_means.ci95.items() if scores.metrics[name] is not None}
    scores.reasons |= found_means.reasons
    return scores


def mean_over_targets(
    y: np.ndarray, predicted: np.ndarray, position: np.ndarray, weights: np.ndarray, of_subjects: bool
) -> dict[str, np.ndarray]:
    """Compute the means of `regression_targets` with weighted subjects, as `resampled` does of one number."""
    parts = []
    for truth, guess in zip(np.asarray(y, dtype=float).T, np.asarray(predicted, dtype=float).T, strict=True):
        rows = np.isfinite(truth)
        if rows.any():
            values = truth[rows], guess[rows], position[rows]
            y_known, guessed, whose = _first_of_each(*values) if of_subjects else values
            parts.append(resampled(y_known, guessed, whose, weights))
    found = {}
    for metric in METRICS:
        stack = np.array([part[metric] for part in parts]).reshape(len(parts), len(weights))
        count = np.isfinite(stack).sum(axis=0)
        total = np.nansum(stack, axis=0)
        found[metric] = np.divide(total, count, out=np.full(len(weights), np.nan), where=count > 0)
    return found


def _first_of_each(
    y: np.ndarray, predicted: np.ndarray, position: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each subject's label and mean prediction, and which subject it is."""
    there, first, of = np.unique(position, return_index=True, return_inverse=True)
    return y[first], np.bincount(of, weights=predicted) / np.bincount(of), there


def resampled(
    y: np.ndarray, predicted: np.ndarray, position: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute the metrics of `regression` with weighted subjects.

    Parameters
    ----------
    y, predicted : array [n] of float
        Labels and predictions.
    position : array [n] of int
        Each window's subject.
    weights : array [R, S]
        How often each subject counts in each resample.

    Returns
    -------
    dict of arrays [R]
        By metric; NaN where undefined: nRMSE where the labels are all the same, Pearson's correlation where
        labels or predictions are.
    """
    y, predicted = y - y.mean(), predicted - y.mean()  # so that squares lose no digits

    def total(values: np.ndarray) -> np.ndarray:
        return weights @ np.bincount(position, weights=values, minlength=weights.shape[1])

    n = total(np.ones(len(y)))
    mean_y, mean_p = total(y) / n, total(predicted) / n
    variance_y = _positive(total(y**2) / n, mean_y)
    variance_p = _positive(total(predicted**2) / n, mean_p)
    covariance = total(y * predicted) / n - mean_y * mean_p
    rmse = np.sqrt(total((y - predicted) ** 2) / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = covariance / np.sqrt(variance_y * variance_p)
        return {"rmse": rmse, "nrmse": rmse / np.sqrt(variance_y), "pearson_r": np.clip(r, -1.0, 1.0)}


def _positive(square: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the variance; NaN where it is rounding alone."""
    variance = square - mean**2
    return np.where(variance > 1e-12 * np.maximum(square, np.finfo(float).tiny), variance, np.nan)


def _of_subjects(
    y: np.ndarray, predicted: np.ndarray, names: np.ndarray, position: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each subject's label and mean prediction, [S]."""
    first = np.unique(position, return_index=True)[1]
    label = y[first]
    apart = np.flatnonzero(label[position] != y)
    if len(apart):
        raise ValueError(
            f"subject {names[position[apart[0]]]}: expected one label, found {label[position[apart[0]]]:g} "
            f"and {y[apart[0]]:g}"
        )
    return label, np.bincount(position, weights=predicted) / np.bincount(position)
