"""Scores of times to an event against the libraries that define them, and intervals against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from cldtrans.scoring.metrics import classification
from cldtrans.scoring.survival import SurvivalStatistics, horizon_name, kaplan_meier, left_at, score

TIMES = np.linspace(1.0, 16.0, 16)
HORIZONS = (4.0, 10.0)


def world(n=400, seed=0, rounded=False):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    time = rng.exponential(8 * np.exp(-risk))
    censored = rng.uniform(2, 25, n)
    y = np.column_stack([np.minimum(time, censored), time <= censored]).astype(float)
    if rounded:
        y[:, 0] = np.ceil(y[:, 0])
    proba = 1 - np.exp(-TIMES / 8 * np.exp(0.8 * risk + 0.3 * rng.normal(size=n))[:, None])
    return y, proba


@pytest.mark.parametrize("rounded", [False, True])
def test_brier_and_orders_are_those_of_scikit_survival(rounded):
    sksurv = pytest.importorskip("sksurv.metrics")
    y, proba = world(rounded=rounded)
    truth = np.array([(bool(e), t) for t, e in y], dtype=[("event", bool), ("time", float)])
    found = score(TIMES, y, proba, np.arange(len(y)) % 40, HORIZONS)["metrics"]
    assert found["ibs"] == pytest.approx(
        sksurv.integrated_brier_score(truth, truth, 1 - proba, TIMES), abs=1e-9
    )
    risk = proba.mean(1)
    assert found["c_harrell"] == pytest.approx(
        sksurv.concordance_index_censored(truth["event"], truth["time"], risk)[0], abs=1e-9
    )
    assert found["c_ipcw"] == pytest.approx(
        sksurv.concordance_index_ipcw(truth, truth, risk, tau=TIMES[-1])[0], abs=1e-9
    )
    for h in HORIZONS:
        k = int(h) - 1
        brier = sksurv.brier_score(truth, truth, 1 - proba[:, [k]], [h])[1][0]
        auc = sksurv.cumulative_dynamic_auc(truth, truth, proba[:, k], [h])[0][0]
        assert found[f"brier_{horizon_name(h)}"] == pytest.approx(brier, abs=1e-9)
        assert found[f"auc_{horizon_name(h)}"] == pytest.approx(auc, abs=1e-9)


def test_order_and_curve_are_those_of_lifelines():
    lifelines = pytest.importorskip("lifelines")
    from lifelines.utils import concordance_index

    y, proba = world(seed=1)
    found = score(TIMES, y, proba, np.arange(len(y)), ())["metrics"]
    assert found["c_harrell"] == pytest.approx(concordance_index(y[:, 0], -proba.mean(1), y[:, 1]), abs=1e-9)
    curve = lifelines.KaplanMeierFitter().fit(y[:, 0], y[:, 1]).survival_function_at_times(TIMES)
    assert left_at(kaplan_meier(y[:, 0], y[:, 1] == 1), TIMES) == pytest.approx(curve.to_numpy(), abs=1e-9)


def test_scores_are_those_of_torchsurv():
    pytest.importorskip("torchsurv")
    import torch
    from torchsurv.metrics.auc import Auc
    from torchsurv.metrics.brier_score import BrierScore
    from torchsurv.metrics.cindex import ConcordanceIndex

    y, proba = world(seed=2)
    time, event = torch.tensor(y[:, 0]), torch.tensor(y[:, 1] == 1)
    found = score(TIMES, y, proba, np.arange(len(y)), HORIZONS)["metrics"]
    risk = torch.tensor(proba.mean(1))
    assert found["c_harrell"] == pytest.approx(float(ConcordanceIndex()(risk, event, time)), abs=1e-6)
    y[y[:, 0].argmax(), 0] += 1e-3
    y[y[:, 0].argmax(), 1] = 1  # so that somebody is followed up at every other time
    found = score(TIMES, y, proba, np.arange(len(y)), HORIZONS)["metrics"]
    time, event = torch.tensor(y[:, 0]), torch.tensor(y[:, 1] == 1)
    curve = kaplan_meier(y[:, 0], y[:, 1] == 1, censoring=True)
    weight, kept = (
        torch.tensor(1 / left_at(curve, y[:, 0])),
        torch.tensor(1 / left_at(curve, np.array(HORIZONS))),
    )
    at = torch.tensor(HORIZONS, dtype=torch.float64)
    columns = torch.tensor(proba[:, [int(h) - 1 for h in HORIZONS]])
    brier = BrierScore()(1 - columns, event, time, at, weight=weight, weight_new_time=kept)
    assert [found[f"brier_{horizon_name(h)}"] for h in HORIZONS] == pytest.approx(brier.tolist(), abs=1e-6)
    auc = Auc()(columns, event, time, new_time=at, weight=weight, weight_new_time=kept)
    assert [found[f"auc_{horizon_name(h)}"] for h in HORIZONS] == pytest.approx(auc.tolist(), abs=1e-6)


def test_statistics_with_weights_are_those_of_repeated_subjects():
    y, proba = world(n=60, seed=3)
    position = np.arange(60) % 6
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 1, 1, 1]], dtype=float)
    statistic = SurvivalStatistics(TIMES, y, proba, position, HORIZONS)
    found = statistic(weights)
    for name in ("ibs", "brier_4s", "calibration_slope_4s", "c_harrell", "auc_10s"):
        assert found[name][0] == pytest.approx(score(TIMES, y, proba, position, HORIZONS)["metrics"][name])
    rows = np.concatenate([np.flatnonzero(position == s).repeat(int(w)) for s, w in enumerate(weights[1])])
    pairs = [
        (i, j)
        for i in rows
        for j in rows
        if y[i, 1] and (y[j, 0] > y[i, 0] or (y[j, 0] == y[i, 0] and not y[j, 1]))
    ]
    right = np.mean([proba[i].mean() > proba[j].mean() for i, j in pairs])
    assert found["c_harrell"][1] == pytest.approx(right)


def test_right_probabilities_are_calibrated_and_doubled_logits_are_not():
    rng = np.random.default_rng(4)
    risk = rng.normal(size=4000)
    time, censored = rng.exponential(8 * np.exp(-risk)), rng.uniform(4, 30, 4000)
    y = np.column_stack([np.minimum(time, censored), time <= censored]).astype(float)
    proba = 1 - np.exp(-TIMES / 8 * np.exp(risk)[:, None])
    proba = proba.clip(1e-6, 1 - 1e-6)
    logits = np.log(proba / (1 - proba))
    right = classification(
        "time_to_event", [str(t) for t in TIMES], y, proba, np.arange(4000) % 20, horizons_s=HORIZONS
    )
    assert right.metrics["calibration_slope_4s"] == pytest.approx(1, abs=0.08)
    assert right.metrics["expected_over_observed_4s"] == pytest.approx(1, abs=0.05)
    low, high = right.ci95["calibration_slope_4s"] or (np.nan, np.nan)
    assert low < 1 < high
    assert (right.metrics["ibs"] or np.nan) < (right.chance["ibs"] or np.nan)
    sharp = score(TIMES, y, 1 / (1 + np.exp(-2 * logits)), np.arange(4000) % 20, HORIZONS)["metrics"]
    assert sharp["calibration_slope_4s"] == pytest.approx(0.5, abs=0.05)


def test_what_is_not_defined_says_why():
    y, proba = world(n=30, seed=5)
    y[:, 0] = np.minimum(y[:, 0], 6.0)
    found = score(TIMES, y, proba, np.arange(30), HORIZONS)
    assert found["metrics"]["brier_10s"] is None and "beyond 10 s" in found["reasons"]["brier_10s"]
    assert found["reasons"]["ibs"] == "integrated to 5 s, where follow-up ends"
    y[:, 1] = 0
    found = score(TIMES, y, proba, np.arange(30), HORIZONS)
    assert found["metrics"]["c_harrell"] is None and "no pair" in found["reasons"]["c_harrell"]
    assert "no event within 4 s" in found["reasons"]["brier_4s"]


def test_horizons_have_short_names():
    assert [horizon_name(h) for h in (30 * 86400, 7200, 900, 90, 0.5)] == [
        "30d",
        "2h",
        "15min",
        "90s",
        "0.5s",
    ]
