"""The same small search for every method that learns at a rate, ours included; validation alone chooses.

A method learns once at its own rate (a published one, in the config) and at that times each factor, stops
early alike, and the one with the best primary metric on validation windows is kept. Methods in closed form
choose their penalty on the same windows instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar, runtime_checkable

import numpy as np

from cldtrans.data.base import Task
from cldtrans.methods.windows import Classifier, LabelledWindows
from cldtrans.scoring.discrete_time import log_likelihood, times_of
from cldtrans.scoring.metrics import PRIMARY, classification
from cldtrans.scoring.regression import mean_over_targets

C = TypeVar("C", bound=Classifier)
LOOKS = 20  # at validation windows in a training
PATIENCE = 10  # of these without a better one, and it stops


@runtime_checkable
class Rated(Classifier, Protocol):
    """A classifier with a rate."""

    notes: list[str]

    @property
    def has_rate(self) -> bool:
        """Tell whether a rate matters to it as it is set."""
        ...

    def at_rate(self, factor: float) -> Self:
        """Return another, not fitted, at its rate times a factor."""
        ...


def fitted(
    classifier: C,
    task: Task,
    factors: Sequence[float],
    train: LabelledWindows,
    val: LabelledWindows,
) -> C:
    """Fit a classifier, of a method with a rate one for each factor; return the best on validation.

    Parameters
    ----------
    classifier : Classifier
        Not fitted.
    task : Task
        Whose primary metric chooses.
    factors : sequence of float
        Of the rate, tried beside the configured one, which is taken where validation cannot tell.
    train, val : LabelledWindows
        Training and validation windows.
    """
    if not factors or not (isinstance(classifier, Rated) and classifier.has_rate):
        classifier.fit(train, val)
        return classifier
    best, most = _judged(classifier.at_rate(1.0), task, train, val)
    chosen = 1.0
    if most is None:
        best.notes.append(f"validation does not define {PRIMARY[task.kind]}: the rate as configured")
        return best
    for factor in factors:
        other, found = _judged(classifier.at_rate(factor), task, train, val)
        if found is not None and found > most:
            best, most, chosen = other, found, factor
    best.notes.append(f"rate: {chosen:g} times the configured one, of {len(factors) + 1} tried on validation")
    return best


def quality(kind: str, classes: Sequence[str], y: np.ndarray, proba: np.ndarray) -> float | None:
    """Return how good predictions are, higher for better; None where the labels do not define it.

    Parameters
    ----------
    kind, classes
        Of the task, whose primary metric it is; of several numbers less the mean of their errors; of a time
        to an event the log likelihood.
    y : array [n] or [n, K]
        Labels.
    proba : array [n, K]
        Predictions.
    """
    if kind == "time_to_event":
        return log_likelihood(y, proba, times_of(classes))
    if kind == "regression":
        alone = np.arange(len(y))  # windows, not subjects
        error = mean_over_targets(y, proba, alone, np.ones((1, len(y))), False)["nrmse"][0]
        return None if np.isnan(error) else -float(error)
    together = np.zeros(len(y), dtype=int)
    return classification(kind, classes, y, proba, together).metrics[PRIMARY[kind]]


def _judged(
    classifier: C, task: Task, train: LabelledWindows, val: LabelledWindows
) -> tuple[C, float | None]:
    classifier.fit(train, val)
    if not len(val):
        return classifier, None
    return classifier, quality(task.kind, task.classes, val.y, classifier.predict_proba(val))
