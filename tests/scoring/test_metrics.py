"""Metrics, thresholds, chance levels and intervals against brute force, simulation and scipy."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from cldtrans.scoring import alarms
from cldtrans.scoring.intervals import bca, mean_over_subjects, of_subject_means, over_subjects, t_interval
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
        if chance is not None and name != "accuracy" and not name.startswith("f1_"):
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
@settings(max_examples=25, deadline=None)
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


def test_bca_agrees_with_scipy():
    rng = np.random.default_rng(0)
    values = rng.gamma(1.5, size=40)
    whole = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1)
    theirs = whole.confidence_interval
    jackknife = (values.sum() - values) / 39
    same = bca(values.mean(), whole.bootstrap_distribution, jackknife)
    assert same == pytest.approx([theirs.low, theirs.high], abs=1e-12)
    ours = over_subjects(
        lambda w: {"mean": w @ values / w.sum(axis=1)}, 40, resamples=20_000, bounds={"mean": (0, np.inf)}
    ).ci95["mean"]
    assert ours == pytest.approx([theirs.low, theirs.high], rel=0.02)


def test_intervals_cover():
    """Of 200 simulated studies with 20 subjects each, about 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(0)
    inside = 0
    for study in range(200):
        means = rng.beta(4, 2, size=20)
        interval = of_subject_means({"top1": means}, seed=study).ci95["top1"]
        inside += interval is not None and interval[0] <= 4 / 6 <= interval[1]
    assert 0.89 <= inside / 200 <= 0.985


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


def test_few_subjects_and_perfect_scores():
    few = of_subject_means({"top1": np.array([0.2, 0.5, 0.6])})
    mean, error = np.mean([0.2, 0.5, 0.6]), np.std([0.2, 0.5, 0.6], ddof=1) / np.sqrt(3)
    half = stats.t.ppf(0.975, 2) * error
    assert few.ci95["top1"] == pytest.approx([max(0, mean - half), min(1, mean + half)])
    assert "3 held-out subjects" in few.reasons["ci95"]
    perfect = of_subject_means({"top1": np.ones(8)}).ci95["top1"]
    assert perfect == pytest.approx([stats.binomtest(8, 8).proportion_ci(0.95, "exact").low, 1.0])
    none = of_subject_means({"top1": np.zeros(8)}).ci95["top1"]
    assert none == pytest.approx([0.0, stats.binomtest(0, 8).proportion_ci(0.95, "exact").high])
    alike = of_subject_means({"top1": np.full(8, 0.4)})
    assert alike.ci95 == {"top1": None}
    assert "score the same" in alike.reasons["ci95.top1"]
    alone = of_subject_means({"top1": np.ones(1)})
    assert alone.ci95 == {}
    assert "no interval" in alone.reasons["ci95"]


def test_resamples_without_a_class_are_left_out_and_too_many_give_no_interval():
    rng = np.random.default_rng(0)
    drawn = np.append(rng.normal(size=100), [np.nan] * 50)
    assert bca(0.0, drawn, rng.normal(size=9)) is not None
    assert bca(0.0, np.append(drawn, [np.nan] * 60), rng.normal(size=9)) is None


def test_means_and_t_interval():
    means, names = mean_over_subjects(np.array([1, 0, 1, np.nan]), np.array(["b", "b", "a", "c"]))
    assert names.tolist() == ["a", "b"]
    assert means.tolist() == [1.0, 0.5]
    values = np.array([0.3, 0.5, 0.4, 0.45, 0.38])
    theirs = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx(theirs)
    assert t_interval(values[:1]) is None


def test_two_thousand_windows_take_less_than_two_seconds():
    y, proba, subjects = example("multilabel", n=2000, subjects=200)
    classification("multilabel", CLASSES["multilabel"], y[:50], proba[:50], subjects[:50])  # imports
    started = time.process_time()
    classification("multilabel", CLASSES["multilabel"], y, proba, subjects)
    assert time.process_time() - started < 2


def alarm_part(labels, scores, recording="r1"):
    n = len(labels)
    index = pd.DataFrame({"subject": "s", "recording": recording, "start_s": 10.0 * np.arange(n)})
    return index, np.array(labels), np.array(scores, dtype=float)


def test_alarms_by_hand():
    labels = [0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0]
    score = [0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1]
    index, y, s = alarm_part(labels, score)
    found = alarms.count(index, y, s, 0.5, 10.0)
    assert found.false_alarms == 2  # windows 6-7 and window 10; the one at 1-2 runs into the seizure
    assert found.detected.tolist() == [True, False]
    assert found.latency_s.tolist() == [0.0]
    shuffled = np.random.default_rng(0).permutation(len(y))
    again = alarms.count(index.iloc[shuffled], y[shuffled], s[shuffled], 0.5, 10.0)
    assert again.false_alarms == 2


def test_fixed_false_alarm_rate_needs_hours_and_uses_validation_only():
    rng = np.random.default_rng(0)
    labels = np.zeros(1000, dtype=int)
    labels[200:206] = labels[700:704] = 1
    score = rng.random(1000) * 0.5
    score[202:206] = score[700:704] = 0.9
    part = alarm_part(labels, score)
    found = alarms.at_fixed_rate(part, part, 10.0, 10.0)
    assert found.metrics["sensitivity_1fa_per_h"] == 1.0
    assert 0 <= (found.metrics["false_alarms_per_h"] or 0) <= 1.0
    assert found.metrics["latency_s"] == pytest.approx(10.0)  # 20 s and 0 s
    short = alarm_part(labels[:300], score[:300])
    assert "too few" in alarms.at_fixed_rate(part, short, 10.0, 10.0).reasons["sensitivity_1fa_per_h"]
