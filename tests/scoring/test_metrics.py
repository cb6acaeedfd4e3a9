"""Metrics, thresholds and chance levels against brute force and simulation."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from cldtrans.scoring.metrics import choose_thresholds, classification, metric_names, resampled, unscored

CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c", "d"), "multilabel": ("p", "q", "r")}


def example(kind, n=300, seed=0, subjects=12):
    rng = np.random.default_rng(seed)
    k = len(CLASSES[kind])
    if kind == "multilabel":
        y = (rng.random((n, k)) < (0.2, 0.5, 0.3)).astype(np.float32)
        y[rng.random((n, k)) < 0.1] = -1
        proba = np.clip(0.3 * (y == 1) + 0.7 * rng.random((n, k)), 0, 1).round(2)
    else:
        y = rng.choice(k, n, p=np.arange(1, k + 1) / (k * (k + 1) / 2))
        proba = rng.random((n, k)).round(1) + np.eye(k)[y] * 0.3 + 0.01  # rounded: many ties
        proba /= proba.sum(axis=1, keepdims=True)
    return y, proba, np.array([f"s{i:02d}" for i in rng.integers(0, subjects, n)])


def brute_auroc(truth, score):
    positive, negative = score[truth == 1], score[truth == 0]
    return np.mean([(p > m) + 0.5 * (p == m) for p in positive for m in negative])


@pytest.mark.parametrize("kind", CLASSES)
def test_resampled_metrics_are_the_point_metrics_of_the_repeated_windows(kind):
    """The vectorised metrics equal scikit-learn's on windows copied as often as they are drawn."""
    y, proba, subjects = example(kind)
    names, position = np.unique(subjects, return_inverse=True)
    thresholds = None if kind == "multiclass" else choose_thresholds(kind, y, proba)
    weights = np.random.default_rng(1).integers(0, 4, size=(5, len(names))).astype(float)
    values = resampled(kind, CLASSES[kind], y, proba, thresholds, position, weights)
    assert set(values) == set(metric_names(kind, CLASSES[kind]))
    for r, one in enumerate(weights):
        again = np.repeat(np.arange(len(y)), one[position].astype(int))
        expected = classification(
            kind, CLASSES[kind], y[again], proba[again], subjects[again], thresholds
        ).metrics
        for name, value in values.items():
            assert value[r] == pytest.approx(expected[name], abs=1e-12), name


