"""Focal leads: planted truth, sign conventions, grading by brute force, annotation tables."""

from itertools import pairwise, permutations
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.shards import paper_config, write_shards

from cldtrans.baselines.gcc_phat import GccPhat
from cldtrans.baselines.ldsem_readout import net_lead
from cldtrans.baselines.line_length import LineLength
from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.errors import ConfigError, DataError
from cldtrans.evaluation import planted
from cldtrans.evaluation.annotations import read_annotations
from cldtrans.evaluation.focal_lead import Case, grade_planted, grade_seizures, run_focal_lead
from cldtrans.provenance import read_result
from cldtrans.scoring.leads import aggregate, chance_hit, hit, winner
from cldtrans.scoring.regions import lobe_of, side_of

CHANNELS = tuple(DOUBLE_BANANA)
RATE_HZ, N_SAMPLES = 160.0, 1600


def background(n, seed=0, channels=18):
    """Pink noise, unit variance, band-limited to 0.5-40 Hz as the shards are."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((n, channels, N_SAMPLES)))
    frequency = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ)
    shape = np.where((frequency >= 0.5) & (frequency <= 40), 1 / np.sqrt(np.maximum(frequency, 0.5)), 0)
    x = np.fft.irfft(spectrum * shape, N_SAMPLES)
    return (x / x.std(axis=-1, keepdims=True)).astype(np.float32)


def trials(n, snr_db, seed=0):
    rng = np.random.default_rng(seed)
    adjacent, mask = planted.neighbours(CHANNELS), np.ones(18, dtype=bool)
    leads, windows = [], []
    for x in background(n, seed):
        plan = planted.draw_plan(adjacent, mask, rng)
        wave = planted.discharge(plan.delay_s, N_SAMPLES, RATE_HZ, rng)
        windows.append(planted.add(x, wave, plan.gain, snr_db))
        leads.append(plan.lead)
    return np.stack(windows), np.array(leads)


def top1(scores, leads):
    return np.mean([winner(one)[lead] for one, lead in zip(scores, leads, strict=True)])


def test_readouts_find_a_planted_lead_and_energy_does_not():
    x, leads = trials(60, 15)
    mask = np.ones(x.shape[:2], dtype=bool)
    assert top1(GccPhat()(x, mask, RATE_HZ), leads) >= 0.9
    power = np.abs(np.fft.rfft(x)) ** 2
    frequency = np.fft.rfftfreq(N_SAMPLES, 1 / RATE_HZ)
    ceiling = 1 / 18 + 3 * np.sqrt(1 / 18 * 17 / 18 / 60)  # three standard errors above chance
    assert top1(x.var(axis=-1), leads) <= ceiling
    assert top1(power[..., (frequency > 2.5) & (frequency < 4.5)].sum(axis=-1), leads) <= ceiling
    assert top1(np.abs(np.diff(x)).mean(axis=-1), leads) <= ceiling


def test_discharge_is_delayed_as_planned():
    """Each channel is the lead's waveform later: known fractional delays of a sum of smooth pulses."""
    delay = np.array([0.0, 0.02, 0.0333, 0.25])
    wave = planted.discharge(delay, N_SAMPLES, RATE_HZ, np.random.default_rng(3))
    late = planted.discharge(delay + 0.5, N_SAMPLES, RATE_HZ, np.random.default_rng(3))
    scale = wave[0].max() / late[0].max()
    np.testing.assert_allclose(late[:, 80:] * scale, wave[:, :-80], atol=2e-2 * wave.max())
    tau = [np.argmax(np.correlate(one, wave[0], "full")) - (N_SAMPLES - 1) for one in wave]
    assert np.allclose(np.array(tau) / RATE_HZ, delay, atol=0.51 / RATE_HZ)


def test_plan_spreads_along_neighbours():
    adjacent = planted.neighbours(CHANNELS)
    assert (adjacent == adjacent.T).all()
    assert adjacent[CHANNELS.index("F7-T7"), CHANNELS.index("T7-P7")]
    assert adjacent[CHANNELS.index("FZ-CZ"), CHANNELS.index("F3-C3")]
    assert not adjacent[CHANNELS.index("FP1-F7"), CHANNELS.index("P8-O2")]
    mask = np.ones(18, dtype=bool)
    mask[4] = False
    for seed in range(20):
        plan = planted.draw_plan(adjacent, mask, np.random.default_rng(seed))
        assert mask[plan.lead]
        assert plan.gain[4] == 0
        assert (plan.gain[mask] > 0).all()  # the montage is connected
        later = np.delete(plan.delay_s, [plan.lead, 4])
        assert plan.delay_s[plan.lead] == 0
        assert (later >= planted.HOP_S[0]).all()
        assert sorted(plan.gain)[-1] == 1


