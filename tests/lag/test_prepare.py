"""What a fit does to windows first, on windows of which that is known."""

import numpy as np
import pytest
import torch
from numpy.polynomial import Polynomial

from cldtrans.errors import DataError
from cldtrans.lag.fit.prepare import (
    as_windows,
    drifting,
    independent_channels,
    prepare,
    through_tanh,
    without_drift,
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_tensors_and_arrays_of_any_float_become_float64(kind):
    x = torch.from_numpy(noise(2, 3, 40)).to(kind).requires_grad_()
    found = as_windows(x.transpose(0, 0))
    assert found.dtype == np.float64 and np.array_equal(found, x.detach().double().numpy())
    assert as_windows(np.arange(24, dtype=np.int16).reshape(2, 3, 4)).dtype == np.float64
    with pytest.raises(DataError, match=r"channels \[1\]"):
        as_windows(np.where(np.arange(3)[:, None] == 1, np.inf, noise(2, 3, 40)))


def test_sums_of_earlier_channels_are_found_with_their_terms():
    x = noise(3, 4, 500)
    x = np.concatenate([x[:, :2], x[:, :1] - 2 * x[:, 1:2], x[:, 2:], x[:, 2:3] + x[:, 3:4]], 1)
    kept, dependent = independent_channels(x / x.std((0, 2))[:, None])
    assert kept.tolist() == [0, 1, 3, 4] and dependent == [(2, [0, 1]), (5, [3, 4])]


def test_channels_keep_their_place_and_scale():
    x = noise(2, 5, 800) * np.array([1.0, 1e-6, 0.0, 50.0, 3.0])[:, None] + 7.0
    x[:, 4] = x[:, 0] + x[:, 3]
    found = prepare(x, periodic=True)
    assert found.kept.tolist() == [0, 1, 3] and found.constant == [2]
    assert found.dependent == [(4, [0, 3])] and not found.drifting
    np.testing.assert_allclose(found.x.std((0, 2)), 1)
    centred = x - x.mean((0, 2), keepdims=True)
    np.testing.assert_allclose(found.x * found.scale[:, None], centred[:, found.kept], atol=1e-9)
    bent = through_tanh(found, x)
    assert bent.source is not None
    tanh = np.tanh(x[:, found.kept])
    np.testing.assert_allclose(
        bent.source * bent.source_scale[:, None], tanh - tanh.mean((0, 2), keepdims=True), atol=1e-12
    )


def test_drift_is_what_moves_slower_than_noise_or_a_rhythm():
    n = 1600
    time = np.arange(n) / n
    x = noise(3, 3, n)
    x[:, 1] += 20 * Polynomial([0, 1, -2])(time)
    x[:, 2] += 20 * np.sin(2 * np.pi * 10 * time)
    assert drifting(x).tolist() == [False, True, False]
    assert prepare(x, periodic=False).drifting == [1] and prepare(x, periodic=True).drifting == []
    smooth = np.broadcast_to(Polynomial([3, 2, -1, 4])(time), (2, 1, n))
    assert np.abs(without_drift(smooth)).max() < 1e-9
    assert without_drift(x[:, :1]).std() > 0.99 * x[:, :1].std()
