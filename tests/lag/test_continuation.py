"""Continuation beyond a window's ends, against processes whose future is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from cldtrans.lag.fit.continuation import burg, continued


def test_burg_finds_the_filter():
    poles = np.array([0.9 * np.exp(0.4j), 0.95 * np.exp(1.1j)])
    true = np.poly(np.concatenate([poles, poles.conj()])).real
    noise = np.random.default_rng(0).standard_normal((20, 4000))
    windows = lfilter([1.0], true, noise)[:, 500:]
    np.testing.assert_allclose(burg(windows, 4), true, atol=0.01)
    np.testing.assert_allclose(burg(windows, 8), np.append(true, np.zeros(4)), atol=0.02)


@given(st.integers(0, 2**32 - 1), st.integers(1, 16), st.sampled_from([1e-9, 1.0, 1e9]))
def test_burg_is_stable(seed, order, scale):
    rng = np.random.default_rng(seed)
    windows = scale * np.cumsum(rng.standard_normal((2, 60)), axis=1)
    assert np.abs(np.roots(burg(windows, order))).max() < 1 + 1e-9


def test_a_rhythm_goes_on_and_comes_from_before():
    time = np.arange(400)
    wave = np.cos(2 * np.pi * 0.05 * time)  # 20 periods: it closes to a ring after 400 samples
    filled = continued(wave[None, None, :360], 400)[0, 0]
    np.testing.assert_array_equal(filled[:360], wave[:360])
    np.testing.assert_allclose(filled[360:], wave[360:], atol=0.02)


def test_white_noise_foretells_nothing():
    x = np.random.default_rng(1).standard_normal((30, 2, 1000))
    filled = continued(x, 1060)[..., 1000:]
    assert filled.std() < 0.1


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_stays_finite(value):
    assert np.isfinite(continued(np.full((1, 1, 50), value), 70)).all()
