"""The system's matrix against simulation, its delays against shifts, its gain against eigenvalues."""

import numpy as np
import pytest

from cldtrans.lag.system import bin_counts, delay_factor, loop_gain, rfft_bins, self_filter, system_matrix


@pytest.mark.parametrize("n", [32, 33])
def test_whole_delays_are_shifts_and_bins_count_every_frequency(n):
    x = np.random.default_rng(0).standard_normal(n)
    delayed = np.fft.irfft(np.fft.rfft(x) * delay_factor(np.array(5.0), rfft_bins(n)), n)
    np.testing.assert_allclose(delayed, np.roll(x, 5), atol=1e-12)
    power = np.abs(np.fft.rfft(x)) ** 2 @ bin_counts(n) / n
    assert power == pytest.approx((x**2).sum())
    half = delay_factor(np.array([0.5]), rfft_bins(32))[-1, 0]
    assert half == pytest.approx(0) and half.imag == 0, "a real signal keeps its real part at Nyquist"


def test_the_matrix_turns_signals_into_innovations():
    rng = np.random.default_rng(0)
    n, weight = 64, np.array([[0.0, 0.4, 0.0], [0.0, 0.0, -0.3], [0.2, 0.0, 0.0]])
    lag, own = np.array([[0, 3, 0], [0, 0, 9], [1, 0, 0]]), np.array([[0.5, -0.2], [0.0, 0.1], [0.3, 0.0]])
    x = rng.standard_normal((3, n))
    expected = x.copy()
    for i in range(3):
        for k in range(2):
            expected[i] -= own[i, k] * np.roll(x[i], k + 1)
        for j in range(3):
            expected[i] -= weight[i, j] * np.roll(x[j], lag[i, j])
    matrix = system_matrix(weight, lag, own, rfft_bins(n))
    found = np.fft.irfft(np.einsum("fij,jf->if", matrix, np.fft.rfft(x)), n)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_loop_gain_is_the_largest_eigenvalue_over_frequency():
    rng = np.random.default_rng(0)
    weight = 0.3 * rng.standard_normal((4, 4)) * (1 - np.eye(4))
    own = np.array([[0.4, -0.5], [0.0, 0.0], [-0.3, 0.1], [0.2, 0.2]])
    gain = 1 / np.abs(self_filter(own, np.linspace(0, 0.5, 2048)))
    expected = max(np.abs(np.linalg.eigvals(g[:, None] * np.abs(weight))).max() for g in gain)
    assert loop_gain(weight, own) == pytest.approx(expected, rel=1e-6)
    ring = 0.5 * np.roll(np.eye(3), 1, 0)  # eigenvalues of one modulus
    assert loop_gain(ring, np.zeros((3, 1))) == pytest.approx(0.5)
