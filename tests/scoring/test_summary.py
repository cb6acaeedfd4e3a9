"""Tables from result files: against scipy, by hand, and with what is missing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cldtrans.provenance import write_result
from cldtrans.scoring.summary import (
    COLUMNS,
    against_best_baseline,
    holm,
    over_seeds,
    paired_p,
    read_results,
    tidy,
)


def store(folder, method, seed, value, dataset="ptbxl", **changes):
    metrics = {"macro_auroc": value, "tau_mae_samples": None if value is None else 1 - value}
    path = folder / dataset / method / f"seed-{seed}.json"
    fields = {
        "experiment": "fewshot",
        "dataset": dataset,
        "method": method,
        "budget": "0.1",
        "seed": seed,
        "metrics": metrics,
        "reasons": {} if value is not None else dict.fromkeys(metrics, "one class only"),
        "n": {"train": 9, "val": 5, "test": 100 + seed, "subjects": {"train": 3, "val": 2, "test": 20}},
        "chance": {"macro_auroc": 0.5},
        "ci95": {} if value is None else {"macro_auroc": [value - 0.1, value + 0.1]},
        "config_sha256": "0" * 64,
    }
    write_result(path, **{**fields, **changes})
    return path


OURS, THEIRS, WORSE = (
    [0.90, 0.92, 0.91, 0.93, 0.89],
    [0.85, 0.88, 0.86, 0.90, 0.86],
    [0.6, 0.6, 0.7, 0.6, 0.6],
)


def stored(folder):
    paths = []
    for seed in range(5):
        paths += [
            store(folder, "cldtrans", seed, OURS[seed]),
            store(folder, "inception", seed, THEIRS[seed]),
            store(folder, "linear", seed, WORSE[seed]),
        ]
    return tidy(read_results(paths))


def test_tidy_has_one_row_a_metric(tmp_path):
    frame = tidy(read_results([store(tmp_path, "a", 1, 0.7), store(tmp_path, "b", 1, None)]))
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 4
    first = frame[(frame["method"] == "a") & (frame["metric"] == "macro_auroc")].iloc[0]
    assert (first["value"], first["chance"], first["n_subjects"], first["n_windows"]) == (0.7, 0.5, 20, 101)
    assert (first["ci_low"], first["ci_high"]) == pytest.approx((0.6, 0.8))
    missing = frame[frame["method"] == "b"]
    assert missing["value"].isna().all()
    assert set(missing["reason"]) == {"one class only"}
    assert tidy([]).empty


def test_over_seeds_is_the_t_interval_with_n(tmp_path):
    frame = stored(tmp_path)
    table = over_seeds(frame).set_index(["method", "metric"])
    row = table.loc[("cldtrans", "macro_auroc")]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(OURS), scale=stats.sem(OURS))
    assert (row["mean"], row["t_low"], row["t_high"]) == pytest.approx((np.mean(OURS), low, high))
    assert (row["n_seeds"], row["n_subjects"], row["n_windows"]) == (5, 20, 100)
    assert row["chance"] == 0.5
    single = over_seeds(
        tidy(read_results([store(tmp_path / "s", "a", 1, 0.7), store(tmp_path / "s", "a", 2, None)]))
    )
    row = single[single["metric"] == "macro_auroc"].iloc[0]
    assert row["n_seeds"] == 1
    assert np.isnan(row["t_low"])
    assert row["reason"] == "one class only"


def test_paired_against_the_best_baseline(tmp_path):
    table = against_best_baseline(
        stored(tmp_path), ["cldtrans"], ["inception", "linear"], ["macro_auroc", "tau_mae_samples"]
    )
    assert set(table["baseline"]) == {"inception"}  # also where lower is better
    row = table[table["metric"] == "macro_auroc"].iloc[0]
    assert row["difference"] == pytest.approx(np.mean(OURS) - np.mean(THEIRS))
    assert row["p"] == pytest.approx(stats.ttest_rel(OURS, THEIRS).pvalue)
    assert row["p_holm"] == pytest.approx(2 * row["p"])
    assert row["effect_size"] == pytest.approx(stats.ttest_rel(OURS, THEIRS).statistic / np.sqrt(len(OURS)))
    assert against_best_baseline(stored(tmp_path), ["cldtrans"], ["absent"], ["macro_auroc"]).empty


def test_seeds_are_paired_by_name(tmp_path):
    paths = [store(tmp_path, "cldtrans", s, OURS[s]) for s in range(5)]
    paths += [store(tmp_path, "inception", s, THEIRS[s]) for s in (4, 2, 0)]
    row = against_best_baseline(tidy(read_results(paths)), ["cldtrans"], ["inception"], ["macro_auroc"]).iloc[
        0
    ]
    assert row["n_seeds"] == 3
    assert row["difference"] == pytest.approx(np.mean([OURS[s] - THEIRS[s] for s in (0, 2, 4)]))


def test_holm_by_hand():
    p = np.array([0.04, 0.01, np.nan, 0.03, 0.5])
    expected = [max(3 * 0.03, 2 * 0.04, 0.04), 0.04, np.nan, 0.09, 0.5]
    np.testing.assert_allclose(holm(p), expected)
    assert holm(np.array([])).size == 0


def test_holm_keeps_the_family_wise_error():
    rng = np.random.default_rng(0)
    wrong = np.mean([(holm(rng.random(10)) < 0.05).any() for _ in range(2000)])
    assert wrong == pytest.approx(0.05, abs=0.015)


def test_p_is_undefined_without_spread():
    assert np.isnan(paired_p(np.array([0.1])))
    assert np.isnan(paired_p(np.array([0.1, 0.1])))


def test_input_is_left_alone(tmp_path):
    frame = stored(tmp_path)
    before = frame.copy()
    over_seeds(frame)
    against_best_baseline(frame, ["cldtrans"], ["inception"], ["macro_auroc"])
    pd.testing.assert_frame_equal(frame, before)
