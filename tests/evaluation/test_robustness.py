"""Robustness cells, and what the degradations do."""

import numpy as np
import pandas as pd
import pytest
from toys.fewshot import RATE_HZ, arguments, staged
from toys.shards import SCALE, paper_config, write_shards

from cldtrans.config import RobustnessConfig
from cldtrans.data.montages.derived import ELECTRODES
from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.degradations import conditions
from cldtrans.evaluation.fewshot import run_fewshot
from cldtrans.evaluation.focal_lead import run_focal_lead
from cldtrans.evaluation.robustness import DegradedWindows, run_robustness
from cldtrans.methods.windows import LabelledWindows


def test_degradations_do_what_they_say(tmp_path):
    staged(tmp_path)
    windows = ShardSet(tmp_path / "toy")
    clean = LabelledWindows(windows, np.arange(40))
    settings = RobustnessConfig(
        noise_db=[10.0],
        dropped_channels=[0.4],
        rate_fractions=[0.5],
        shifts_s=[1.0],
        montages=["laplacian"],  # these channels have none
        discharge_db=10,
    )
    noisy, dropped, slower, shifted = (
        DegradedWindows(clean, c, 3, None) for c in conditions(settings, windows.channels)
    )
    valid = clean.mask()
    power = clean.x().var(axis=-1) / (noisy.x() - clean.x()).var(axis=-1).clip(1e-12)
    assert 10 * np.log10(power[valid].mean()) == pytest.approx(10, abs=0.3)
    assert (noisy.x() == noisy.x()).all()
    np.testing.assert_array_equal(noisy.x(np.array([7, 3])), noisy.x()[[7, 3]])  # whatever is read together
    np.testing.assert_array_equal(noisy.of_rows(np.array([7, 3])).x(), noisy.x()[[7, 3]])  # context alike
    lost = valid.sum(axis=1) - dropped.mask().sum(axis=1)
    assert (lost == np.round(0.4 * valid.sum(axis=1))).all()
    assert (dropped.x()[~dropped.mask()] == 0).all()
    spectrum = np.abs(np.fft.rfft(slower.x()))
    frequency = np.fft.rfftfreq(400, 1 / RATE_HZ)
    assert spectrum[..., frequency > 23].max() < 1e-3 * spectrum.max()
    np.testing.assert_allclose(
        spectrum[..., frequency < 22], np.abs(np.fft.rfft(clean.x()))[..., frequency < 22], atol=0.01
    )
    np.testing.assert_array_equal(shifted.x()[..., 100:], clean.x()[..., :-100])
    assert (shifted.y == clean.y).all()


def test_robustness_cell(tmp_path):
    staged(tmp_path)
    config = paper_config(
        robustness={
            "noise_db": [20.0, -20.0],
            "dropped_channels": [0.4],
            "rate_fractions": [0.2],
            "shifts_s": [0.5],
            "montages": ["laplacian"],
            "discharge_db": 10.0,
        }
    )
    record = run_robustness(config, **arguments(tmp_path))
    clean, metrics = run_fewshot(config, **arguments(tmp_path))["metrics"], record["metrics"]
    assert metrics["macro_f1"] == clean["macro_f1"]
    assert metrics["macro_f1@noise_20db"] > 0.85
    assert metrics["macro_f1@noise_-20db"] < 0.6
    assert metrics["macro_f1@shift_0.5s"] > 0.85
    assert metrics["macro_f1@rate_0.2"] < metrics["macro_f1"]  # 16 Hz lies above 9 Hz
    assert record["ci95"]["macro_f1@noise_20db"][0] > record["chance"]["macro_f1@noise_20db"]
    assert "f1_W@noise_20db" not in metrics


def banana(tmp_path):
    """Windows of a double banana from potentials of its electrodes, one channel missing in some."""
    rng = np.random.default_rng(0)
    potential = np.cumsum(rng.standard_normal((8, len(ELECTRODES), 200)), axis=-1)
    ends = [[ELECTRODES.index(end) for end in name.split("-")] for name in DOUBLE_BANANA]
    x = np.stack([potential[:, a] - potential[:, b] for a, b in ends], axis=1)
    mask = np.ones((8, 18), dtype=bool)
    mask[::2, 3] = False
    index = pd.DataFrame({"subject": list("aabbccdd"), "recording": list("aabbccdd")})
    write_shards(
        tmp_path / "banana",
        np.where(mask[..., None], x, 0),
        index.assign(label=np.arange(8).astype("int16") % 2),
        channels=DOUBLE_BANANA,
        sample_rate=100.0,
        task={"name": "toy", "kind": "binary", "classes": ["no", "yes"]},
        mask=mask,
    )
    return LabelledWindows(ShardSet(tmp_path / "banana"), np.arange(8)), potential


