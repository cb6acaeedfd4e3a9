"""Scores of a division in folds: each fold is judged by itself, at its own thresholds, and then averaged.

Classifiers of different folds are differently calibrated, so that scores ranked across folds would judge the
calibration (Forman & Scholz 2010, SIGKDD Explor. 12:49). A fold counts as much as it has subjects; the
intervals resample subjects over all folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cldtrans.scoring.intervals import over_subjects
from cldtrans.scoring.metrics import BOUNDS, Scores, classification, resampled
from cldtrans.scoring.regression import mean_over_targets, regression_targets


@dataclass(frozen=True)
class Fold:
    """Predictions of the test windows of one fold.

    Attributes
    ----------
    y, proba, subjects, thresholds
        As in `classification`.
    """

    y: np.ndarray
    proba: np.ndarray
    subjects: np.ndarray
    thresholds: np.ndarray | None


def over_folds(
    kind: str, classes: Sequence[str], folds: Sequence[Fold], seed: int, horizons_s: Sequence[float] = ()
) -> Scores:
    """Score several folds, each subject in one of them; a single one is scored by `classification` itself.

    Parameters
    ----------
    kind : one of "binary", "multiclass", "multilabel", "time_to_event"
        Of the task.
    classes : sequence of str
        Names of the K classes.
    folds : sequence of Fold
        At least one.
    seed : int
        Of the resampling of subjects.
    horizons_s : sequence of float
        As in `classification`; of several folds none is reported by itself.
    """
    if len(folds) == 1:
        one = folds[0]
        return classification(kind, classes, one.y, one.proba, one.subjects, one.thresholds, seed, horizons_s)
    alone = [_alone(kind, classes, one) for one in folds]
    scores = averaged(alone, [len(np.unique(one.subjects)) for one in folds])
    statistic, n_subjects = of_weights(kind, classes, folds, alone)
    cost = max(2 * len(one.y) * 3 for one in folds)
    found = over_subjects(statistic, n_subjects, cost=cost, seed=seed, bounds=BOUNDS)
    scores.ci95 = {name: ci for name, ci in found.ci95.items() if scores.metrics.get(name) is not None}
    scores.reasons |= found.reasons
    return scores


def over_folds_of_numbers(
    names: Sequence[str], folds: Sequence[Fold], of_subjects: bool, seed: int
) -> Scores:
    """Score several folds of a regression, as `over_folds` does; of several, without an interval.

    Parameters
    ----------
    names : sequence of str
        Of the K numbers.
    folds : sequence of Fold
        `y` and `proba` are labels and predictions [n, K].
    of_subjects, seed
        As in `regression_targets`.
    """
    found = [
        regression_targets(names, one.y, one.proba, one.subjects, of_subjects=of_subjects, seed=seed)
        for one in folds
    ]
    if len(found) == 1:
        return found[0]
    scores = averaged(found, [len(np.unique(one.subjects)) for one in folds])
    scores.reasons["ci95"] = "folds of a regression: no interval over subjects"
    return scores


def difference_of_numbers(
    folds: Sequence[Fold], others: Sequence[np.ndarray], of_subjects: bool, name: str, seed: int
) -> Scores:
    """Do what `difference` does for a regression: of the mean over the predicted numbers.

    Parameters
    ----------
    folds, of_subjects
        As in `over_folds_of_numbers`.
    others : sequence of array [n, K]
        What is compared with, one a fold.
    name : str
        The metric.
    seed : int
        Of the resampling of subjects.
    """
    keys, sizes = (f"{name}@other", f"{name}@difference"), [len(np.unique(one.subjects)) for one in folds]
    edges = np.cumsum([0, *sizes])

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        total, counted = np.zeros((2, len(weights))), np.zeros(len(weights))
        for one, other, first, last in zip(folds, others, edges, edges[1:], strict=False):
            drawn = weights[:, first:last]
            position = np.unique(np.asarray(one.subjects, dtype=str), return_inverse=True)[1]
            with np.errstate(invalid="ignore", divide="ignore"):  # nobody of the fold was drawn
                both = [
                    mean_over_targets(one.y, p, position, drawn, of_subjects)[name]
                    for p in (one.proba, other)
                ]
            use = np.isfinite(both).all(axis=0)
            total += np.where(use, both, 0.0) * drawn.sum(axis=1)
            counted += use * drawn.sum(axis=1)
        with np.errstate(invalid="ignore"):
            mine, theirs = total / counted
        return {keys[0]: theirs, keys[1]: mine - theirs}

    once = statistic(np.ones((1, edges[-1])))
    bounds = dict.fromkeys(once, (-np.inf, np.inf))
    found = over_subjects(statistic, int(edges[-1]), cost=12, seed=seed, bounds=bounds)
    return Scores(
        metrics={key: float(value[0]) for key, value in once.items()},
        chance=dict(zip(keys, (1.0, 0.0), strict=True)),
        ci95=dict(found.ci95),
        reasons=dict(found.reasons),
    )


def averaged(found: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """Average metrics and chance over folds; those that leave a metric undefined are left out, and counted.

    Parameters
    ----------
    found : sequence of Scores
        One a fold.
    weights : sequence of float
        How much each counts.
    """
    scores = Scores()
    for name in dict.fromkeys(name for one in found for name in one.metrics):
        defined = [k for k, one in enumerate(found) if one.metrics.get(name) is not None]
        if not defined:
            reasons = [one.reasons[name] for one in found if name in one.reasons]
            scores.undefined([name], f"in no fold: {reasons[0]}" if reasons else "in no fold")
            continue
        weight = np.array([weights[k] for k in defined], dtype=float)
        for kept, of in ((scores.metrics, "metrics"), (scores.chance, "chance")):
            values = [getattr(found[k], of).get(name) for k in defined]
            kept[name] = None if None in values else float(np.average(values, weights=weight))
        if len(defined) < len(found):
            scores.reasons[name] = f"mean over the {len(defined)} of {len(found)} folds that define it"
    return scores


def difference(
    kind: str,
    classes: Sequence[str],
    folds: Sequence[Fold],
    others: Sequence[np.ndarray],
    name: str,
    seed: int,
) -> Scores:
    """Compare predictions with others of the same windows, paired: both see the same subjects resampled.

    Parameters
    ----------
    kind, classes, folds
        As in `over_folds`.
    others : sequence of array [n, K]
        What is compared with, one a fold.
    name : str
        The metric, one that needs no threshold or is decided at 0.5.
    seed : int
        Of the resampling of subjects.

    Returns
    -------
    Scores
        `<name>@other` and `<name>@difference`, the predictions' less the others'.
    """
    mine = [Fold(one.y, one.proba, one.subjects, None) for one in folds]
    theirs = [Fold(one.y, proba, one.subjects, None) for one, proba in zip(folds, others, strict=True)]
    alone = [[_alone(kind, classes, one) for one in side] for side in (mine, theirs)]
    sizes = [len(np.unique(one.subjects)) for one in folds]
    first, second = (averaged(found, sizes) for found in alone)
    value, other = first.metrics[name], second.metrics[name]
    scores, keys = Scores(), (f"{name}@other", f"{name}@difference")
    if value is None or other is None:
        scores.undefined(keys, first.reasons[name])
        return scores
    (of_mine, n_subjects), (of_theirs, _) = (
        of_weights(kind, classes, side, found) for side, found in zip((mine, theirs), alone, strict=True)
    )

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        left, right = of_mine(weights)[name], of_theirs(weights)[name]
        return {keys[0]: right, keys[1]: left - right}

    cost = max(4 * len(one.y) * 3 for one in folds)
    found = over_subjects(statistic, n_subjects, cost=cost, seed=seed, bounds={keys[1]: (-1.0, 1.0)})
    return Scores(
        metrics={keys[0]: other, keys[1]: value - other},
        chance={keys[0]: second.chance.get(name), keys[1]: 0.0},
        ci95=dict(found.ci95),
        reasons=dict(found.reasons),
    )


def _alone(kind: str, classes: Sequence[str], one: Fold) -> Scores:
    """Score a fold without an interval."""
    return classification(kind, classes, one.y, one.proba, np.zeros(len(one.y)), one.thresholds)


def of_weights(
    kind: str, classes: Sequence[str], folds: Sequence[Fold], alone: Sequence[Scores] | None = None
) -> tuple[Callable[[np.ndarray], Mapping[str, np.ndarray]], int]:
    """Return the metrics as a function of subject weights [R, S], as `over_subjects` wants it, and S.

    `alone`, the folds' own scores, say which metrics a fold defines.
    """
    alone = [_alone(kind, classes, one) for one in folds] if alone is None else alone
    prepared, first = [], 0
    for one, scored in zip(folds, alone, strict=True):
        names, position = np.unique(np.asarray(one.subjects, dtype=str), return_inverse=True)
        thresholds = one.thresholds
        if thresholds is None and kind != "multiclass":
            thresholds = np.full(1 if kind == "binary" else len(classes), 0.5)
        defined = {name for name, value in scored.metrics.items() if value is not None}
        prepared.append((one, thresholds, position, slice(first, first + len(names)), defined))
        first += len(names)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        total: dict[str, np.ndarray] = {}
        counted: dict[str, np.ndarray] = {}
        for one, thresholds, position, mine, defined in prepared:
            drawn = weights[:, mine]
            size = drawn.sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):  # nobody of the fold was drawn
                found = resampled(kind, classes, one.y, one.proba, thresholds, position, drawn)
            for name in found.keys() & defined:
                use = np.isfinite(found[name]) & (size > 0)
                total[name] = total.get(name, 0.0) + np.where(use, found[name], 0.0) * size
                counted[name] = counted.get(name, 0.0) + size * use
        with np.errstate(invalid="ignore"):
            return {name: total[name] / counted[name] for name in total}

    return statistic, first
