"""Classification metrics by kind of task, their chance levels, and intervals over subjects.

Point values come from scikit-learn. The same metrics as functions of subject weights (for the bootstrap)
are below, and tests hold the two equal. A metric that the data do not define is None with a reason, never
NaN or 0.

Chance is the score of the best guess that does not look at the signal, computed from the scored labels:
prevalence for AUPRC, 1/K for balanced accuracy, the majority's share for accuracy, 1/K for macro-F1 over K
exclusive classes (guessing in proportion to the classes), always-yes for the F1 of a label that may or may
not be given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Num, Shaped

from cldtrans.scoring import survival
from cldtrans.scoring.discrete_time import times_of
from cldtrans.scoring.intervals import over_subjects

PRIMARY = {
    "binary": "auroc",
    "multiclass": "macro_f1",
    "multilabel": "macro_auroc",
    "regression": "nrmse",  # lower is better
    "time_to_event": "ibs",  # lower is better
}
_REGRESSION = ("rmse", "nrmse", "pearson_r")  # `cldtrans.scoring.regression` computes them
_BINARY = ("auroc", "auprc", "balanced_accuracy", "f1", "sensitivity", "specificity", "kappa")
_MULTICLASS = ("macro_auroc", "macro_f1", "balanced_accuracy", "kappa", "accuracy")
_MULTILABEL = ("macro_auroc", "macro_auprc", "macro_f1", "macro_f2")
_OF_WINDOWS = ("ranking_loss", "coverage_error", "hamming_loss")  # of all labels of a window; lower is better
BOUNDS = {"kappa": (-1.0, 1.0), "coverage_error": (0.0, np.inf)}


@dataclass
class Scores:
    """Metrics of one cell with what is needed to judge them.

    Attributes
    ----------
    metrics : dict
        Value by metric; None where the data do not define it.
    chance : dict
        Score of the best guess that does not look at the signal.
    ci95 : dict
        Lower and upper end of the interval over subjects.
    reasons : dict of str
        Why a metric or an interval is None.
    by_subject : dict of dict
        Value by metric and held-out subject, where the metric is the mean of theirs.
    """

    metrics: dict[str, float | None] = field(default_factory=dict)
    chance: dict[str, float | None] = field(default_factory=dict)
    ci95: dict[str, list[float] | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    by_subject: dict[str, dict[str, float]] = field(default_factory=dict)

    def undefined(self, names: Sequence[str], reason: str) -> None:
        """Set metrics to None for one common reason."""
        for name in names:
            self.metrics[name] = None
            self.chance.setdefault(name, None)
            self.reasons[name] = reason


def main_names(kind: str) -> list[str]:
    """Return the metric keys of a kind of task, without those of single classes."""
    names = {
        "binary": _BINARY,
        "multiclass": _MULTICLASS,
        "multilabel": (*_MULTILABEL, *_OF_WINDOWS),
        "regression": _REGRESSION,
        "time_to_event": survival.MAIN,
    }
    return list(names[kind])


def metric_names(kind: str, classes: Sequence[str]) -> list[str]:
    """Return every metric key of a task."""
    if kind == "regression":
        single_numbers = classes if len(classes) > 1 else ()
        return [*_REGRESSION, *(f"{metric}_{name}" for name in single_numbers for metric in _REGRESSION)]
    single = classes if kind in ("multiclass", "multilabel") else ()
    return [*main_names(kind), *(f"{'f1' if kind == 'multiclass' else 'auroc'}_{name}" for name in single)]


def unscored(kind: str, classes: Sequence[str], reason: str) -> Scores:
    """Return a cell that cannot be scored: every metric None with the same reason."""
    scores = Scores()
    scores.undefined(metric_names(kind, classes), reason)
    return scores


def choose_thresholds(kind: str, y: np.ndarray, proba: np.ndarray) -> np.ndarray | None:
    """Choose decision thresholds from validation data alone.

    Between two observed scores the middle is taken, so that rounding cannot flip a window. 0.5 where
    validation lacks a class.

    Parameters
    ----------
    kind : one of "binary", "multiclass", "multilabel"
        Of the task.
    y : array [n] or [n, K]
        Labels as in `classification`.
    proba : array [n, K]
        Predictions as in `classification`.

    Returns
    -------
    array [1], array [K] or None
        Binary: the one with the best balanced accuracy. Multilabel: each class's with the best F1.
        Multiclass decides by the largest probability, and a time to an event is not decided: None.
    """
    if kind in ("multiclass", "time_to_event"):
        return None
    truth, scores = _columns(kind, y, proba)
    return np.array([_best_threshold(truth[:, k], scores[:, k], kind) for k in range(scores.shape[1])])


def classification(
    kind: str,
    classes: Sequence[str],
    y: Num[np.ndarray, "n ..."],
    proba: Float[np.ndarray, "n K"],
    subjects: Shaped[np.ndarray, " n"],
    thresholds: Float[np.ndarray, " decisions"] | None = None,
    seed: int = 0,
    horizons_s: Sequence[float] = (),
) -> Scores:
    """Score predictions on held-out windows.

    Parameters
    ----------
    kind : one of "binary", "multiclass", "multilabel", "time_to_event"
        Of the task.
    classes : sequence of str
        Names of the K classes; of a time to an event, times in seconds (see `survival`).
    y : array [n] of int, or [n, K]
        Class indices; of a multilabel task 0, 1 and -1 (not labelled: left out for that class); of a time to
        an event [n, 2], seconds, and 1 for the event or 0 for the end of follow-up.
    proba : array [n, K]
        The last column is the positive class of a binary task.
    subjects : array [n]
        The unit of the intervals.
    thresholds : array, optional
        From `choose_thresholds` on validation data.
    seed : int
        Of the resampling of subjects.
    horizons_s : sequence of float
        Of a time to an event: times that have metrics of their own.
    """
    if len(y) == 0:
        return unscored(kind, classes, "no labelled test windows")
    if not np.isfinite(proba).all():
        raise ValueError(
            f"{int((~np.isfinite(proba)).any(axis=1).sum())} of {len(proba)} predictions are not finite"
        )
    if kind == "time_to_event":
        return Scores(**survival.score(times_of(classes), y, proba, subjects, horizons_s, seed))
    if kind == "multiclass":
        scores = _multiclass(classes, y, proba)
    else:
        if thresholds is None:
            thresholds = np.full(1 if kind == "binary" else len(classes), 0.5)
        scores = (_binary if kind == "binary" else _multilabel)(classes, y, proba, thresholds)
    names, position = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    found = over_subjects(
        lambda weights: resampled(kind, classes, y, proba, thresholds, position, weights),
        len(names),
        cost=2 * len(y) * 3,
        seed=seed,
        bounds=BOUNDS,
    )
    scores.ci95 = {name: ci for name, ci in found.ci95.items() if scores.metrics.get(name) is not None}
    scores.reasons |= {key: text for key, text in found.reasons.items()}
    return scores


def _binary(classes: Sequence[str], y: np.ndarray, proba: np.ndarray, thresholds: np.ndarray) -> Scores:
    from sklearn import metrics as sk

    scores, positive = Scores(), float(np.mean(y == 1))
    if positive in (0.0, 1.0):
        scores.undefined(_BINARY, f"test windows hold only class {classes[int(positive)]!r}")
        return scores
    decided = (proba[:, -1] >= thresholds[0]).astype(int)
    scores.metrics = {
        "auroc": sk.roc_auc_score(y, proba[:, -1]),
        "auprc": sk.average_precision_score(y, proba[:, -1]),
        "balanced_accuracy": sk.balanced_accuracy_score(y, decided),
        "f1": sk.f1_score(y, decided, zero_division=0),
        "sensitivity": sk.recall_score(y, decided, zero_division=0),
        "specificity": sk.recall_score(y, decided, pos_label=0, zero_division=0),
        "kappa": sk.cohen_kappa_score(y, decided),
    }
    scores.chance = {
        "auroc": 0.5,
        "auprc": positive,
        "balanced_accuracy": 0.5,
        "f1": _always_yes_f1(positive),
        "sensitivity": None,  # any value can be had at the price of the other
        "specificity": None,
        "kappa": 0.0,
    }
    return scores


def _multiclass(classes: Sequence[str], y: np.ndarray, proba: np.ndarray) -> Scores:
    from sklearn import metrics as sk

    scores, decided = Scores(), proba.argmax(axis=1)
    share = np.bincount(y, minlength=len(classes)) / len(y)
    present = [k for k in range(len(classes)) if share[k] > 0]
    if len(present) < 2:
        scores.undefined(
            metric_names("multiclass", classes), f"test windows hold only class {classes[present[0]]!r}"
        )
        return scores
    f1 = sk.f1_score(y, decided, labels=present, average=None, zero_division=0)
    scores.metrics = {
        "macro_auroc": np.mean([sk.roc_auc_score(y == k, proba[:, k]) for k in present]),
        "macro_f1": np.mean(f1),
        "balanced_accuracy": np.mean([np.mean(decided[y == k] == k) for k in present]),
        "kappa": sk.cohen_kappa_score(y, decided) if len(set(decided) | set(y)) > 1 else 0.0,
        "accuracy": sk.accuracy_score(y, decided),
    }
    scores.chance = {
        "macro_auroc": 0.5,
        "macro_f1": 1 / len(present),
        "balanced_accuracy": 1 / len(present),
        "kappa": 0.0,
        "accuracy": share.max(),
    }
    for k, name in enumerate(classes):
        if share[k] > 0:
            scores.metrics[f"f1_{name}"] = f1[present.index(k)]
            scores.chance[f"f1_{name}"] = _always_yes_f1(share[k])
        else:
            scores.undefined([f"f1_{name}"], f"no test window of class {name!r}")
    _note_absent(
        scores, _MULTICLASS[:3], [classes[k] for k in range(len(classes)) if share[k] == 0], len(classes)
    )
    return scores


def _multilabel(classes: Sequence[str], y: np.ndarray, proba: np.ndarray, thresholds: np.ndarray) -> Scores:
    from sklearn import metrics as sk

    scores, defined, absent = Scores(), [], []
    auroc, auprc, f1, f2, prevalence = [], [], [], [], []
    for k, name in enumerate(classes):
        known = y[:, k] >= 0
        truth, score = (y[known, k] == 1).astype(int), proba[known, k]
        share = float(truth.mean()) if len(truth) else 0.0
        if share in (0.0, 1.0):
            absent.append(name)
            scores.undefined(
                [f"auroc_{name}"], f"test windows are all {'with' if share else 'without'} {name!r}"
            )
            continue
        defined.append(k)
        prevalence.append(share)
        auroc.append(sk.roc_auc_score(truth, score))
        auprc.append(sk.average_precision_score(truth, score))
        f1.append(sk.f1_score(truth, score >= thresholds[k], zero_division=0))
        f2.append(sk.fbeta_score(truth, score >= thresholds[k], beta=2, zero_division=0))
        scores.metrics[f"auroc_{name}"] = auroc[-1]
        scores.chance[f"auroc_{name}"] = 0.5
    if not defined:
        scores.undefined((*_MULTILABEL, *_OF_WINDOWS), "no class has test windows both with and without it")
        return scores
    means = zip(_MULTILABEL, (auroc, auprc, f1, f2), strict=True)
    scores.metrics |= {name: np.mean(values) for name, values in means}
    scores.chance |= {
        "macro_auroc": 0.5,
        "macro_auprc": float(np.mean(prevalence)),
        "macro_f1": float(np.mean([_always_yes_f1(p) for p in prevalence])),
        "macro_f2": float(np.mean([5 * p / (4 * p + 1) for p in prevalence])),
    }
    _of_windows(scores, y, proba, thresholds)
    _note_absent(scores, _MULTILABEL, absent, len(classes))
    return scores


def _of_windows(scores: Scores, y: np.ndarray, proba: np.ndarray, thresholds: np.ndarray) -> None:
    """Add the metrics of all labels of a window, over windows of which every label is known."""
    from sklearn import metrics as sk

    known = (y >= 0).all(axis=1)
    if not known.any() or y.shape[1] < 2:
        scores.undefined(_OF_WINDOWS, "no test window of which every label of several is known")
        return
    truth, score = (y[known] == 1).astype(int), proba[known]
    found = (
        sk.label_ranking_loss(truth, score),
        sk.coverage_error(truth, score),
        sk.hamming_loss(truth, score >= thresholds),
    )
    scores.metrics |= {name: float(value) for name, value in zip(_OF_WINDOWS, found, strict=True)}
    count, share = truth.sum(axis=1), truth.mean(axis=0)
    guesses = (  # any order of the labels is as likely; every label is given its commoner answer
        float(np.where((count > 0) & (count < truth.shape[1]), 0.5, 0.0).mean()),
        float((count * (truth.shape[1] + 1) / (count + 1)).mean()),
        float(np.minimum(share, 1 - share).mean()),
    )
    scores.chance |= dict(zip(_OF_WINDOWS, guesses, strict=True))


def _note_absent(scores: Scores, names: Sequence[str], absent: list[str], n_classes: int) -> None:
    for name in names if absent else ():
        scores.reasons[name] = (
            f"mean over {n_classes - len(absent)} of {n_classes} classes: "
            f"test windows do not define {', '.join(absent)}"
        )


def _always_yes_f1(prevalence: float) -> float:
    return 2 * prevalence / (1 + prevalence)


def _columns(kind: str, y: np.ndarray, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth (1, 0, -1) and scores of each yes/no question, [n, K']."""
    if kind == "binary":
        return np.asarray(y)[:, None], proba[:, -1:]
    return np.asarray(y), proba


