"""Delays of pairs against known delays, their Cramér-Rao bound, and what no estimate may depend on."""

import numpy as np
import pytest
import torch
from toys.sources import delayed

from cldtrans.errors import DataError
from cldtrans.lag import fit_ldsem, pairwise_delays


def bound(n_samples, noise, colour=0.0):
    """Cramér-Rao standard deviation of a pair's delay, samples: Knapp & Carter 1976, equation 39."""
    frequency = np.arange(1, n_samples // 2) / n_samples
    power = (1 - colour**2) / np.abs(1 - colour * np.exp(-2j * np.pi * frequency)) ** 2
    coherence = (power / (power + noise**2)) ** 2
    return 1 / np.sqrt((2 * (2 * np.pi * frequency) ** 2 * coherence / (1 - coherence)).sum())


@pytest.mark.parametrize(("noise", "colour"), [(1.8, 0.0), (1.0, 0.0), (0.3, 0.9), (0.1, 0.9)])
def test_errors_are_near_the_bound_and_intervals_hold_the_delay(noise, colour):
    rng, n_samples, errors, held = np.random.default_rng(0), 4000, [], []
    rows, columns = np.tril_indices(5, -1)
    for _ in range(24):
        delays = rng.uniform(-3, 3, 5)
        found = pairwise_delays(delayed(rng, delays, n_samples, noise, colour), 1.0, 8.0)
        error = (found.tau - (delays[:, None] - delays))[rows, columns]
        errors.append(error / bound(n_samples, noise, colour))
        held.append(np.abs(error) < 1.959964 * found.tau_stderr[rows, columns])
    assert np.sqrt(np.mean(np.square(errors))) < 1.25
    assert 0.90 <= np.mean(held) <= 0.995


def test_echoes_widen_the_interval():
    rng = np.random.default_rng(1)
    held, plain, strays = [], [], []
    for _ in range(40):
        source = delayed(rng, [0, 4.3, *rng.uniform(5, 40, 6)], 6000, 0.0)
        echoes = rng.uniform(-0.35, 0.35, (2, 6))
        x = source[:2] + echoes @ source[2:] + 0.02 * rng.standard_normal((2, 6000))
        found = pairwise_delays(x, 1.0, 8.0)
        error = abs(found.tau[1, 0] - 4.3)
        held.append(error < 1.959964 * found.tau_stderr[1, 0])
        plain.append(error < 1.959964 * bound(6000, 0.02))
        strays.append(found.stray[1, 0])
    assert np.mean(held) >= 0.85 and np.mean(plain) < 0.5
    assert np.median(strays) > 0.2


def test_convention_is_that_of_ldsem():
    rng = np.random.default_rng(2)
    x = rng.laplace(size=(2, 6000))
    x[1, 3:] += 0.8 * x[0, :-3]
    fit, pairs = fit_ldsem(x[None], 100.0, 0.1), pairwise_delays(x, 100.0, 0.1)
    assert fit.support[1, 0] and not fit.support[0, 1]
    assert pairs.tau[1, 0] == pytest.approx(fit.tau[1, 0], abs=2e-3) and pairs.tau[1, 0] > 0.025


def test_symmetry_permutation_scale_and_type():
    rng = np.random.default_rng(3)
    x = delayed(rng, [0, 1.3, -2.1, 0.4], 3000, 0.5)
    found = pairwise_delays(x, 250.0, 0.02)
    np.testing.assert_array_equal(found.tau, -found.tau.T)
    np.testing.assert_array_equal(found.tau_stderr, found.tau_stderr.T)
    assert (np.diag(found.tau) == 0).all() and (np.diag(found.tau_stderr) == 0).all()
    assert (np.diag(found.coherence) == 1).all()
    order = np.array([2, 0, 3, 1])
    again = pairwise_delays(x[order], 250.0, 0.02)
    np.testing.assert_allclose(again.tau, found.tau[np.ix_(order, order)], atol=1e-9)
    scaled = pairwise_delays(torch.from_numpy(x * np.array([[1e-6], [1], [1e3], [-5]]) + 7), 250.0, 0.02)
    np.testing.assert_allclose(scaled.tau, found.tau, atol=1e-9)
    np.testing.assert_allclose(scaled.tau_stderr, found.tau_stderr, rtol=1e-5)
    assert scaled.correlation[3, 0] == pytest.approx(-found.correlation[3, 0])


def test_windows_share_their_delays():
    rng = np.random.default_rng(4)
    x = np.stack([delayed(rng, [0, 2.6], 1000, 1.0) for _ in range(16)])
    one, all_of = pairwise_delays(x[:1], 1.0, 6.0), pairwise_delays(x, 1.0, 6.0)
    assert all_of.tau[1, 0] == pytest.approx(2.6, abs=4 * bound(16000, 1.0))
    assert all_of.tau_stderr[1, 0] < 0.5 * one.tau_stderr[1, 0]


def test_what_is_not_coherent_has_no_delay():
    x = np.random.default_rng(5).standard_normal((6, 4000))
    found = pairwise_delays(x, 1.0, 10.0)
    rows, columns = np.tril_indices(6, -1)
    assert (found.tau_stderr[rows, columns] > 4).all()
    assert (found.coherence[rows, columns] < 0.02).all()


def test_a_rhythm_leaves_its_periods_open():
    rng = np.random.default_rng(6)
    time = np.arange(4000)
    wander = np.cumsum(rng.standard_normal(4000 + 40)) * 0.01
    x = np.stack([np.sin(2 * np.pi * (time - d) / 16 + wander[20 - d : 4020 - d]) for d in (0, 5)])
    found = pairwise_delays(x + 0.3 * rng.standard_normal(x.shape), 1.0, 40.0)
    assert abs(found.tau[1, 0] - 5) < 2.5 * found.tau_stderr[1, 0]


def test_flat_channels_are_named_by_nan_and_the_rest_is_as_without_them():
    x = delayed(np.random.default_rng(7), [0, 1.5, 3], 2000, 0.5)
    found = pairwise_delays(np.insert(x, 1, 3.0, axis=0), 1.0, 5.0)
    assert np.isnan(found.tau[1]).all() and np.isnan(found.tau[:, 1]).all()
    kept = np.ix_([0, 2, 3], [0, 2, 3])
    np.testing.assert_allclose(found.tau[kept], pairwise_delays(x, 1.0, 5.0).tau, atol=1e-12)
    assert len(found.to_frame()) == 3


def test_band_leaves_out_what_is_beyond_it():
    rng = np.random.default_rng(8)
    x = delayed(rng, [0, 2.0], 6000, 0.2)
    spectrum, frequency = np.fft.rfft(x), np.fft.rfftfreq(6000)
    spectrum[1] *= np.where(frequency > 0.3, np.exp(2j * np.pi * frequency * 6), 1)
    found = pairwise_delays(np.fft.irfft(spectrum, 6000), 1.0, 8.0, band_hz=(0.01, 0.28))
    assert found.tau[1, 0] == pytest.approx(2.0, abs=0.02)


def test_table_names_the_earlier_channel_first():
    x = delayed(np.random.default_rng(9), [2.0, 0, 4.0], 3000, [[0.1], [0.1], [2.0]])
    table = pairwise_delays(x, 1000.0, 0.01).summary(["a", "b", "c"])
    first = table.iloc[0]
    assert (first["earlier"], first["later"]) == ("b", "a")
    assert first["tau_ms"] == pytest.approx(2.0, abs=0.02)
    assert (table["tau_ms"] >= 0).all() and first["coherence"] == table["coherence"].max()
    assert (table["tau_low_ms"] < table["tau_ms"]).all() and (table["tau_ms"] < table["tau_high_ms"]).all()
    with pytest.raises(ValueError, match="2 channel names for 3"):
        pairwise_delays(x, 1000.0, 0.01).to_frame(["a", "b"])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((3, 1000), np.nan), r"NaN or infinity in channels \[0, 1, 2\]"),
        (np.zeros(1000), r"expected \[C, T\]"),
        (np.zeros((2, 1000), complex), "expected real numbers"),
        (np.ones((2, 30)), "too short for tau_max"),
    ],
)
def test_bad_input_gets_one_line(x, message):
    with pytest.raises(DataError, match=message):
        pairwise_delays(x, 1.0, 8.0)
