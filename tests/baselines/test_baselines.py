"""Baselines: published sizes, known waveforms, known lags, masks and seeds."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from cldtrans.baselines.feature_linear import FeatureLinear, ecg_features, eeg_features, r_peaks
from cldtrans.baselines.gcc_phat import GccPhatPairs, correlations, peaks
from cldtrans.baselines.var_granger import VarGranger, var_f_tests
from cldtrans.data.base import Task
from cldtrans.methods.linear_probe import LinearProbe
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring.metrics import PRIMARY, classification


class Fake(LabelledWindows):
    """What classifiers read of labelled windows, from memory."""

    def __init__(self, x, y, mask=None):
        self._x, self.y = x.astype(np.float32), y
        self._mask = np.ones(x.shape[:2], dtype=bool) if mask is None else mask
        self.subjects = np.arange(len(x)).astype(str)

    def __len__(self):
        return len(self._x)

    def x(self, which=slice(None)):
        return self._x[which]

    def mask(self, which=slice(None)):
        return self._mask[which]


def rhythms(n, seed=0, n_samples=640, rate_hz=160.0):
    """Two classes that differ in their rhythm (6 against 11 Hz) and not in power."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    time_s = np.arange(n_samples) / rate_hz
    wave = np.sin(2 * np.pi * np.where(y == 1, 11, 6)[:, None] * time_s + rng.uniform(0, 6, (n, 1)))
    x = wave[:, None] + rng.standard_normal((n, 3, n_samples))
    return Fake(x / x.std(axis=-1, keepdims=True), y)


def auroc(test: Fake, proba: np.ndarray) -> float:
    return classification("binary", ("a", "b"), test.y, proba, test.subjects).metrics["auroc"] or 0.0


def test_inception_has_the_published_number_of_parameters():
    """Counted by hand from the paper's figure, and against the count printed for a public port.

    tsai's InceptionTime(3, 2) has 455 490 parameters: kernels 39, 19, 9 and no convolution in the second
    shortcut (128 x 128).
    """
    from torch import nn

    from cldtrans.baselines.inception_time import InceptionNetwork

    def by_hand(c, k, kernels):
        def module(width):
            return width * 32 + 32 * 32 * sum(kernels) + width * 32 + 2 * 128

        shortcuts = c * 128 + 256 + 128 * 128 + 256
        return module(c) + 5 * module(128) + shortcuts + 128 * k + k

    def count(network):
        return sum(p.numel() for p in network.parameters())

    assert count(InceptionNetwork(3, 2, (39, 19, 9))) - 128 * 128 == 455_490
    assert count(InceptionNetwork(12, 5)) == by_hand(12, 5, (40, 20, 10))
    first = next(layer for layer in InceptionNetwork(1, 2).modules() if isinstance(layer, nn.Conv1d))
    assert first.in_channels == 1


@pytest.mark.filterwarnings("ignore:Using padding")
def test_inception_keeps_length_and_any_channels():
    import torch

    from cldtrans.baselines.inception_time import InceptionModule

    for kernels in ((40, 20, 10), (39, 19, 9)):
        assert InceptionModule(7, kernels)(torch.randn(2, 7, 101)).shape == (2, 128, 101)