def _best_threshold(truth: np.ndarray, score: np.ndarray, kind: str) -> float:
    truth, score = truth[truth >= 0], score[truth >= 0]
    if len(np.unique(truth)) < 2:
        return 0.5
    order = np.argsort(-score, kind="stable")
    values, hits = score[order], truth[order] == 1
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # last window of each distinct score
    tp, fp = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    goal = tp / hits.sum() - fp / (~hits).sum() if kind == "binary" else 2 * tp / (tp + fp + hits.sum())
    best = int(np.argmax(goal))
    value = float(values[last[best]])
    below = float(values[last[best] + 1]) if last[best] + 1 < len(values) else value
    return (value + below) / 2


def resampled(
    kind: str,
    classes: Sequence[str],
    y: np.ndarray,
    proba: np.ndarray,
    thresholds: np.ndarray | None,
    position: np.ndarray,
    weights: np.ndarray,
) -> Mapping[str, np.ndarray]:
    """Compute the metrics of `classification` with weighted subjects.

    Parameters
    ----------
    kind, classes, y, proba, thresholds
        As in `classification`.
    position : array [n] of int
        Each window's subject.
    weights : array [R, S]
        How often each subject counts in each resample.

    Returns
    -------
    mapping of arrays [R]
        By metric; NaN where undefined.
    """
    if kind == "time_to_event":
        return survival.SurvivalStatistics(times_of(classes), y, proba, position)(weights)
    if kind == "multiclass":
        present = [k for k in range(len(classes)) if (y == k).any()]
        curves = [_auroc(y == k, proba[:, k], position, weights) for k in present]
        table = _confusions(y, proba.argmax(axis=1), len(classes), position, weights)
        return {"macro_auroc": _nanmean(curves), **_from_confusions(table, present, classes)}
    assert thresholds is not None
    truth, scores = _columns(kind, y, proba)
    columns = []
    for k in range(scores.shape[1]):
        known = truth[:, k] >= 0
        yes, score, where = truth[known, k] == 1, scores[known, k], position[known]
        table = _confusions(yes.astype(int), (score >= thresholds[k]).astype(int), 2, where, weights)
        columns.append((_auroc(yes, score, where, weights), _auprc(yes, score, where, weights), table))
    if kind == "multilabel":
        auroc, auprc, f1, f2 = (
            _nanmean(part)
            for part in zip(*((a, p, _f1(t)[:, 1], _f2(t)[:, 1]) for a, p, t in columns), strict=True)
        )
        single = {f"auroc_{name}": column[0] for name, column in zip(classes, columns, strict=True)}
        means = {"macro_auroc": auroc, "macro_auprc": auprc, "macro_f1": f1, "macro_f2": f2}
        return {**means, **_windows_resampled(truth, scores, thresholds, position, weights), **single}
    auroc, auprc, table = columns[0]
    recall = _recall(table)
    return {
        "auroc": auroc,
        "auprc": auprc,
        "balanced_accuracy": recall.mean(axis=1),
        "f1": _f1(table)[:, 1],
        "sensitivity": recall[:, 1],
        "specificity": recall[:, 0],
        "kappa": _kappa(table),
    }