def test_montages_of_electrodes_are_those_of_their_potentials(tmp_path):
    clean, potential = banana(tmp_path)
    settings = paper_config().robustness.model_copy(update={"montages": ["referential", "laplacian"]})
    found = {c.name: DegradedWindows(clean, c, 3, None) for c in conditions(settings, clean.channels)}
    against_mean, against_neighbours = found["montage_referential"], found["montage_laplacian"]
    assert against_mean.channels == ELECTRODES
    groups = [[k for k, name in enumerate(ELECTRODES) if side in name] for side in "Z"]
    odd = [k for k, name in enumerate(ELECTRODES) if name[-1] in "13579"]
    even = [k for k, name in enumerate(ELECTRODES) if name[-1] in "2468"]
    whole = np.arange(1, 8, 2)  # windows with every channel
    for group in (*groups, odd, even):
        expected = potential[:, group] - potential[:, group].mean(axis=1, keepdims=True)
        np.testing.assert_allclose(
            against_mean.signals(whole)[:, group], SCALE * expected[whole], atol=1e-2, rtol=1e-4
        )
        # The chains still link what a single missing channel separates, by the other way round the loop.
        np.testing.assert_allclose(against_mean.signals()[:, group], SCALE * expected, atol=1e-2, rtol=1e-4)
    near = [ELECTRODES.index(name) for name in ("FP1", "P3", "O1")]
    expected = potential[:, near[1]] - (potential[:, ELECTRODES.index("C3")] + potential[:, near[2]]) / 2
    np.testing.assert_allclose(
        against_neighbours.signals()[:, near[1]], SCALE * expected, atol=1e-2, rtol=1e-4
    )
    assert against_neighbours.mask().all()
    np.testing.assert_allclose(against_neighbours.x().std(axis=-1), 1, atol=1e-4)


def test_the_lead_is_never_lost_and_channels_are(tmp_path):
    clean, _ = banana(tmp_path)
    settings = paper_config().robustness.model_copy(update={"dropped_channels": [0.4]})
    (drop,) = [c for c in conditions(settings, clean.channels) if c.name == "dropped_0.4"]
    for seed in range(20):
        x, mask = drop.apply(clean.x()[1:4], np.ones(18, bool), 100.0, np.random.default_rng(seed), (5,))
        assert mask[5]
        assert mask.sum() == 18 - round(0.4 * 18)
        assert (x[:, ~mask] == 0).all() and (x[:, mask] == clean.x()[1:4][:, mask]).all()


def test_leads_on_degraded_discharges(tmp_path):
    """Loud discharges are found as recorded and with channels lost; in overwhelming noise, by chance."""
    rng = np.random.default_rng(0)
    names = np.repeat([f"s{k}" for k in range(6)], 6)
    write_shards(
        tmp_path / "quiet",
        rng.standard_normal((36, 18, 1600)),
        pd.DataFrame({"subject": names, "recording": names, "label": np.zeros(36, "int16")}),
        channels=DOUBLE_BANANA,
        sample_rate=160.0,
        task={"name": "seizure", "kind": "binary", "classes": ["no", "yes"]},
    )
    config = paper_config(
        planted={"trials": 24},
        robustness={
            "noise_db": [-60.0],
            "dropped_channels": [0.4],
            "rate_fractions": [0.5],
            "shifts_s": [1.0],
            "montages": ["referential", "laplacian"],
            "discharge_db": 20.0,
        },
    )
    record = run_focal_lead(
        config,
        experiment="lead_robustness",
        dataset="chbmit",
        method="gcc_phat",
        seed=1,
        shards=tmp_path / "quiet",
        output=tmp_path / "seed-1.json",
    )
    metrics, chance = record["metrics"], record["chance"]
    assert metrics["top1"] > 0.8
    assert metrics["top1@dropped_0.4"] > 0.8
    assert metrics["top1@rate_0.5"] > 0.8
    assert metrics["top1@noise_-60db"] < 0.3
    assert chance["top1"] == pytest.approx(1 / 18)
    assert chance["top1@dropped_0.4"] == pytest.approx(1 / 11)
    assert chance["top1@montage_laplacian"] == pytest.approx(2 / 19)
    assert metrics["top1@montage_laplacian"] > chance["top1@montage_laplacian"]


def test_robustness_without_subjects(tmp_path):
    staged(tmp_path, n_subjects=1)
    record = run_robustness(paper_config(), **arguments(tmp_path))
    assert set(record["metrics"].values()) == {None}
