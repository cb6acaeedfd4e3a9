"""Controls with a known answer: planted truth, its opposite, no opinion, shuffled labels, the person."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from cldtrans.scoring import alarms
from cldtrans.scoring.metrics import PRIMARY, classification

CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "multilabel": ("a", "b", "c")}
KINDS = tuple(CLASSES)
N_SUBJECTS, PER_SUBJECT = 24, 40


def labels(kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n = N_SUBJECTS * PER_SUBJECT
    if kind == "multilabel":
        return (rng.random((n, 3)) < [0.5, 0.3, 0.2]).astype(int)
    return np.arange(n) % len(CLASSES[kind])


def subjects() -> np.ndarray:
    return np.repeat([f"s{k:02d}" for k in range(N_SUBJECTS)], PER_SUBJECT)


def oracle(kind: str, y: np.ndarray) -> np.ndarray:
    return y.astype(float) if kind == "multilabel" else np.eye(len(CLASSES[kind]))[y]


def score(kind: str, y: np.ndarray, proba: np.ndarray):
    return classification(kind, CLASSES[kind], y, proba, subjects()[: len(y)])


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_scores_one_on_every_metric(kind):
    y = labels(kind)
    found = score(kind, y, oracle(kind, y)).metrics
    expected = dict.fromkeys(found, 1.0)
    if kind == "multilabel":  # how far down the list the last true label stands: as many as there are
        reach = y.sum(axis=1).mean()
        expected |= {"hamming_loss": 0.0, "ranking_loss": 0.0, "coverage_error": reach}
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_its_opposite_ranks_everything_wrong(kind):
    y = labels(kind)
    inverted = 1 - oracle(kind, y)
    found = score(kind, y, inverted).metrics
    for name in ("auroc", "macro_auroc", "balanced_accuracy", "macro_f1", "accuracy", "sensitivity"):
        if name in found:
            assert found[name] == pytest.approx(0.0, abs=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
def test_one_answer_for_all_ties_everywhere_and_scores_chance(kind):
    y = labels(kind)
    found = score(kind, y, np.full((len(y), len(CLASSES[kind])), 1 / len(CLASSES[kind])))
    for name in ("auroc", "macro_auroc", "auprc", "macro_auprc", "balanced_accuracy", "kappa"):
        if name in found.metrics:
            assert found.metrics[name] == pytest.approx(found.chance[name], abs=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_labels_score_chance_within_the_interval(kind):
    """Of 40 shuffles, about 95 % of the intervals hold chance: fewer than 34 would happen once in 500."""
    y, name = labels(kind), PRIMARY[kind]
    held = 0
    for seed in range(40):
        shuffled = np.random.default_rng(seed).permutation(y, axis=0)
        found = score(kind, shuffled, 0.9 * oracle(kind, y) + 0.05)
        low, high = found.ci95[name]
        held += low <= found.chance[name] <= high
    assert held >= 34


@pytest.mark.parametrize("kind", KINDS)
def test_who_it_is_tells_nothing_of_a_label_shared_out_alike(kind):
    """A score that is the person's alone: every person has every label equally often."""
    y = labels(kind) if kind != "multilabel" else np.stack([np.arange(960) % 2, np.arange(960) % 4 // 2], 1)
    classes = CLASSES[kind][: y.shape[1]] if kind == "multilabel" else CLASSES[kind]
    y = y[: N_SUBJECTS * 36] if kind == "multiclass" else y
    person = np.repeat(np.arange(N_SUBJECTS), len(y) // N_SUBJECTS)
    proba = np.random.default_rng(1).dirichlet(np.ones(len(classes)), N_SUBJECTS)[person]
    found = classification(kind, classes, y, proba, person.astype(str))
    name = "macro_auroc" if kind != "binary" else "auroc"
    assert found.metrics[name] == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_only_is_no_score(kind):
    y = np.zeros_like(labels(kind))
    found = score(kind, y, oracle(kind, labels(kind)))
    name = "auroc" if kind == "binary" else "macro_auroc"
    assert found.metrics[name] is None
    assert found.reasons[name]


@pytest.mark.parametrize("seed", range(3))
def test_metrics_with_ties_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    y = labels("binary")
    proba = np.round(rng.random(len(y)) * 0.6 + 0.3 * y, 1)
    found = score("binary", y, np.stack([1 - proba, proba], 1)).metrics
    decided = proba >= 0.5
    expected = {
        "auroc": sk.roc_auc_score(y, proba),
        "auprc": sk.average_precision_score(y, proba),
        "balanced_accuracy": sk.balanced_accuracy_score(y, decided),
        "kappa": sk.cohen_kappa_score(y, decided),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def hours(seizures: list[tuple[int, int]], n: int = 1080) -> tuple[pd.DataFrame, np.ndarray]:
    """Three hours of 10-s windows of one child, with seizures [first, last) in windows."""
    y = np.zeros(n, dtype=int)
    for first, last in seizures:
        y[first:last] = 1
    return pd.DataFrame({"subject": "a", "recording": "a_1", "start_s": np.arange(n) * 10.0}), y


def test_alarms_of_the_truth_of_nothing_and_of_always():
    index, y = hours([(100, 106), (500, 503)])
    perfect = alarms.at_fixed_rate((index, y, y.astype(float)), (index, y, y.astype(float)), 10, 10)
    assert perfect.metrics == {"sensitivity_1fa_per_h": 1.0, "false_alarms_per_h": 0.0, "latency_s": 0.0}
    inverted = alarms.at_fixed_rate((index, y, y.astype(float)), (index, y, 1.0 - y), 10, 10)
    assert inverted.metrics["sensitivity_1fa_per_h"] == 0.0
    constant = alarms.at_fixed_rate((index, y, np.ones(len(y))), (index, y, np.ones(len(y))), 10, 10)
    assert constant.metrics["sensitivity_1fa_per_h"] == 0.0
    never = alarms.count(index, y, np.zeros(len(y)), 0.5, 10)
    assert (never.false_alarms, never.detected.sum()) == (0, 0)
    always = alarms.count(index, y, np.ones(len(y)), 0.5, 10)
    assert always.detected.all()
    assert always.false_alarms == 36 - 2  # three hours in pieces of five minutes, of which two hold a seizure


def test_alarms_are_counted_as_timescoring_counts_them():
    """Events far from each other, without tolerance or merging: the same detections and false alarms."""
    tools = pytest.importorskip("timescoring.scoring", reason="timescoring is not installed")
    annotations = pytest.importorskip("timescoring.annotations")
    index, y = hours([(100, 106), (500, 503), (900, 910)])
    score = np.zeros(len(y))
    for first, last in ((102, 104), (300, 302), (600, 700), (905, 906)):
        score[first:last] = 1
    found = alarms.count(index, y, score, 0.5, 10)
    spans = [
        [(10 * a, 10 * b) for a, b in alarms._runs(on, np.ones(len(y) - 1, bool))]
        for on in (y == 1, score == 1)
    ]
    reference, guess = (annotations.Annotation(span, 1, 10 * len(y)) for span in spans)
    settings = tools.EventScoring.Parameters(0, 0, 0, alarms.LONGEST_ALARM_S, 0)
    theirs = tools.EventScoring(reference, guess, settings)
    assert (found.detected.sum(), found.false_alarms) == (theirs.tp, theirs.fp)


def test_seizures_without_windows_and_validation_without_seizures():
    """Validation needs no seizure to set the rate; gaps, single windows and empty recordings are counted."""
    index, y = hours([(100, 106)])
    gap = np.r_[0:500, 600:1080]
    cut, cut_y = index.iloc[gap], y[gap]
    quiet = np.zeros(len(y), dtype=int)
    val, test = ((index, quiet, 1.0 * quiet), (cut, cut_y, 1.0 * cut_y))
    found = alarms.at_fixed_rate(val, test, 10, 10)
    assert found.metrics["sensitivity_1fa_per_h"] == 1.0
    one = alarms.count(index, np.eye(1, len(y), 7, dtype=int)[0], np.eye(1, len(y), 7)[0], 0.5, 10)
    assert (one.false_alarms, one.detected.tolist(), one.latency_s.tolist()) == (0, [True], [0.0])
    nothing = alarms.count(index.iloc[:0], y[:0], np.zeros(0), 0.5, 10)
    assert (nothing.false_alarms, len(nothing.detected)) == (0, 0)


def test_no_seizure_is_no_score():
    index, y = hours([])
    found = alarms.at_fixed_rate((index, y, np.zeros(len(y))), (index, y, np.zeros(len(y))), 10, 10)
    assert found.metrics["sensitivity_1fa_per_h"] is None
    assert found.reasons["sensitivity_1fa_per_h"] == "no seizure in test"