def _windows_resampled(
    y: np.ndarray, proba: np.ndarray, thresholds: np.ndarray, position: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Means over windows of which every label is known; labels of one score are below each other."""
    known = (y >= 0).all(axis=1)
    truth, score, where = y[known] == 1, proba[known], position[known]
    count = truth.sum(axis=1)
    pairs = count * (truth.shape[1] - count)
    wrong = np.zeros(len(truth))
    deepest = np.zeros(len(truth))
    for k in range(truth.shape[1]):  # one label against all: no array of pairs
        at_least = score >= score[:, k : k + 1]
        wrong += np.where(truth[:, k], (at_least & ~truth).sum(axis=1), 0)
        deepest = np.maximum(deepest, np.where(truth[:, k], at_least.sum(axis=1), 0))
    each = (
        np.divide(wrong, pairs, out=np.zeros(len(truth)), where=pairs > 0),
        deepest,
        (truth != (score >= thresholds)).mean(axis=1),
    )

    def total(values: np.ndarray) -> np.ndarray:
        return weights @ np.bincount(where, weights=values, minlength=weights.shape[1])

    n = total(np.ones(len(truth)))
    return {name: _ratio(total(values), n) for name, values in zip(_OF_WINDOWS, each, strict=True)}


def _from_confusions(table: np.ndarray, present: list[int], classes: Sequence[str]) -> dict[str, np.ndarray]:
    f1 = _f1(table)
    total = table.sum(axis=(1, 2))
    return {
        "macro_f1": _nanmean(f1[:, present].T),
        "balanced_accuracy": _nanmean(_recall(table)[:, present].T),
        "kappa": _kappa(table),
        "accuracy": np.trace(table, axis1=1, axis2=2) / total,
        **{f"f1_{classes[k]}": f1[:, k] for k in present},
    }


def _confusions(
    truth: np.ndarray, decided: np.ndarray, n_classes: int, position: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Weighted confusion tables [R, K, K], row = truth."""
    cells = n_classes * n_classes
    flat = position * cells + truth * n_classes + decided
    tables = np.bincount(flat, minlength=weights.shape[1] * cells).reshape(-1, cells)
    return (weights @ tables).reshape(-1, n_classes, n_classes)


def _recall(table: np.ndarray) -> np.ndarray:
    return _ratio(np.diagonal(table, axis1=1, axis2=2), table.sum(axis=2))


def _f1(table: np.ndarray) -> np.ndarray:
    return _ratio(2 * np.diagonal(table, axis1=1, axis2=2), table.sum(axis=1) + table.sum(axis=2))


def _f2(table: np.ndarray) -> np.ndarray:
    hits = np.diagonal(table, axis1=1, axis2=2)
    return _ratio(5 * hits, table.sum(axis=1) + 4 * table.sum(axis=2))


def _kappa(table: np.ndarray) -> np.ndarray:
    total = table.sum(axis=(1, 2))
    agreed = np.trace(table, axis1=1, axis2=2) / total
    expected = (table.sum(axis=1) * table.sum(axis=2)).sum(axis=1) / total**2
    return np.where(expected < 1, _ratio(agreed - expected, 1 - expected), 0.0)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _nanmean(columns: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Mean over the defined columns; NaN where none is."""
    stack = np.asarray(columns)
    count = np.isfinite(stack).sum(axis=0)
    return _ratio(np.nansum(stack, axis=0), count)


def _ranked(
    yes: np.ndarray, score: np.ndarray, position: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted positives and negatives per distinct score, highest score first, [R, G] each."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
    drawn = weights[:, position[order]]
    hits = yes[order]
    return np.add.reduceat(drawn * hits, starts, axis=1), np.add.reduceat(drawn * ~hits, starts, axis=1)


def _auroc(yes: np.ndarray, score: np.ndarray, position: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if not yes.any() or yes.all():
        return np.full(len(weights), np.nan)
    positive, negative = _ranked(yes, score, position, weights)
    above = np.cumsum(positive, axis=1) - positive / 2  # ties count one half
    return _ratio((above * negative).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def _auprc(yes: np.ndarray, score: np.ndarray, position: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if not yes.any() or yes.all():
        return np.full(len(weights), np.nan)
    positive, negative = _ranked(yes, score, position, weights)
    taken = np.cumsum(positive, axis=1)
    precision = np.nan_to_num(_ratio(taken, taken + np.cumsum(negative, axis=1)))
    return _ratio((positive * precision).sum(axis=1), positive.sum(axis=1))
