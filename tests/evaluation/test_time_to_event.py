"""Times to an event end to end: what hazards learn of a known world, and sleep onset on the miniature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from toys.fewshot import arguments
from toys.preprocess import build, settings_of
from toys.shards import paper_config, write_shards, write_split

from cldtrans.baselines.survival.cox import fit_cox
from cldtrans.data import get_dataset
from cldtrans.data.base import time_to_event
from cldtrans.data.miniature import sleepedf
from cldtrans.data.miniature.scales import SCALES
from cldtrans.data.miniature.truth import Truth
from cldtrans.data.shards import describe_task
from cldtrans.data.sleep_onset import SleepOnset
from cldtrans.errors import ConfigError
from cldtrans.evaluation.fewshot import make_classifier, run_fewshot
from cldtrans.evaluation.predictions import read_predictions, score_predictions
from cldtrans.methods.hazard_probe import HazardProbe
from cldtrans.models.hazards import event_probabilities, hazard_loss
from cldtrans.scoring.discrete_time import at_risk, log_likelihood, times_of
from cldtrans.scoring.survival import score

TASK = time_to_event("event", (300.0, 900.0, 1800.0))
TIMES = times_of(TASK.classes)
METHODS = ("kaplan_meier", "cox_metadata", "feature_linear", "horizon_logistic", "hazard_forest", "lstm")


def hazards_in_proportion(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features [n, 4], labels [n, 2] and the true log hazard ratio [n]."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    ratio = x @ np.array([0.8, -0.5, 0.3, 0.0])
    time, censored = rng.exponential(900 * np.exp(-ratio)), rng.uniform(300, 4000, n)
    return x, np.column_stack([np.minimum(time, censored), time <= censored]).astype(float), ratio


def judged(proba: np.ndarray, y: np.ndarray, ratio: np.ndarray) -> None:
    """The true order within 0.01, and calibration at every horizon."""
    true = 1 - np.exp(-TIMES / 900 * np.exp(ratio)[:, None])
    alone = np.arange(len(y)) % 10
    found, best = (score(TIMES, y, p, alone, TASK.horizons_s)["metrics"] for p in (proba, true))
    assert abs(found["c_harrell"] - best["c_harrell"]) < 0.01 and best["c_harrell"] > 0.7
    assert abs(found["c_ipcw"] - best["c_ipcw"]) < 0.01
    for name in ("5min", "15min", "30min"):
        assert 0.9 < found[f"calibration_slope_{name}"] < 1.1


def test_the_probe_reaches_the_true_order_and_is_calibrated():
    x, y, _ = hazards_in_proportion(3000, 0)
    probe = HazardProbe(TASK.classes)
    probe.fit(x[:2500], y[:2500], x[2500:], y[2500:])
    held_out, labels, ratio = hazards_in_proportion(4000, 1)
    judged(probe.predict_proba(held_out), labels, ratio)
    assert probe.parameters == 4 + len(TIMES)
    weight, bias = probe.linear()
    logits = torch.tensor((held_out - probe.mean) / probe.scale @ weight.T + bias)
    assert np.allclose(event_probabilities(logits).numpy(), probe.predict_proba(held_out))


def test_a_head_of_hazards_on_a_network_does_as_well():
    x, y, _ = hazards_in_proportion(4000, 2)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, len(TIMES)))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
    inputs, answers = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    for _ in range(250):
        optimiser.zero_grad()
        hazard_loss(network(inputs), answers, TASK.classes).backward()
        optimiser.step()
    held_out, labels, ratio = hazards_in_proportion(4000, 3)
    with torch.no_grad():
        logits = network(torch.tensor(held_out, dtype=torch.float32)).double()
    judged(event_probabilities(logits).numpy(), labels, ratio)
    loss = float(hazard_loss(logits, torch.tensor(labels), TASK.classes))
    assert loss == pytest.approx(
        -log_likelihood(labels, event_probabilities(logits).numpy(), TIMES), abs=1e-5
    )


def test_intervals_that_count():
    y = np.array([[0.0, 1], [10.0, 1], [10.0, 0], [11.0, 0], [99.0, 1]])
    exposed, failed = at_risk(y, np.array([10.0, 20.0]))
    assert exposed.tolist() == [[1, 0], [1, 0], [1, 0], [1, 0], [1, 1]]
    assert failed.tolist() == [[1, 0], [1, 0], [0, 0], [0, 0], [0, 0]]


def test_cox_is_that_of_lifelines():
    lifelines = pytest.importorskip("lifelines")
    x, y, _ = hazards_in_proportion(300, 4)
    x = x - x.mean(0)
    frame = pd.DataFrame(x, columns=list("abcd")).assign(time=y[:, 0], event=y[:, 1])
    model = lifelines.CoxPHFitter().fit(frame, "time", "event")
    weights, times, hazard = fit_cox(x, y[:, 0], y[:, 1] == 1)
    assert weights == pytest.approx(model.params_.to_numpy(), abs=1e-4)  # it stops a little early
    theirs = model.baseline_cumulative_hazard_["baseline cumulative hazard"].reindex(times[::50])
    assert hazard[::50] == pytest.approx(theirs.to_numpy(), rel=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Windows whose noise is the stronger the sooner the event comes; features that say the same."""
    folder, rng = tmp_path_factory.mktemp("events"), np.random.default_rng(0)
    subjects, each = 24, 10
    n = subjects * each
    loud = rng.normal(size=n)
    time, censored = rng.exponential(900 * np.exp(-1.5 * loud)), rng.uniform(600, 4000, n)
    x = np.exp(0.5 * loud)[:, None, None] * rng.standard_normal((n, 2, 400))
    names = [f"s{k:02d}" for k in range(subjects)]
    index = pd.DataFrame(
        {
            "subject": np.repeat(names, each),
            "recording": np.repeat(names, each),
            "start_s": np.tile(np.arange(each) * 30.0, subjects),
            "time_s": np.minimum(time, censored),
            "event": (time <= censored).astype(float),
        }
    )
    write_shards(folder / "toy", x, index, channels=("A", "B"), sample_rate=100.0, task=describe_task(TASK))
    parts = ["val"] * 5 + ["test"] * 7 + ["train"] * 12
    write_split(folder / "split.csv", dict(zip(names, parts, strict=True)))
    features = np.column_stack([loud + 0.2 * rng.normal(size=n), rng.normal(size=(n, 3))]).astype(np.float32)
    np.savez(folder / "features.npz", features=features, twin=rng.normal(size=(n, 4)).astype(np.float32))
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_every_baseline_is_scored_beside_the_constant_and_the_floor(method, folder, tmp_path):
    config = paper_config()
    quick: dict[str, float] = {"steps": 30, "validate_every": 15, "width": 8} if method == "lstm" else {}
    quick = {"trees": 20, "leaf": 0.02} if method == "hazard_forest" else quick
    one = config.methods[method].model_copy(update={"settings": quick})
    config = config.model_copy(update={"methods": {**config.methods, method: one}})
    output = tmp_path / "seed-42.json"
    record = run_fewshot(config, **arguments(folder, dataset="sleepedf-onset", method=method, output=output))
    metrics, chance = record["metrics"], record["chance"]
    assert metrics["ibs"] > 0 and chance["c_harrell"] == 0.5
    assert record["n"]["subjects"] == {"train": 12, "val": 5, "test": 7}
    if method == "kaplan_meier":
        assert metrics["c_harrell"] == 0.5 and metrics["ibs"] == pytest.approx(chance["ibs"], abs=0.03)
        assert metrics["calibration_slope_15min"] is None
    if method not in ("kaplan_meier", "cox_metadata", "lstm"):
        assert metrics["c_harrell"] > 0.65 and metrics["ibs"] < chance["ibs"]
        assert metrics["ibs"] < metrics["ibs@metadata_floor"]
    again = score_predictions(read_predictions(output.with_suffix(".parquet")))
    assert again.metrics["ibs"] == pytest.approx(metrics["ibs"])


