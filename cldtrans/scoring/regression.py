"""Metrics of predicted numbers, their chance levels, and intervals over subjects.

RMSE, in the label's unit; nRMSE, RMSE over the deviation of the scored labels (the EEG Foundation Challenge
2025 ranks by it: 1 for their mean, lower is better); Pearson's correlation. Point values come from numpy; the
same metrics as functions of subject weights are below, for the bootstrap, and tests hold both equal to
scikit-learn's and scipy's. In a resample the labels' deviation is that of the resample.

Chance is the score of the best guess that does not look at the signal, the mean of the scored labels; what a
model reaches that sees age or earlier trials is a floor, and a method of its own.
"""

from __future__ import annotations

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
