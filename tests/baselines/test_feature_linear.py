"""Features of known waveforms, and the regression on them."""

from types import SimpleNamespace

import numpy as np
import pytest
from toys.windows import auroc, rhythms

from cldtrans.baselines.feature_linear import FeatureLinear, ecg_features, eeg_features, r_peaks
from cldtrans.data.base import Task


def test_feature_linear_tells_rhythms_apart_and_fills_missing_channels():
    train, val, test = rhythms(80, 0), rhythms(40, 1), rhythms(80, 2)
    test._mask[:40, 1] = False
    test._x[:40, 1] = 0
    model = FeatureLinear(Task("toy", "binary", ("theta", "alpha")), ("a", "b", "c"), 160.0, "eeg", 0, 1)
    model.fit(train, val)
    proba = model.predict_proba(test)
    assert np.isfinite(proba).all()
    assert auroc(test, proba) > 0.95
    assert model.parameters == 10 * (3 + 2) + 1


def test_eeg_features_of_a_sine():
    time_s = np.arange(1600) / 160
    x = np.stack([np.sin(2 * np.pi * 10 * time_s), 2 * np.sin(2 * np.pi * 3 * time_s)])[None]
    found = np.exp(eeg_features(x, np.ones((1, 2), dtype=bool), 160.0)[0, :20].reshape(2, 10))
    assert found[0, :6].argmax() == 3  # 8-13 Hz
    assert found[1, :6].argmax() == 1  # 2-4 Hz
    # line length of A sin(w t): mean |difference| = 2/pi * 2 A sin(w / 2); mobility^2 = (2 sin(w / 2))^2
    step = 2 * np.sin(np.pi * np.array([10, 3]) / 160)
    assert found[:, 6] == pytest.approx(2 / np.pi * step * [1, 2], rel=0.02)
    assert found[:, 7] == pytest.approx([0.5, 2.0], rel=1e-3)
    assert found[:, 8] == pytest.approx(step**2, rel=1e-2)
    masked = eeg_features(x, np.array([[True, False]]), 160.0)
    assert np.isnan(masked[0, 10:20]).all()
    assert np.isfinite(masked[0, 20:]).all()


def test_r_peaks_where_beats_were_put():
    rng = np.random.default_rng(0)
    rate_hz, n_samples = 500.0, 5000
    beats = np.cumsum(rng.uniform(0.6, 1.1, 11))
    time_s = np.arange(n_samples) / rate_hz
    gain = np.linspace(-1, 1, 12)[:, None]
    x = sum(
        gain * np.exp(-0.5 * ((time_s - b) / 0.012) ** 2)
        + 0.25 * np.exp(-0.5 * ((time_s - b - 0.28) / 0.05) ** 2)
        for b in beats
    )
    x = x + 0.03 * rng.standard_normal(x.shape)
    inside = beats[(beats > 0.05) & (beats < 9.95)]
    found = r_peaks(x, rate_hz) / rate_hz
    assert len(found) == len(inside)
    assert np.abs(found - inside).max() < 0.02
    features = ecg_features(x[None], np.ones((1, 12), dtype=bool), rate_hz)[0]
    assert features[-4] == pytest.approx(np.diff(inside).mean(), rel=0.02)
    flat = ecg_features(np.zeros((1, 12, 5000)), np.zeros((1, 12), dtype=bool), rate_hz)
    assert np.isnan(flat).all()


def test_factories_take_what_the_config_gives():
    task = SimpleNamespace(kind="multilabel", classes=("a", "b"), name="toy")
    FeatureLinear(task, ("I", "II"), 500.0, "ecg", 1, 1)