def test_our_features_get_a_head_of_hazards_and_a_twin(folder, tmp_path):
    config = paper_config(stage2={"finetune_steps": 0})
    output, features = tmp_path / "seed-42.json", folder / "features.npz"
    given = arguments(folder, dataset="sleepedf-onset", method="cldtrans", output=output, features=features)
    metrics = run_fewshot(config, **given)["metrics"]
    assert metrics["c_harrell"] > 0.75 and metrics["ibs@over_random_twin"] < 0


def test_a_baseline_of_times_refuses_classes(folder):
    from cldtrans.data.shards import ShardSet

    windows = ShardSet(folder / "toy")
    windows.task = get_dataset("sleepedf").task
    with pytest.raises(ConfigError, match="sleep_stage is multiclass: take it off"):
        make_classifier(paper_config(), "kaplan_meier", windows, 0, 1, None, None)


def test_sleep_onset_of_the_miniature(tmp_path):
    dataset = SleepOnset((60.0, 120.0))
    scale = replace(SCALES["tiny"], sleep_subjects=6, sleep_epochs=60)
    sleepedf.write(tmp_path / "raw/sleep-edfx/1.0.0", scale, 0, Truth())
    chosen = settings_of(window_s=30, stride_s=30, shards=1)
    windows = build(dataset, tmp_path / "raw", chosen, tmp_path / "shards")
    index = windows.index
    assert windows.task == dataset.task and windows.labelled().all() and (index["event"] == 1).all()
    for _, night in index.groupby("recording"):
        onset = night["start_s"] + 30 + night["time_s"]
        assert np.ptp(onset) == 0 and night["time_s"].min() == 0
        assert onset.iloc[0] / 30 - len(night) in (0, 1)  # every night has one epoch of movement somewhere
    names = sorted(index["subject"].unique())
    write_split(
        tmp_path / "split.csv", dict(zip(names, ["val", "test", "test", *["train"] * 9], strict=False))
    )
    given = arguments(tmp_path, dataset="sleepedf-onset", method="kaplan_meier", shards=tmp_path / "shards")
    record = run_fewshot(paper_config(), **given)
    assert record["metrics"]["c_harrell"] == 0.5 and record["metrics"]["brier_1min"] is not None


