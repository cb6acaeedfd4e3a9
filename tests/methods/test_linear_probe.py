"""The probe against the truth that labels were drawn from."""

import numpy as np
import pytest

from cldtrans.methods.linear_probe import LinearProbe
from cldtrans.scoring.metrics import PRIMARY, classification


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
