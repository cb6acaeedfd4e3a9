"""Intervals over subjects against scipy, simulation and arithmetic by hand."""

import numpy as np
import pytest
from scipy import stats

from cldtrans.scoring.intervals import bca, mean_over_subjects, of_subject_means, over_subjects, t_interval


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