def test_inception_resamples_a_sine_to_itself():
    from cldtrans.baselines.inception_time import InceptionTime

    task = Task("toy", "binary", ("no", "yes"))
    model = InceptionTime(task, ("I",), 500.0, "ecg", 0, 1, ensemble=1)
    x = np.sin(2 * np.pi * 7 * np.arange(5000) / 500)[None, None]
    found = model._input(Fake(x, np.zeros(1, dtype=int)), np.array([0])).cpu().numpy()
    np.testing.assert_allclose(found[0, 0], np.sin(2 * np.pi * 7 * np.arange(1000) / 100), atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using padding")
def test_inception_learns_and_repeats_itself():
    from cldtrans.baselines.inception_time import InceptionTime

    train, val, test = (rhythms(n, seed, 80, 80.0) for seed, n in enumerate((64, 32, 64)))
    task = Task("toy", "binary", ("theta", "alpha"))

    def fitted():
        model = InceptionTime(
            task, ("a", "b", "c"), 80.0, "eeg", 5, 1, steps=20, ensemble=1, batch_size=16, validate_every=10
        )
        model.fit(train, val)
        return model.predict_proba(test)

    first = fitted()
    assert (first == fitted()).all()
    assert first.shape == (64, 2)
    assert auroc(test, first) > 0.9


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


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_linear_probe_agrees_with_the_truth_it_was_given(kind):
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((600, 8)) * np.logspace(-3, 3, 8), rng.standard_normal((8, 3))
    logits = (x / np.logspace(-3, 3, 8)) @ weights * 2
    if kind == "multilabel":
        y = (logits > 0).astype(np.float32)
        y[::7, 1] = -1
    else:
        y = logits.argmax(axis=1) if kind == "multiclass" else (logits[:, 0] > 0).astype(int)
    probe = LinearProbe(kind, ("a", "b", "c") if kind != "binary" else ("no", "yes"))
    probe.fit(x[:400], y[:400], x[400:500], y[400:500])
    proba = probe.predict_proba(x[500:])
    found = classification(kind, probe.classes, y[500:], proba, np.arange(100)).metrics[PRIMARY[kind]]
    assert found and found > 0.95
    shifted = LinearProbe(kind, probe.classes)
    shifted.fit(3 * x[:400] + 5, y[:400], 3 * x[400:500] + 5, y[400:500])
    np.testing.assert_allclose(shifted.predict_proba(3 * x[500:] + 5), proba, atol=1e-3)


def test_linear_probe_with_classes_that_training_lacks():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), np.repeat([1, 3], 20)
    x[y == 3] += 4
    probe = LinearProbe("multiclass", ("a", "b", "c", "d"))
    probe.fit(x, y, x[:0], y[:0])
    proba = probe.predict_proba(x)
    assert (proba.argmax(axis=1) == y).all()
    assert proba[:, [0, 2]].max() < 1e-6
    assert "penalty 0.1 by default" in probe.notes[0]
    alone = LinearProbe("multilabel", ("a", "b"))
    labels = np.stack([x[:, 0] > 0, np.zeros(40)], axis=1).astype(np.float32)
    alone.fit(x, labels, x, labels)
    assert alone.predict_proba(x)[:, 1].max() < 1e-6


def test_correlations_peak_at_a_fractional_delay_and_are_antisymmetric():
    rng = np.random.default_rng(0)
    n, lag = 4000, 7.3
    frequency = np.fft.rfftfreq(n)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    x = np.stack([np.fft.irfft(spectrum * np.exp(-2j * np.pi * frequency * d), n) for d in (0, lag)])[None]
    tau, height = peaks(*correlations(x, 100.0, 0.5, per_sample=4))
    assert tau[1, 0] * 100 == pytest.approx(lag, abs=0.02)
    assert tau[0, 1] == pytest.approx(-tau[1, 0], abs=1e-9)
    assert height[0, 0] == pytest.approx(1)
    size = 2 * n  # by the definition, whole transform
    white = np.fft.rfft(x[0] - x[0].mean(axis=1, keepdims=True), size)
    white[:, 1:] /= np.abs(white[:, 1:])
    white[:, 0] = 0  # the mean is taken away
    whole = np.fft.irfft(white[1] * white[0].conj(), size)
    curves, _ = correlations(x, 100.0, 0.5)
    np.testing.assert_allclose(curves[1, 0], whole[np.arange(-50, 51)], rtol=1e-3, atol=1e-6)


def test_gcc_edges_keep_their_error_rate_without_any_edge():
    rng = np.random.default_rng(0)
    false = sum(
        GccPhatPairs()(rng.standard_normal((4, 5, 500)), 100.0, 0.2).support.any() for _ in range(100)
    )
    assert false <= 4