def test_binary_metrics_by_brute_force():
    y, proba, subjects = example("binary")
    found = classification("binary", CLASSES["binary"], y, proba, subjects, np.array([0.6])).metrics
    decided = proba[:, 1] >= 0.6
    tp, fp = np.sum(decided & (y == 1)), np.sum(decided & (y == 0))
    fn, tn = np.sum(~decided & (y == 1)), np.sum(~decided & (y == 0))
    assert found["auroc"] == pytest.approx(brute_auroc(y, proba[:, 1]))
    assert found["sensitivity"] == pytest.approx(tp / (tp + fn))
    assert found["specificity"] == pytest.approx(tn / (tn + fp))
    assert found["balanced_accuracy"] == pytest.approx((tp / (tp + fn) + tn / (tn + fp)) / 2)
    assert found["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    expected = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / len(y) ** 2
    assert found["kappa"] == pytest.approx(((tp + tn) / len(y) - expected) / (1 - expected))


def test_multilabel_leaves_unlabelled_windows_out_per_class():
    y, proba, subjects = example("multilabel")
    found = classification("multilabel", CLASSES["multilabel"], y, proba, subjects).metrics
    each = [brute_auroc(y[y[:, k] >= 0, k], proba[y[:, k] >= 0, k]) for k in range(3)]
    assert found["macro_auroc"] == pytest.approx(np.mean(each))
    assert [found[f"auroc_{name}"] for name in "pqr"] == pytest.approx(each)


@pytest.mark.parametrize("kind", CLASSES)
def test_chance_is_what_guessing_scores(kind):
    """Simulated guesses that do not look at the signal reach the stated chance, and no more."""
    y, _, _ = example(kind, n=6000, seed=3)
    if kind == "multilabel":
        y = np.maximum(y, 0)
    rng = np.random.default_rng(0)
    k = len(CLASSES[kind])
    subjects = np.zeros(len(y), dtype=int)
    proba = rng.random((len(y), k))
    if kind == "multiclass":  # in proportion to the classes
        share = np.bincount(y) / len(y)
        proba = np.eye(k)[rng.choice(k, len(y), p=share)] + 1e-3 * rng.random((len(y), k))
    thresholds = None if kind == "multiclass" else np.zeros(1 if kind == "binary" else k)  # always yes
    scores = classification(kind, CLASSES[kind], y, proba, subjects, thresholds)
    for name, chance in scores.chance.items():
        if chance is not None and name not in ("accuracy", "hamming_loss") and not name.startswith("f1_"):
            assert scores.metrics[name] == pytest.approx(chance, abs=0.035), name
    if kind == "multiclass":
        assert scores.chance["accuracy"] == pytest.approx(max(np.bincount(y)) / len(y))


def test_one_class_only_is_null_with_a_reason():
    proba = np.random.default_rng(0).random((20, 2))
    scores = classification("binary", ("no", "yes"), np.zeros(20, dtype=int), proba, np.arange(20))
    assert set(scores.metrics.values()) == {None}
    assert "only class 'no'" in scores.reasons["auroc"]
    y = np.zeros((20, 3), dtype=np.float32)
    y[:5, 1] = 1
    scores = classification(
        "multilabel", CLASSES["multilabel"], y, np.random.default_rng(0).random((20, 3)), np.arange(20)
    )
    assert scores.metrics["auroc_p"] is None
    assert scores.metrics["macro_auroc"] == scores.metrics["auroc_q"]
    assert "1 of 3 classes" in scores.reasons["macro_auroc"]
    empty = unscored("multiclass", CLASSES["multiclass"], "no data")
    assert set(empty.metrics) == set(metric_names("multiclass", CLASSES["multiclass"]))
    assert set(empty.reasons.values()) == {"no data"}


def test_predictions_that_are_not_finite_are_an_error():
    with pytest.raises(ValueError, match="1 of 4"):
        classification(
            "binary",
            ("a", "b"),
            np.array([0, 1, 0, 1]),
            np.array([[0, 1], [1, 0], [0, np.nan], [1, 0]]),
            np.arange(4),
        )


def only_threshold(kind: str, y: np.ndarray, proba: np.ndarray) -> float:
    found = choose_thresholds(kind, y, proba)
    assert found is not None
    return float(found.item())


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_thresholds_are_the_best_of_all(seed):
    """No other threshold does better on validation: tried one by one."""
    rng = np.random.default_rng(seed)
    y, score = rng.integers(0, 2, 40), rng.random(40).round(1)
    if len(set(y)) < 2:
        return
    proba = np.stack([1 - score, score], axis=1)
    best = only_threshold("binary", y, proba)
    grid = np.append(np.unique(score), 2.0)
    reached = sk.balanced_accuracy_score(y, score >= best)
    assert reached == pytest.approx(max(sk.balanced_accuracy_score(y, score >= t) for t in grid))
    best = only_threshold("multilabel", y[:, None], score[:, None])
    assert sk.f1_score(y, score >= best) == pytest.approx(
        max(sk.f1_score(y, score >= t, zero_division=0) for t in grid)
    )


def test_subjects_are_the_unit():
    """Copies of a subject's windows narrow nothing; treating them as subjects would."""
    y, proba, subjects = example("binary", n=100)
    once = classification("binary", CLASSES["binary"], y, proba, subjects, np.array([0.5])).ci95["auroc"]
    many = classification(
        "binary",
        CLASSES["binary"],
        np.tile(y, 9),
        np.tile(proba, (9, 1)),
        np.tile(subjects, 9),
        np.array([0.5]),
    ).ci95["auroc"]
    assert many == pytest.approx(once, abs=1e-12)


def test_two_thousand_windows_take_less_than_two_seconds():
    y, proba, subjects = example("multilabel", n=2000, subjects=200)
    classification("multilabel", CLASSES["multilabel"], y[:50], proba[:50], subjects[:50])  # imports
    started = time.process_time()
    classification("multilabel", CLASSES["multilabel"], y, proba, subjects)
    assert time.process_time() - started < 2
