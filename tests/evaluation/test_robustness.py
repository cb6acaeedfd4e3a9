"""Robustness cells, and what the degradations do."""

import numpy as np
import pytest
from toys.fewshot import RATE_HZ, arguments, staged
from toys.shards import paper_config

from cldtrans.config import RobustnessConfig
from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.fewshot import run_fewshot
from cldtrans.evaluation.robustness import DegradedWindows, conditions, run_robustness
from cldtrans.methods.windows import LabelledWindows


def test_degradations_do_what_they_say(tmp_path):
    staged(tmp_path)
    windows = ShardSet(tmp_path / "toy")
    clean = LabelledWindows(windows, np.arange(40))
    settings = RobustnessConfig(noise_db=[10.0], dropped_channels=[0.4], rate_fractions=[0.5], shifts_s=[1.0])
    noisy, dropped, slower, shifted = (DegradedWindows(clean, c, 3, None) for c in conditions(settings))
    valid = clean.mask()
    power = clean.x().var(axis=-1) / (noisy.x() - clean.x()).var(axis=-1).clip(1e-12)
    assert 10 * np.log10(power[valid].mean()) == pytest.approx(10, abs=0.3)
    assert (noisy.x() == noisy.x()).all()
    np.testing.assert_array_equal(noisy.x(np.array([7, 3])), noisy.x()[[7, 3]])  # whatever is read together
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


def test_robustness_without_subjects(tmp_path):
    staged(tmp_path, n_subjects=1)
    record = run_robustness(paper_config(), **arguments(tmp_path))
    assert set(record["metrics"].values()) == {None}