def test_granger_f_is_the_textbook_f():
    """The F of one block equals that from residual sums of squares with and without the block."""
    rng = np.random.default_rng(0)
    x, order = rng.standard_normal((1, 3, 300)), 4
    x[0, 1, 2:] += 0.4 * x[0, 0, :-2]
    centred = x[0] - x[0].mean(axis=1, keepdims=True)
    columns = [centred[j, order - k : 300 - k] for j in range(3) for k in range(1, order + 1)]
    design, target = np.stack(columns, axis=1), centred[1, order:]

    def residual(part):
        return np.sum((target - part @ np.linalg.lstsq(part, target, rcond=None)[0]) ** 2)

    _, f_values, degrees = var_f_tests(x, order)
    full = residual(design)
    expected = (residual(design[:, order:]) - full) / order / (full / degrees)
    assert f_values[1, 0] == pytest.approx(expected, rel=1e-6)


def test_granger_p_values_are_uniform_without_edges():
    rng = np.random.default_rng(0)
    order, f_all = 3, []
    for _ in range(60):
        _, f_values, degrees = var_f_tests(rng.standard_normal((2, 4, 400)), order)
        f_all += f_values[~np.eye(4, dtype=bool)].tolist()
    assert stats.kstest(stats.f.sf(f_all, order, degrees), "uniform").pvalue > 1e-3


def test_granger_finds_a_known_edge_and_its_sign():
    rng = np.random.default_rng(0)
    x = rng.laplace(size=(3, 4, 2000))
    x[:, 2, 9:] += 0.5 * x[:, 0, :-9]
    found = VarGranger()(1e-6 * x, 100.0, 0.2)
    assert np.argwhere(found.support).tolist() == [[2, 0]]
    assert found.tau[2, 0] * 100 == pytest.approx(9, abs=0.5)
    with pytest.raises(ValueError, match="too few"):
        VarGranger()(x[:1, :, :50], 100.0, 0.2)


def test_factories_take_what_the_config_gives():
    task = SimpleNamespace(kind="multilabel", classes=("a", "b"), name="toy")
    FeatureLinear(task, ("I", "II"), 500.0, "ecg", 1, 1)


def test_acyclicity_and_its_gradient():
    from scipy.optimize import approx_fprime

    from cldtrans.baselines.dynotears import acyclicity

    rng = np.random.default_rng(0)
    upper = np.triu(rng.standard_normal((5, 5)), 1)
    order = rng.permutation(5)
    assert acyclicity(upper[np.ix_(order, order)])[0] == pytest.approx(0, abs=1e-9)
    full = 0.5 * rng.standard_normal((5, 5))
    value, slope = acyclicity(full)
    assert value > 0.1
    numeric = approx_fprime(full.ravel(), lambda w: acyclicity(w.reshape(5, 5))[0], 1e-7)
    np.testing.assert_allclose(slope.ravel(), numeric, rtol=1e-4, atol=1e-4)


def dynotears_world(seed, d=5, n=500):
    """Weights (source by target) and one window: Gaussian, Erdős-Rényi, one lag; unstable ones left out."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(d)
        sign = rng.choice([-1, 1], (2, d, d))
        now = np.triu(rng.random((d, d)) < 0.5, 1) * rng.uniform(0.5, 2, (d, d)) * sign[0]
        now = now[np.ix_(order, order)]
        past = (rng.random((d, d)) < 0.2) * rng.uniform(0.3, 0.5, (d, d)) * sign[1]
        spread = np.linalg.inv(np.eye(d) - now)
        if np.abs(np.linalg.eigvals(past @ spread)).max() < 0.9:
            break
    x, last = np.zeros((d, n + 100)), np.zeros(d)
    for t in range(n + 100):
        last = (last @ past + rng.standard_normal(d)) @ spread
        x[:, t] = last
    return now, past, x[None, :, 100:]


def test_dynotears_on_the_papers_simulated_setting():
    """Its section 4.1 in small (n = 500, one lag, lambdas 0.05): F1 of both kinds of edges over worlds."""
    from cldtrans.baselines.dynotears import fit

    right, counted = np.zeros(2), np.zeros(2)
    for seed in range(6):
        now, past, x = dynotears_world(seed)
        found_now, found_past = fit(x, 1, 0.05, 0.05)
        for k, (weight, truth) in enumerate(((found_now, now != 0), (found_past[0], past != 0))):
            found = np.abs(weight) > (0.3, 0.1)[k]
            right[k] += 2 * (found & truth).sum()
            counted[k] += found.sum() + truth.sum()
    assert (right / counted > 0.95).all(), right / counted