def test_montage_is_derived_by_name():
    rng = np.random.default_rng(0)
    left, middle, right = ("Fp1 F7 T7 P7 O1 F3 C3 P3", "Fz Cz Pz", "Fp2 F4 C4 P4 O2 F8 T8 P8")
    names = tuple(name.ljust(4, ".") for name in f"{left} {right} {middle}".split())
    x = rng.standard_normal((2, 19, 50)).astype(np.float32)
    mask = np.ones((2, 19), dtype=bool)
    mask[1, 1] = False
    y, valid, channels = planted.to_double_banana(x, mask, names)
    assert channels == CHANNELS
    np.testing.assert_allclose(y[:, CHANNELS.index("P3-O1")], x[:, 7] - x[:, 4], rtol=1e-6)
    assert valid[0].all()
    assert [CHANNELS[c] for c in np.flatnonzero(~valid[1])] == ["FP1-F7", "F7-T7"]
    with pytest.raises(DataError, match="FP1-F7"):
        planted.to_double_banana(x[:, :2], mask[:, :2], ("EEG Fpz-Cz", "EEG Pz-Oz"))


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


def test_line_length_ranks_by_the_time_of_the_rise():
    rng = np.random.default_rng(0)
    x = 0.2 * rng.standard_normal((1, 4, N_SAMPLES))
    for channel, start in enumerate((600, 300, 900)):
        x[0, channel, start:] *= 5
    scores = LineLength()(x, np.ones((1, 4), dtype=bool), RATE_HZ)[0]
    assert scores.argsort().tolist() == [3, 2, 0, 1]  # the channel that never rises comes last


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_hit_by_enumerating_every_order_of_ties(seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 3, 5).astype(float)
    score[rng.random(5) < 0.2] = -np.inf
    if not np.isfinite(score).any():
        return
    truth, k = set(rng.choice(5, rng.integers(1, 3), replace=False).tolist()), int(rng.integers(1, 4))
    orders = [
        order for order in permutations(range(5)) if all(score[a] >= score[b] for a, b in pairwise(order))
    ]
    expected = np.mean([any(c in truth and np.isfinite(score[c]) for c in order[:k]) for order in orders])
    if all(not np.isfinite(score[c]) for c in truth):
        assert hit(score, truth, k) == 0
    else:
        assert hit(score, truth, k) == pytest.approx(expected)


def test_chance_by_simulation():
    rng = np.random.default_rng(0)
    for n, m, k in ((18, 1, 3), (18, 2, 5), (6, 3, 1)):
        hits = [hit(rng.random(n), set(range(m)), k) for _ in range(4000)]
        assert chance_hit(n, m, k) == pytest.approx(np.mean(hits), abs=0.03)
    assert chance_hit(18, 1, 1) == pytest.approx(1 / 18)
    assert hit(np.zeros(18), {3}, 5) == pytest.approx(5 / 18)  # no evidence scores exactly chance
    assert comb(18, 1) == 18


def test_aggregation_is_by_rank_and_silent_windows_do_not_vote():
    mask = np.ones((3, 3), dtype=bool)
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 5.0, 2.0], [1e6, 0.0, 0.0]])
    joined = aggregate(scores, mask)
    assert joined == pytest.approx([1 / 3, (0.5 + 1 + 0.25) / 3, (1 + 0.5 + 0.25) / 3])
    silent = np.vstack([scores[:2], np.zeros(3)])
    assert (np.argsort(aggregate(silent, mask)) == np.argsort(aggregate(scores[:2], mask[:2]))).all()
    mask[:, 1] = False
    assert aggregate(scores, mask)[1] == -np.inf
    with pytest.raises(ValueError, match="NaN"):
        aggregate(np.full((1, 3), np.nan), np.ones((1, 3), dtype=bool))


def test_planted_grade_is_a_mean_over_subjects():
    good, bad = np.eye(18)[3], np.eye(18)[5]
    cases = [Case("a", "r", k, {"": good, "literal": bad}, 5.0, [{3}]) for k in range(3)]
    cases += [Case("b", "r", 1, {"": bad, "literal": bad}, 5.0, [{3}])]
    scores = grade_planted(cases)
    assert scores.metrics["top1"] == 0.5  # not 3/4
    assert scores.chance["top1"] == pytest.approx(1 / 18)
    assert scores.metrics["top1:literal"] == 0.0
    assert scores.metrics["top3"] == pytest.approx(0.5 * (1 + 2 / 17))


