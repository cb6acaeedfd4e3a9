"""Focal leads: sign conventions, grades by hand, whole cells."""

import numpy as np
import pandas as pd
import pytest
from toys.discharges import CHANNELS, N_SAMPLES, RATE_HZ, background
from toys.shards import paper_config, write_shards

from cldtrans.baselines.gcc_phat import GccPhat
from cldtrans.baselines.ldsem_readout import net_lead
from cldtrans.data.shards import ShardSet
from cldtrans.errors import ConfigError
from cldtrans.evaluation import planted
from cldtrans.evaluation.cases import Readouts, planted_cases, seizure_cases
from cldtrans.evaluation.focal_lead import Case, grade_planted, grade_seizures, run_focal_lead
from cldtrans.provenance import read_result


def test_signs_tau_positive_means_the_column_leads():
    rng = np.random.default_rng(0)
    source = np.convolve(rng.standard_normal(N_SAMPLES + 40), np.ones(8), "same")
    x = np.stack([source[40 - lag : 40 - lag + N_SAMPLES] for lag in (6, 0, 12)])[None]  # channel 1 leads
    x = (x + 0.3 * rng.standard_normal(x.shape)).astype(np.float32)
    mask = np.array([[True, True, True]])
    assert GccPhat()(x, mask, RATE_HZ)[0].argsort().tolist() == [2, 0, 1]
    tau = np.full((3, 3), np.nan)
    weight, support = np.zeros((3, 3)), np.zeros((3, 3), dtype=bool)
    for target, lag in ((0, 6), (2, 12)):
        tau[target, 1], weight[target, 1], support[target, 1] = lag / RATE_HZ, 0.5, True
    assert net_lead(tau, weight, np.full((3, 3), 0.1), support).argmax() == 1
    masked = GccPhat()(x, np.array([[True, False, True]]), RATE_HZ)[0]
    assert masked[1] == -np.inf
    assert masked.argmax() == 0


def test_planted_grade_is_a_mean_over_subjects():
    good, bad = np.eye(18)[3], np.eye(18)[5]
    cases = [Case("a", "r", k, {"": good, "literal": bad}, CHANNELS, 5.0, [{3}]) for k in range(3)]
    cases += [Case("b", "r", 1, {"": bad, "literal": bad}, CHANNELS, 5.0, [{3}])]
    scores = grade_planted(cases)
    assert scores.metrics["top1"] == 0.5  # not 3/4
    assert scores.chance["top1"] == pytest.approx(1 / 18)
    assert scores.metrics["top1:literal"] == 0.0
    assert scores.metrics["top3"] == pytest.approx(0.5 * (1 + 2 / 17))


def test_siena_grade_against_the_majority():
    left, right = np.eye(18)[CHANNELS.index("T7-P7")], np.eye(18)[CHANNELS.index("F8-T8")]
    cases = [Case(f"p{k}", "r", 1, {"": left}, CHANNELS, lobe="temporal", side="left") for k in range(3)]
    cases += [Case("p3", "r", k, {"": right}, CHANNELS, lobe="frontal", side="left") for k in (1, 2)]
    scores = grade_seizures(paper_config(), "region", CHANNELS, cases, ())
    assert scores.metrics == {"lobe_accuracy": 0.75, "side_accuracy": 0.75}
    assert scores.chance == {"lobe_accuracy": 0.75, "side_accuracy": 1.0}


