"""Random kernels against the paper's arithmetic, and what they tell apart."""

import numpy as np
import pytest
import torch
from toys.windows import auroc, rhythms

from cldtrans.baselines.random_kernels import KERNELS, RandomKernels, Transform
from cldtrans.data.base import Task
from cldtrans.methods.ridge import RidgeScores

TASK = Task("toy", "binary", ("theta", "alpha"))


def test_there_are_84_kernels_that_ignore_a_constant():
    assert KERNELS.shape == (84, 9)
    assert len(np.unique(KERNELS, axis=0)) == 84
    np.testing.assert_array_equal(KERNELS.sum(1), 0)


def test_the_transform_has_the_papers_size_and_counts_samples_above_a_bias():
    """9 996 features of a window long enough; one of them counted by hand with numpy."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 1, 300)).astype(np.float32)
    transform = Transform(torch.from_numpy(x), 9996, np.random.default_rng(1))
    found = transform(torch.from_numpy(x)).numpy()
    assert found.shape == (3, transform.n_features) == (3, 9996)
    dilation, bias = int(transform.dilations[0]), float(transform._biases[0][0, 0])
    kernel = np.zeros(8 * dilation + 1)
    kernel[::dilation] = KERNELS[0]
    response = np.correlate(x[1, 0], kernel, mode="same")
    assert found[1, 0] == pytest.approx(np.mean(response > bias), abs=1e-6)


def test_short_windows_and_few_features_work():
    x = torch.randn(2, 3, 40)
    assert Transform(x, 10, np.random.default_rng(0))(x).shape == (2, 84)


def test_random_kernels_tell_rhythms_apart_and_repeat_themselves():
    train, val, test = rhythms(60, 0, 320), rhythms(40, 1, 320), rhythms(60, 2, 320)

    def fitted():
        model = RandomKernels(TASK, ("a", "b", "c"), 160.0, "eeg", 3, 1, features=252)
        model.fit(train, val)
        return model.predict_proba(test)

    first = fitted()
    assert (first == fitted()).all()
    assert auroc(test, first) > 0.95


def test_ridge_is_the_normal_equations_both_ways():
    """Wide and tall features against a direct solve of the balanced normal equations."""
    rng = np.random.default_rng(0)
    for n_features in (5, 60):
        x, y = rng.standard_normal((30, n_features)), np.arange(30) % 3 % 2
        ridge = RidgeScores("binary", ("no", "yes"))
        ridge.fit(x, y, x, y)
        z = (x - x.mean(0)) / x.std(0)
        weight = (30 / np.bincount(y) / 2)[y]
        middle, level = weight @ z / weight.sum(), weight @ (2 * y - 1.0) / weight.sum()
        gram = (z - middle).T @ (weight[:, None] * (z - middle))
        size = np.trace(gram) / min(n_features, 30)
        direct = np.linalg.solve(
            gram + ridge.penalty * size * np.eye(n_features),
            (z - middle).T @ (weight * (2 * y - 1.0 - level)),
        )
        np.testing.assert_allclose(ridge._slope[:, 0], direct, rtol=1e-3, atol=1e-5)


def test_ridge_leaves_out_what_is_not_labelled():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4))
    y = (x[:, :2] > 0).astype(float)
    y[:100, 1] = -1
    x[:100, 1] *= -1  # what the second label says of these would be wrong
    ridge = RidgeScores("multilabel", ("a", "b"))
    ridge.fit(x, y, x[100:], y[100:])
    assert ((ridge.predict_proba(x[100:]) > 0.5) == (y[100:] > 0.5)).mean() > 0.9
