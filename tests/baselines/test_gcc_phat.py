"""GCC-PHAT by its definition, and its error rate."""

import numpy as np
import pytest

from cldtrans.baselines.gcc_phat import GccPhatPairs, correlations, peaks


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
