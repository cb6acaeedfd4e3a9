"""What stands beside a classifier's score: its random twin, and what can be told without the signal.

Both are fitted with the same labels and scored on the same windows; the difference is paired, and its
interval resamples the same subjects for both. Metric keys are `<primary metric>@random_twin` and
`@over_random_twin` (the method's less the twin's), `@metadata_floor` and `@over_metadata_floor`.
"""

from __future__ import annotations

import numpy as np

from cldtrans.baselines.metadata_floor import MetadataFloor
from cldtrans.data.base import Task
from cldtrans.methods.windows import Classifier, LabelledWindows, NoTwin
from cldtrans.scoring import regression
from cldtrans.scoring.intervals import over_subjects
from cldtrans.scoring.metrics import PRIMARY, Scores, classification, resampled

Parts = tuple[LabelledWindows, LabelledWindows, LabelledWindows]


def set_beside(
    scores: Scores,
    task: Task,
    classifier: Classifier,
    method: str,
    proba: np.ndarray,
    parts: Parts,
    seed: int,
    threads: int,
) -> None:
    """Add the metrics of the twin (of methods with a `twin`) and of the floor to a classifier's.

    Parameters
    ----------
    scores : Scores
        Of the classifier; gets the metrics.
    task : Task
        What is predicted.
    classifier : Classifier
        Fitted.
    method : str
        Its name.
    proba : array [n, K]
        What it predicts of the test windows.
    parts : three LabelledWindows
        Training windows of the budget, validation, test.
    seed : int
        Of the resampling of subjects.
    threads : int
        Of the fits.
    """
    train, val, test = parts
    primary = PRIMARY[task.kind]
    if scores.metrics[primary] is None:
        return
    others: dict[str, Classifier] = {}
    if hasattr(classifier, "twin"):
        others["random_twin"] = classifier.twin()
    if not isinstance(classifier, MetadataFloor):
        modality = test.shards.modality
        others["metadata_floor"] = MetadataFloor(task, test.channels, test.rate_hz, modality, seed, threads)
    for name, other in others.items():
        keys = (f"{primary}@{name}", f"{primary}@over_{name}")
        try:
            other.fit(train, val)
        except NoTwin as reason:
            scores.undefined(keys, str(reason))
            continue
        compared = compare(task, proba, other.predict_proba(test), test, seed)
        for key, source in zip(keys, (f"{primary}@other", f"{primary}@difference"), strict=True):
            scores.metrics[key] = compared.metrics[source]
            scores.chance[key] = compared.chance[source]
            scores.ci95[key] = compared.ci95.get(source)
            if source in compared.reasons:
                scores.reasons[key] = compared.reasons[source]


def compare(task: Task, proba: np.ndarray, other: np.ndarray, test: LabelledWindows, seed: int) -> Scores:
    """Score another classifier's predictions, and the difference to it, by the primary metric.

    Parameters
    ----------
    task : Task
        What is predicted.
    proba, other : array [n, K]
        Predictions of the method and of the other.
    test : LabelledWindows
        Of which.
    seed : int
        Of the resampling of subjects.

    Returns
    -------
    Scores
        `<primary>@other` and `<primary>@difference`.
    """
    if task.kind == "regression":
        return _compare_numbers(task, proba, other, test, seed)
    kind, classes, primary = task.kind, task.classes, PRIMARY[task.kind]
    names, position = np.unique(np.asarray(test.subjects, dtype=str), return_inverse=True)
    together = np.zeros(len(test), dtype=int)
    mine, theirs = (
        classification(kind, classes, test.y, p, together, None, seed).metrics[primary]
        for p in (proba, other)
    )
    assert mine is not None and theirs is not None  # the labels define both or neither
    thresholds = None if kind == "multiclass" else np.full(1 if kind == "binary" else len(classes), 0.5)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        first, second = (
            resampled(kind, classes, test.y, p, thresholds, position, weights)[primary]
            for p in (proba, other)
        )
        return {f"{primary}@other": second, f"{primary}@difference": first - second}

    found = over_subjects(
        statistic,
        len(names),
        cost=4 * len(test) * 3,
        seed=seed,
        bounds={f"{primary}@difference": (-1.0, 1.0)},
    )
    chance = classification(kind, classes, test.y, other, together, None, seed).chance.get(primary)
    return Scores(
        metrics={f"{primary}@other": theirs, f"{primary}@difference": mine - theirs},
        chance={f"{primary}@other": chance, f"{primary}@difference": 0.0},
        ci95=dict(found.ci95),
        reasons=dict(found.reasons),
    )


def _compare_numbers(
    task: Task, predicted: np.ndarray, other: np.ndarray, test: LabelledWindows, seed: int
) -> Scores:
    """Do the same for a regression: the difference of two means over the predicted numbers."""
    primary = PRIMARY[task.kind]
    names, position = np.unique(np.asarray(test.subjects, dtype=str), return_inverse=True)

    def statistic(weights: np.ndarray) -> dict[str, np.ndarray]:
        first, second = (
            regression.mean_over_targets(test.y, p, position, weights, task.of_subjects)[primary]
            for p in (predicted, other)
        )
        return {f"{primary}@other": second, f"{primary}@difference": first - second}

    once = statistic(np.ones((1, len(names))))
    bounds = dict.fromkeys(once, (-np.inf, np.inf))
    found = over_subjects(statistic, len(names), cost=12, seed=seed, bounds=bounds)
    return Scores(
        metrics={name: float(value[0]) for name, value in once.items()},
        chance={f"{primary}@other": 1.0, f"{primary}@difference": 0.0},
        ci95=dict(found.ci95),
        reasons=dict(found.reasons),
    )
