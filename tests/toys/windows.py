"""Labelled windows from memory."""

import numpy as np

from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring.metrics import classification


class Fake(LabelledWindows):
    """What classifiers read of labelled windows, from memory."""

    def __init__(self, x, y, mask=None):
        self._x, self.y = x.astype(np.float32), y
        self._mask = np.ones(x.shape[:2], dtype=bool) if mask is None else mask
        self.subjects = np.arange(len(x)).astype(str)
        self.channels = tuple(f"c{k}" for k in range(x.shape[1]))

    def __len__(self):
        return len(self._x)

    def x(self, which=slice(None)):
        return self._x[which]

    def signals(self, which=slice(None)):
        return self.x(which)

    def mask(self, which=slice(None)):
        return self._mask[which]


def rhythms(n, seed=0, n_samples=640, sample_rate=160.0):
    """Two classes that differ in their rhythm (6 against 11 Hz) and not in power."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    time_s = np.arange(n_samples) / sample_rate
    wave = np.sin(2 * np.pi * np.where(y == 1, 11, 6)[:, None] * time_s + rng.uniform(0, 6, (n, 1)))
    x = wave[:, None] + rng.standard_normal((n, 3, n_samples))
    return Fake(x / x.std(axis=-1, keepdims=True), y)


def auroc(test: Fake, proba: np.ndarray) -> float:
    return classification("binary", ("a", "b"), test.y, proba, test.subjects).metrics["auroc"] or 0.0