def test_siena_grade_against_the_majority():
    left, right = np.eye(18)[CHANNELS.index("T7-P7")], np.eye(18)[CHANNELS.index("F8-T8")]
    cases = [Case(f"p{k}", "r", 1, {"": left}, lobe="temporal", side="left") for k in range(3)]
    cases += [Case("p3", "r", k, {"": right}, lobe="frontal", side="left") for k in (1, 2)]
    scores = grade_seizures(paper_config(), "region", CHANNELS, cases, ())
    assert scores.metrics == {"lobe_accuracy": 0.75, "side_accuracy": 0.75}
    assert scores.chance == {"lobe_accuracy": 0.75, "side_accuracy": 1.0}


def test_consistency_is_judged_by_that_between_patients():
    """A readout that always names one channel is consistent, and so is its chance level."""
    rng = np.random.default_rng(0)
    same = [Case(f"p{k // 3}", "r", k, {"": np.eye(18)[0], "line_length": rng.random(18)}) for k in range(9)]
    scores = grade_seizures(paper_config(), "annotation", CHANNELS, same, ())
    assert scores.metrics["consistency_top1"] == scores.chance["consistency_top1"] == 1.0
    assert scores.reasons["top1"] == "no annotation supplied"
    assert scores.metrics["top1"] is None
    own = [
        Case(f"p{k // 3}", "r", k, {"": np.eye(18)[k // 3], "line_length": np.eye(18)[k // 3]})
        for k in range(9)
    ]
    scores = grade_seizures(paper_config(), "annotation", CHANNELS, own, ())
    assert scores.metrics["consistency_top1"] == scores.metrics["agreement_line_length"] == 1.0
    assert scores.chance["consistency_top1"] == scores.chance["agreement_line_length"] == 0.0


def test_regions_of_the_montage():
    assert lobe_of("F7-T7") == lobe_of("EEG T3") == lobe_of("FP1-F7") == lobe_of("P8-O2") == "temporal"
    assert lobe_of("FP1-F3") == lobe_of("Fz..") == "frontal"
    assert lobe_of("C3-P3") == "central"
    assert side_of("F7-T7") == "left"
    assert side_of("FP2-F8") == "right"
    assert side_of("FZ-CZ") == "midline"
    assert side_of("O1-O2") is None
    assert all(lobe_of(name) and side_of(name) for name in CHANNELS)


HEADER = "case,file,seizure,channels,source,rater\n"


def test_annotations_are_read_by_name(tmp_path):
    path = tmp_path / "focal.csv"
    path.write_text(
        HEADER + "chb01,chb01_03.edf,1,F7-T3;FP1-F7,paper,A\nchb01,chb01_03.edf,1,T7-F7,paper,B\n"
    )
    found = read_annotations(path, CHANNELS)
    assert found == {
        ("chb01_03", 1): [{CHANNELS.index("F7-T7"), CHANNELS.index("FP1-F7")}, {CHANNELS.index("F7-T7")}]
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,file,seizure,channels,source\n", "no column 'rater'"),
        ("", "no column 'case'"),
        (HEADER + "chb01,chb01_03.edf,1,F7-XX,paper,A\n", "line 2: unknown channel 'F7-XX'"),
        (HEADER + "chb01,chb01_03.edf,0,F7-T7,paper,A\n", "line 2: seizure '0'"),
        (HEADER + "chb01,chb01_03.edf,one,F7-T7,paper,A\n", "line 2: seizure 'one'"),
        (
            HEADER + "chb02,chb01_03.edf,1,F7-T7,paper,A\n",
            "line 2: file 'chb01_03.edf' is not one of case 'chb02'",
        ),
        (HEADER + "chb01,chb01_03.edf,1,,paper,A\n", "line 2: no channel"),
        (HEADER + "chb01,chb01_03.edf,1\n", "line 2: 3 values for 6 columns"),
    ],
)
def test_annotation_errors_name_line_and_cause(tmp_path, text, message):
    path = tmp_path / "focal.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_annotations(path, CHANNELS)


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
    table.write_text(HEADER + "".join(rows))
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


def test_absent_dataset_is_a_reason(tmp_path):
    shards = seizure_shards(tmp_path / "siena", 1, reason="not in the mirror")
    common = {"dataset": "siena", "method": "line_length", "seed": 0, "shards": shards}
    record = run_focal_lead(paper_config(), experiment="zeroshot", output=tmp_path / "a.json", **common)
    assert record["metrics"] == {"lobe_accuracy": None, "side_accuracy": None}
    assert "not in the mirror" in record["reasons"]["lobe_accuracy"]