def test_consistency_is_judged_by_that_between_patients():
    """A readout that always names one channel is consistent, and so is its chance level."""
    rng = np.random.default_rng(0)
    same = [
        Case(f"p{k // 3}", "r", k, {"": np.eye(18)[0], "line_length": rng.random(18)}, CHANNELS)
        for k in range(9)
    ]
    scores = grade_seizures(paper_config(), "annotation", CHANNELS, same, ())
    assert scores.metrics["consistency_top1"] == scores.chance["consistency_top1"] == 1.0
    assert scores.reasons["top1"] == "no annotation supplied"
    assert scores.metrics["top1"] is None
    own = [
        Case(f"p{k // 3}", "r", k, {"": np.eye(18)[k // 3], "line_length": np.eye(18)[k // 3]}, CHANNELS)
        for k in range(9)
    ]
    scores = grade_seizures(paper_config(), "annotation", CHANNELS, own, ())
    assert scores.metrics["consistency_top1"] == scores.metrics["agreement_line_length"] == 1.0
    assert scores.chance["consistency_top1"] == scores.chance["agreement_line_length"] == 0.0


def seizure_shards(folder, n_subjects=6, reason=None):
    """Background on the grid, and two windows a seizure in which the subject's own channel leads."""
    rng = np.random.default_rng(0)
    adjacent, mask = planted.neighbours(CHANNELS), np.ones(18, dtype=bool)
    windows, rows = [], []
    for k in range(n_subjects):
        for start in range(6):
            windows.append(background(1, seed=100 * k + start)[0])
            rows.append(
                {
                    "subject": f"chb{k:02d}",
                    "recording": f"chb{k:02d}_01",
                    "start_s": 10.0 * start,
                    "kind": "grid",
                }
            )
        for event in range(2):
            while True:
                plan = planted.draw_plan(adjacent, mask, rng)
                if plan.lead == k:
                    break
            for part in range(2):
                wave = planted.discharge(plan.delay_s, N_SAMPLES, RATE_HZ, rng)
                windows.append(planted.add(background(1, seed=900 + k)[0], wave, plan.gain, 20))
                rows.append(
                    {
                        "subject": f"chb{k:02d}",
                        "recording": f"chb{k:02d}_01",
                        "start_s": 30.0 + part,
                        "kind": "onset",
                        "event": event,
                    }
                )
    index = pd.DataFrame(rows).fillna({"event": -1}).astype({"event": "int16"})
    index["label"] = (index["kind"] == "onset").astype("int16")
    task = {"name": "seizure", "kind": "binary", "classes": ["background", "seizure"]}
    return write_shards(
        folder, np.stack(windows), index, channels=CHANNELS, sample_rate=RATE_HZ, task=task, reason=reason
    )


def test_cells_from_shards_to_result_files(tmp_path):
    shards = seizure_shards(tmp_path / "chbmit")
    table = tmp_path / "focal.csv"
    rows = [
        f"chb{k:02d},chb{k:02d}_01.edf,{event},{CHANNELS[k]},test,A\n" for k in range(6) for event in (1, 2)
    ]
    table.write_text("case,file,seizure,channels,source,rater\n" + "".join(rows))
    config = paper_config(zeroshot={"annotations": str(table)}, planted={"snr_db": [20.0, 0.0], "trials": 24})
    common = {"dataset": "chbmit", "method": "gcc_phat", "seed": 3, "shards": shards}
    run_focal_lead(
        config, experiment="zeroshot", output=tmp_path / "z.json", details=tmp_path / "z.csv", **common
    )
    record = read_result(tmp_path / "z.json")
    assert record["metrics"]["top1"] == 1.0
    assert record["metrics"]["consistency_top1"] == 1.0
    assert record["chance"]["consistency_top1"] == 0.0
    assert record["n"]["test"] == 12
    assert record["n"]["subjects"]["test"] == 6
    assert record["ci95"]["top1"][0] == pytest.approx(0.025 ** (1 / 6))
    details = pd.read_csv(tmp_path / "z.csv")
    assert (details["first"] == details["truth"]).all()
    run_focal_lead(config, experiment="planted", output=tmp_path / "p.json", **common)
    again = run_focal_lead(config, experiment="planted", output=tmp_path / "p2.json", **common)
    record = read_result(tmp_path / "p.json")
    assert record["metrics"] == again["metrics"]
    assert record["metrics"]["top1_20db"] > 0.9 > record["metrics"]["top1_0db"]
    assert record["metrics"]["top1"] <= record["metrics"]["top3"] <= record["metrics"]["top5"]
    assert record["chance"]["top3"] == pytest.approx(3 / 18)
    assert record["ci95"]["top1"][0] > record["chance"]["top1"]
    with pytest.raises(ConfigError, match="feature_linear' has no readout"):
        run_focal_lead(
            config, experiment="planted", output=tmp_path / "q.json", **{**common, "method": "feature_linear"}
        )


def test_a_published_networks_cell_says_that_nothing_taught_its_weights(tmp_path):
    pytest.importorskip("linear_attention_transformer", reason="the extra baselines is not installed")
    shards = seizure_shards(tmp_path / "chbmit")
    config = paper_config(planted={"snr_db": [5.0], "trials": 4})
    record = run_focal_lead(
        config,
        experiment="planted",
        output=tmp_path / "p.json",
        dataset="chbmit",
        method="biot_gradient",
        seed=3,
        shards=shards,
    )
    assert record["metrics"]["top1"] is not None
    assert record["chance"]["top1"] == pytest.approx(1 / 18)
    said = {"start": "from scratch", "saw_test_data": "no", "trainable_parameters": 0}
    assert {key: record["extra"].get(key) for key in said} == said
    assert record["parameters"] > 3e6


class Spy:
    """A readout that keeps what it was given."""

    reads_background = True

    def __init__(self):
        self.calls = []

    def __call__(self, x, mask, sample_rate, background):
        self.calls.append((x, background))
        return np.zeros(mask.shape)


def test_background_is_of_the_same_recording_and_touches_no_seizure(tmp_path):
    """Grid windows start every 10 s, seizures at 30 and 31 s: those at 30 and 40 s hold a part of them."""
    windows, spy = ShardSet(seizure_shards(tmp_path / "chbmit", 3)), Spy()
    assert len(seizure_cases(windows, Readouts(spy))) == 6
    index = windows.index
    for k, (_, given) in enumerate(spy.calls):
        rows = np.flatnonzero((index["subject"] == f"chb{k // 2:02d}") & (index["kind"] == "grid"))
        assert len(given) == 2  # as many as the seizure has windows: each is judged by itself
        for one in given:
            np.testing.assert_array_equal(one, windows.signals(rows[[0, 1, 2, 5]]))
    cases = planted_cases(windows, Readouts(spy := Spy()), [5.0], 12, seed=0)
    (x, given), starts = spy.calls[0], index["start_s"].to_numpy()
    assert len(cases) == len(x) == 12
    for case, window, quiet in zip(cases, x, given, strict=True):
        assert quiet.shape == (3, 18, N_SAMPLES)  # not the window that the discharge was planted in
        rows = np.flatnonzero((index["recording"] == case.recording) & (index["kind"] == "grid"))
        own = windows.signals(rows[~np.isin(starts[rows], (30, 40))])
        assert window.std(axis=1) == pytest.approx(1, abs=1e-3)
        likeness = [[np.corrcoef(a[0], b[0])[0, 1] for b in own] for a in quiet]
        assert np.sort(np.max(likeness, axis=1)) == pytest.approx(1, abs=1e-5)


def test_planted_discharges_obey_the_sums_of_the_channels(tmp_path):
    """Where a channel is the sum of two others in the recording, it is in the discharge."""
    x = np.stack([background(1, seed=k)[0] for k in range(8)])
    x[:, 2] = x[:, 0] + x[:, 1]
    index = pd.DataFrame({"subject": "a", "recording": "r", "start_s": 10.0 * np.arange(8)})
    folder = write_shards(tmp_path / "s", x, index, channels=CHANNELS, sample_rate=RATE_HZ, task=None)
    spy = Spy()
    planted_cases(ShardSet(folder), Readouts(spy), [10.0], 4, seed=0)
    (mixed, quiet) = spy.calls[0]
    for window, around in zip(mixed, quiet, strict=True):
        parts = around.transpose(0, 2, 1).reshape(-1, 18)
        weights = np.linalg.lstsq(parts[:, :2], parts[:, 2], rcond=None)[0]  # as channels are scaled there
        assert np.abs(weights @ window[:2] - window[2]).max() < 1e-3


def test_single_source_in_whole_cells(tmp_path):
    shards = seizure_shards(tmp_path / "chbmit")
    config = paper_config(planted={"snr_db": [5.0], "trials": 24})
    common = {"dataset": "chbmit", "method": "single_source", "seed": 3, "shards": shards}
    found = run_focal_lead(config, experiment="planted", output=tmp_path / "p.json", **common)
    assert found["metrics"]["top1"] >= 0.8
    found = run_focal_lead(config, experiment="zeroshot", output=tmp_path / "z.json", **common)
    assert found["metrics"]["consistency_top1"] == 1.0


def test_absent_dataset_is_a_reason(tmp_path):
    shards = seizure_shards(tmp_path / "siena", 1, reason="not in the mirror")
    common = {"dataset": "siena", "method": "line_length", "seed": 0, "shards": shards}
    record = run_focal_lead(paper_config(), experiment="zeroshot", output=tmp_path / "a.json", **common)
    assert record["metrics"] == {"lobe_accuracy": None, "side_accuracy": None}
    assert "not in the mirror" in record["reasons"]["lobe_accuracy"]
