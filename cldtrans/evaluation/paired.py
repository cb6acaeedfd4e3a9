"""Differences of two methods on the same held-out subjects, with intervals by resampling these together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cldtrans.errors import DataError
from cldtrans.evaluation.predictions import PLACE, Predictions, held_out
from cldtrans.scoring.folds import of_weights
from cldtrans.scoring.intervals import Intervals, over_subjects

RESAMPLES = 1000
RANGES = {"kappa": (-2.0, 2.0)}
"""Of a difference: twice as wide as the metric's."""


def of_predictions(ours: Predictions, theirs: Predictions, metrics: Iterable[str]) -> Intervals:
    """Find the intervals of the differences, ours minus theirs, of two classifiers.

    Parameters
    ----------
    ours, theirs : Predictions
        Of the same windows.
    metrics : iterable of str
        Those compared; those that such predictions do not define get no interval.

    Raises
    ------
    DataError
        Where they are not of the same windows.
    """
    if ours.problem or theirs.problem:
        return Intervals(reasons={"ci95": ours.problem or theirs.problem})
    if ours.task.kind == "regression":
        return Intervals(reasons={"ci95": "numbers are compared with their floor alone"})
    first, second = held_out(ours), held_out(theirs)
    pairs = zip(first, second, strict=False)
    if len(first) != len(second) or not all(a.rows[PLACE].equals(b.rows[PLACE]) for a, b in pairs):
        raise DataError("predictions that are compared must be of the same windows in the same order")
    kind, classes = ours.task.kind, ours.task.classes
    (of_mine, n_subjects), (of_rival, _) = (
        of_weights(kind, classes, [one.fold for one in side]) for side in (first, second)
    )

    def statistic(weights: np.ndarray) -> Mapping[str, np.ndarray]:
        mine, rival = of_mine(weights), of_rival(weights)
        return {name: mine[name] - rival[name] for name in metrics if name in mine}

    return _intervals(statistic, n_subjects, max(len(one.rows) for one in first), ours.seed)


def of_subjects(ours: Mapping[str, Any], theirs: Mapping[str, Any], metrics: Iterable[str]) -> Intervals:
    """Find the intervals of the differences of two scores that are means over subjects.

    Parameters
    ----------
    ours, theirs : mapping
        Score by metric and subject; a metric without the same subjects in both gets no interval.
    metrics : iterable of str
        Those compared.
    """
    found = Intervals()
    for name in metrics:
        mine, rival = ours.get(name, {}), theirs.get(name, {})
        if not mine or mine.keys() != rival.keys():
            continue
        values = np.array([mine[subject] - rival[subject] for subject in sorted(mine)])

        def statistic(
            weights: np.ndarray, name: str = name, values: np.ndarray = values
        ) -> Mapping[str, np.ndarray]:
            return {name: weights @ values / weights.sum(axis=1)}

        one = _intervals(statistic, len(values), len(values), 0)
        found.ci95.update(one.ci95)
        found.reasons.update(one.reasons)
    return found


def _intervals(statistic: Any, n_subjects: int, n_items: int, seed: int) -> Intervals:
    estimate = statistic(np.ones((1, n_subjects)))
    bounds = {name: RANGES.get(name, (-1.0, 1.0)) for name in estimate}
    return over_subjects(
        statistic, n_subjects, cost=6 * n_items, seed=seed, resamples=RESAMPLES, bounds=bounds
    )