def test_a_night_without_sleep_ends_follow_up(tmp_path):
    from types import SimpleNamespace

    from cldtrans.data.miniature.edf_writer import write_edf

    path = tmp_path / "sleep-edfx/1.0.0/sleep-cassette/SC4001EC-Hypnogram.edf"
    write_edf(path, [], annotations=[(0.0, 600.0, "Sleep stage W"), (600.0, 60.0, "Sleep stage ?")])
    row = SimpleNamespace(hypnogram=path.relative_to(tmp_path).as_posix())
    found = SleepOnset().label_windows(tmp_path, row, np.array([0.0, 570.0, 600.0]), 30.0)
    assert found["time_s"].tolist() == [570.0, 0.0, -1.0] and found["event"].tolist() == [0.0, 0.0, -1.0]
    assert found["keep"].tolist() == [True, True, False]


def test_mortality_of_the_miniature_is_that_of_first_exams(bucket):
    dataset = get_dataset("code15-mortality")
    table = dataset.recordings(bucket)
    assert table["subject"].is_unique and len(table) < len(get_dataset("code15").recordings(bucket))
    assert set(table["event"]) <= {0.0, 1.0} and (table["time_s"] > 0).all()
    row = next(table.itertuples(index=False))
    labels = dataset.label_windows(bucket, row, np.zeros(2), 7.0)
    assert labels["time_s"].tolist() == [row.time_s] * 2 and labels["event"].dtype == np.float64
