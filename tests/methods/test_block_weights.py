"""Blocks of features: penalties of their own, against direct fits and blocks of known worth."""

import numpy as np
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from cldtrans.methods import linear_probe
from cldtrans.methods.block_weights import block_weights
from cldtrans.methods.linear_probe import LinearProbe
from cldtrans.models.heads import HeadSpec, TaskHead
from cldtrans.scoring.metrics import classification


def _windows(n, width, seed=0):
    rng = np.random.default_rng(seed)
    good, noise = rng.standard_normal((n, 6)), rng.standard_normal((n, width))
    return np.hstack([good, noise]), (good[:, 0] + 0.5 * rng.standard_normal(n) > 0).astype(int)


def _probe(x, y, blocks):
    probe = LinearProbe("binary", ("no", "yes"), blocks)
    probe.fit(x[:60], y[:60], x[60:120], y[60:120])
    return probe


def _auroc(probe, x, y):
    found = classification("binary", ("no", "yes"), y[120:], probe.predict_proba(x[120:]), y[120:])
    return found.metrics["auroc"]


def test_more_features_than_windows_are_fitted_as_sklearn_does(monkeypatch):
    monkeypatch.setattr(linear_probe, "PENALTIES", (1.0,))
    x, y = _windows(300, 200)
    probe = _probe(x, y, None)
    z = (x - x[:60].mean(0)) / x[:60].std(0)
    model = LogisticRegression(class_weight="balanced", C=1 / (60 * probe.penalty), max_iter=3000, tol=1e-8)
    expected = model.fit(z[:60], y[:60]).predict_proba(z[120:])
    np.testing.assert_allclose(probe.predict_proba(x[120:]), expected, atol=1e-3)


def test_a_block_has_the_variance_of_its_share_whatever_its_width():
    x, y = _windows(300, 60)
    blocks = ((6, 1.0), (60, 0.25))
    probe = LinearProbe("binary", ("no", "yes"), blocks)
    probe.fit(x[:60], y[:60], x[:0], y[:0])
    variance = (probe._standardise(x[:60]) * probe._factor).var(0)
    np.testing.assert_allclose(variance[:6].sum(), 4 * variance[6:].sum())
    np.testing.assert_allclose(variance.sum(), 66)


def test_a_wide_block_of_noise_costs_little_and_less_than_without_blocks():
    x, y = _windows(600, 2000)
    alone = _auroc(_probe(x[:, :6], y, None), x[:, :6], y)
    blocks, plain = (_auroc(_probe(x, y, b), x, y) for b in (((6, 1.0), (2000, 1.0)), None))
    assert alone - 0.05 < blocks and plain + 0.05 < blocks


def test_weights_move_only_where_validation_is_clear():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (900, 1))
    good, noise = truth + rng.standard_normal((900, 3)), 3 * rng.standard_normal((900, 300))
    parts = [good, noise]
    clear = block_weights([p[:300] for p in parts], truth[:300], [p[300:] for p in parts], truth[300:])
    assert clear[0] > clear[1]
    few = block_weights([p[:300] for p in parts], truth[:300], [p[300:301] for p in parts], truth[300:301])
    unknown = np.full_like(truth, -1)
    none = block_weights([p[:300] for p in parts], truth[:300], [p[300:] for p in parts], unknown[300:])
    assert (few == 1).all() and (none == 1).all()


def test_a_head_takes_over_blocks():
    x, y = _windows(300, 60)
    x[:, 10] = 7.0  # constant: dropped
    probe = _probe(x, y, ((6, 1.0), (60, 0.1)))
    head = TaskHead(66, HeadSpec("binary", ("no", "yes"), "eeg")).double()
    head.set_linear(*(torch.as_tensor(value) for value in (probe.mean, probe.scale, *probe.linear())))
    logits = head(torch.from_numpy(x[120:])).detach().numpy()[:, 0]
    np.testing.assert_allclose(expit(logits), probe.predict_proba(x[120:])[:, 1], rtol=1e-4)
