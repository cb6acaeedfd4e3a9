"""What stands beside a classifier's score: its random twin, and what can be told without the signal.

Both are fitted with the same labels and scored on the same windows; the difference is paired, and its
interval resamples the same subjects for both. Metric keys are `<primary metric>@random_twin` and
`@over_random_twin` (the method's less the twin's), `@metadata_floor` and `@over_metadata_floor`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cldtrans.baselines.metadata_floor import MetadataFloor
from cldtrans.baselines.survival.cox import CoxMetadata
from cldtrans.data.base import Task
from cldtrans.methods.search import fitted
from cldtrans.methods.windows import Classifier, LabelledWindows, NoTwin
from cldtrans.scoring.folds import Fold, difference, difference_of_numbers
from cldtrans.scoring.metrics import PRIMARY, Scores


@dataclass(frozen=True)
class Fit:
    """A classifier fitted on one division, or on one fold of it.

    Attributes
    ----------
    classifier : Classifier
        Fitted.
    parts : three LabelledWindows
        Training windows of the budget, validation, test.
    proba : array [n, K]
        What it predicts of the test windows.
    """

    classifier: Classifier
    parts: tuple[LabelledWindows, LabelledWindows, LabelledWindows]
    proba: np.ndarray

    @property
    def fold(self) -> Fold:
        """Test windows and predictions, to be scored without thresholds."""
        test = self.parts[2]
        return Fold(test.y, self.proba, test.subjects, None)


def set_beside(
    scores: Scores,
    task: Task,
    method: str,
    fits: Sequence[Fit],
    seed: int,
    threads: int,
    factors: Sequence[float] = (),
) -> None:
    """Add the metrics of the twin (of methods with a `twin`) and of the floor to a classifier's.

    Parameters
    ----------
    scores : Scores
        Of the classifier; gets the metrics.
    task : Task
        What is predicted.
    method : str
        Its name.
    fits : sequence of Fit
        One a fold.
    seed : int
        Of the resampling of subjects.
    threads : int
        Of the fits.
    factors : sequence of float
        Of the learning rate, tried for a twin that learns as for the method.
    """
    primary = PRIMARY[task.kind]
    if scores.metrics[primary] is None:
        return
    others: dict[str, Callable[[Fit], Classifier]] = {}
    if hasattr(fits[0].classifier, "twin"):
        others["random_twin"] = _twin
    if not isinstance(fits[0].classifier, MetadataFloor | CoxMetadata):
        others["metadata_floor"] = lambda fit: _floor(fit, task, seed, threads)
    for name, made in others.items():
        keys = (f"{primary}@{name}", f"{primary}@over_{name}")
        predicted: list[np.ndarray] = []
        try:
            for fit in fits:
                train, val, test = fit.parts
                other = fitted(made(fit), task, factors, train, val)
                predicted.append(other.predict_proba(test))
        except NoTwin as reason:
            scores.undefined(keys, str(reason))
            continue
        folds = [fit.fold for fit in fits]
        if task.kind == "regression":
            compared = difference_of_numbers(folds, predicted, task.of_subjects, primary, seed)
        else:
            compared = difference(task.kind, task.classes, folds, predicted, primary, seed)
        for key, source in zip(keys, (f"{primary}@other", f"{primary}@difference"), strict=True):
            scores.metrics[key] = compared.metrics[source]
            scores.chance[key] = compared.chance[source]
            scores.ci95[key] = compared.ci95.get(source)
            if source in compared.reasons:
                scores.reasons[key] = compared.reasons[source]


def _twin(fit: Fit) -> Classifier:
    return fit.classifier.twin()  # type: ignore[attr-defined]


def _floor(fit: Fit, task: Task, seed: int, threads: int) -> Classifier:
    test = fit.parts[2]
    kind = CoxMetadata if task.kind == "time_to_event" else MetadataFloor
    return kind(task, test.channels, test.rate_hz, test.shards.modality, seed, threads)
