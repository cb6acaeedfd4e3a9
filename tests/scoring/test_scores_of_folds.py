"""Scores of divisions in folds, against each fold scored alone and against subjects drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from cldtrans.scoring.folds import Fold, difference, over_folds
from cldtrans.scoring.metrics import Scores, classification

CLASSES = ("no", "yes")


def folds(sizes: tuple[int, ...] = (3, 3, 2), per_subject: int = 12, seed: int = 0) -> list[Fold]:
    """Subjects with both classes, and scores that tell these apart, fold by fold better."""
    rng = np.random.default_rng(seed)
    found = []
    for number, size in enumerate(sizes):
        y = np.tile([0, 1], size * per_subject // 2)
        skill = (0.5 + 0.5 * number) * y + rng.standard_normal(len(y)) + 10 * number  # another calibration
        names = np.repeat([f"{number}-{k}" for k in range(size)], per_subject)
        found.append(Fold(y, np.column_stack([-skill, skill]), names, np.array([10.0 * number])))
    return found


def interval(found: Scores, name: str) -> list[float]:
    bounds = found.ci95[name]
    assert bounds is not None
    return bounds


def value(found: Scores, name: str) -> float:
    score = found.metrics[name]
    assert score is not None
    return score


def test_one_fold_is_scored_as_ever():
    one = folds((6,))[0]
    expected = classification("binary", CLASSES, one.y, one.proba, one.subjects, one.thresholds, 5)
    assert over_folds("binary", CLASSES, [one], 5) == expected


def test_metrics_are_means_over_folds_by_their_subjects_at_their_own_thresholds():
    given = folds()
    found = over_folds("binary", CLASSES, given, 0)
    auroc = [sk.roc_auc_score(one.y, one.proba[:, 1]) for one in given]
    f1 = [sk.f1_score(one.y, one.proba[:, 1] >= 10 * number) for number, one in enumerate(given)]
    assert found.metrics["auroc"] == pytest.approx(np.average(auroc, weights=[3, 3, 2]), abs=1e-9)
    assert found.metrics["f1"] == pytest.approx(np.average(f1, weights=[3, 3, 2]), abs=1e-9)
    assert found.chance["auroc"] == 0.5
    low, high = interval(found, "auroc")
    assert low < value(found, "auroc") < high


def test_of_one_subject_a_fold_the_interval_is_that_of_the_mean_over_subjects():
    """Leave-one-out: scipy's BCa over the subjects' own scores agrees, but for the draw."""
    from scipy import stats

    given = folds((1,) * 14, per_subject=20)
    found = over_folds("binary", CLASSES, given, 0)
    each = np.array([sk.roc_auc_score(one.y, one.proba[:, 1]) for one in given])
    assert found.metrics["auroc"] == pytest.approx(each.mean(), abs=1e-9)
    expected = stats.bootstrap((each,), np.mean, n_resamples=20_000, rng=np.random.default_rng(0))
    assert found.ci95["auroc"] == pytest.approx(list(expected.confidence_interval), abs=0.01)


def test_folds_without_both_classes_are_left_out_and_counted():
    given = folds()
    quiet = Fold(np.zeros(5, dtype=int), np.ones((5, 2)), np.repeat("9-0", 5), None)
    found, without = (over_folds("binary", CLASSES, part, 0) for part in ([*given, quiet], given))
    assert found.metrics["auroc"] == without.metrics["auroc"]
    assert found.reasons["auroc"] == "mean over the 3 of 4 folds that define it"
    nothing = over_folds("binary", CLASSES, [quiet, quiet], 0)
    assert nothing.metrics["auroc"] is None
    assert nothing.reasons["auroc"] == "in no fold: test windows hold only class 'no'"


def test_a_difference_is_paired_within_folds():
    given = folds()
    rng = np.random.default_rng(1)
    nearly = [one.proba + 0.1 * rng.standard_normal(one.proba.shape) for one in given]
    guess = [rng.standard_normal(one.proba.shape) for one in given]
    same = difference("binary", CLASSES, given, [one.proba for one in given], "auroc", 0)
    assert same.metrics["auroc@difference"] == 0
    (low, high), (low_of_nearly, high_of_nearly) = (
        interval(difference("binary", CLASSES, given, others, "auroc", 0), "auroc@difference")
        for others in (guess, nearly)
    )
    assert 0 < low < high
    assert high_of_nearly - low_of_nearly < 0.2 * (high - low)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_other_kinds_of_task(kind):
    rng = np.random.default_rng(0)
    given = []
    for number in range(4):
        y = rng.integers(0, 3, 60) if kind == "multiclass" else rng.integers(0, 2, (60, 3))
        one_hot = np.eye(3)[y] if kind == "multiclass" else y
        proba = 0.4 * one_hot + rng.random((60, 3))
        proba = proba / proba.sum(1, keepdims=True) if kind == "multiclass" else proba / 1.4
        thresholds = None if kind == "multiclass" else np.full(3, 0.5)
        given.append(Fold(y, proba, np.repeat([f"{number}-{k}" for k in range(6)], 10), thresholds))
    found = over_folds(kind, ("a", "b", "c"), given, 0)
    alone = [
        classification(kind, ("a", "b", "c"), one.y, one.proba, one.subjects, one.thresholds) for one in given
    ]
    for name in ("macro_auroc", "macro_f1"):
        assert found.metrics[name] == pytest.approx(np.mean([one.metrics[name] for one in alone]), abs=1e-9)
        low, high = interval(found, name)
        assert low < value(found, name) < high
