"""Simulated systems: they obey the model's equation, are stable and have the innovations they claim."""

import numpy as np
import pytest
from scipy import signal, stats

from cldtrans.lag import simulate_ldsem
from cldtrans.lag.system import loop_gain, system_matrix

RATE_HZ = 160.0


def sinc_delay(x: np.ndarray, lag: float) -> np.ndarray:
    """Delay along the last axis by a sum over the periodic sinc kernel, written out (no FFT)."""
    n = x.shape[-1]
    d = np.arange(n)[:, None] - np.arange(n) - lag
    with np.errstate(divide="ignore", invalid="ignore"):
        if n % 2:
            kernel = np.sin(np.pi * d) / (n * np.sin(np.pi * d / n))
        else:
            kernel = np.sin(np.pi * d) / (n * np.tan(np.pi * d / n))
    kernel[np.isclose(np.mod(d, n), 0) | np.isclose(np.mod(d, n), n)] = 1.0
    return x @ kernel.T


def residuals(sample, g=lambda v: v) -> np.ndarray:
    """`x - a * x - sum_j W g(x_j(t - tau))` of periodic windows, in the time domain."""
    e = sample.x.copy()
    for i, coefficients in enumerate(sample.self_dynamics):
        for p, a in enumerate(coefficients, start=1):
            e[:, i] -= a * np.roll(sample.x[:, i], p, axis=-1)
    for i, j in zip(*np.nonzero(sample.support), strict=True):
        e[:, i] -= sample.weight[i, j] * sinc_delay(g(sample.x[:, j]), sample.tau[i, j] * sample.sample_rate)
    return e


@pytest.mark.parametrize("window", [200, 201])
@pytest.mark.parametrize(
    ("coupling", "lags", "self_dynamics"),
    [
        ("linear", (1.0, 40.0), None),
        ("linear", (0.05, 1.0), "ar2"),
        ("linear", (0.0, 0.0), None),
        ("tanh", (0.05, 30.0), "ar2"),
    ],
)
def test_periodic_windows_obey_the_equation(window, coupling, lags, self_dynamics):
    sample = simulate_ldsem(
        n_channels=5,
        n_windows=3,
        window_s=window / RATE_HZ,
        lag_range_s=(lags[0] / RATE_HZ, lags[1] / RATE_HZ),
        coupling=coupling,
        self_dynamics=self_dynamics,
        channel_scale_range=(1.0, 1.0) if coupling == "tanh" else (0.01, 100.0),
        periodic=True,
        seed=3,
    )
    e = residuals(sample, np.tanh if coupling == "tanh" else lambda v: v)
    np.testing.assert_allclose(
        e / sample.scale[:, None], sample.innovations / sample.scale[:, None], atol=1e-8
    )


def test_windows_of_one_record_obey_the_equation_away_from_their_edges():
    sample = simulate_ldsem(
        n_channels=4, duration_s=40, lag_range_s=(0.003, 0.03), self_dynamics="ar2", seed=5
    )
    e = residuals(sample)
    inside = slice(500, 1100)  # the sinc kernel's tails decay as 1/t
    assert np.abs(e - sample.innovations)[..., inside].max() < 0.02
    joined = sample.x.swapaxes(0, 1).reshape(4, -1)
    # The windows follow one another: a step across a border is no larger than elsewhere.
    jumps = np.abs(np.diff(joined))
    assert jumps[:, 1599::1600].mean() < 1.5 * jumps.mean()


def test_integer_lags_are_an_ordinary_difference_equation():
    sample = simulate_ldsem(
        n_channels=3, duration_s=20, lag_range_s=(5 / 160, 5 / 160), self_dynamics="ar2", seed=1
    )
    e = sample.x.copy()
    for i, coefficients in enumerate(sample.self_dynamics):
        for p, a in enumerate(coefficients, start=1):
            e[..., i, p:] -= a * sample.x[..., i, :-p]
    e[..., 5:] -= sample.weight @ sample.x[..., :-5]
    np.testing.assert_allclose(e[..., 5:], sample.innovations[..., 5:], atol=1e-9)


def test_spectra_follow_the_transfer_function():
    sample = simulate_ldsem(n_channels=4, duration_s=1200, self_dynamics="ar2", seed=2)
    joined = sample.x.swapaxes(0, 1).reshape(4, -1)
    frequency, density = signal.welch(joined, RATE_HZ, nperseg=512)
    lag = np.nan_to_num(sample.tau) * RATE_HZ
    inverse = np.linalg.inv(system_matrix(sample.weight, lag, sample.self_dynamics, frequency / RATE_HZ))
    expected = (np.abs(inverse) ** 2).sum(-1).T * 2 / RATE_HZ
    inner = slice(4, -4)
    ratio = density[:, inner] / expected[:, inner]
    assert np.abs(np.median(ratio, axis=1) - 1).max() < 0.05
    assert np.quantile(np.abs(ratio - 1), 0.95) < 0.4


@pytest.mark.parametrize("seed", range(5))
def test_systems_are_stable_for_all_lags(seed):
    sample = simulate_ldsem(n_channels=12, n_windows=1, edges_per_node=3, self_dynamics="ar2", seed=seed)
    assert loop_gain(sample.weight, sample.self_dynamics) <= 0.9 + 1e-6
    # Independent of loop_gain: with any lags the eigenvalues of the closed loops stay inside the unit disc.
    rng = np.random.default_rng(seed)
    frequency = np.linspace(0, 0.5, 257)
    own = system_matrix(np.zeros((12, 12)), np.zeros((12, 12)), sample.self_dynamics, frequency)
    full = system_matrix(sample.weight, rng.uniform(0, 40, (12, 12)), sample.self_dynamics, frequency)
    loops = np.eye(12) - np.linalg.solve(own, full)
    assert np.abs(np.linalg.eigvals(loops)).max() < 0.9 + 1e-3


def test_loop_gain_of_a_known_ring():
    weight = np.zeros((3, 3))
    weight[1, 0], weight[2, 1], weight[0, 2] = 0.5, -0.4, 0.2
    assert loop_gain(weight, np.zeros((3, 0))) == pytest.approx(0.04 ** (1 / 3), abs=1e-6)


@pytest.mark.parametrize(("family", "kurtosis"), [("laplace", 3.0), ("gaussian", 0.0), ("student", 6 / 5)])
def test_innovations_are_white_with_unit_variance(family, kurtosis):
    sample = simulate_ldsem(innovation=family, degrees_of_freedom=9, duration_s=300, seed=4)
    e = sample.innovations
    assert np.var(e) == pytest.approx(1.0, abs=0.02)
    assert stats.kurtosis(e, axis=None) == pytest.approx(kurtosis, abs=0.25)
    assert abs(np.mean(e[..., 1:] * e[..., :-1])) < 0.01


def test_graphs():
    acyclic = simulate_ldsem(n_channels=10, n_windows=1, edges_per_node=3, cyclic=False, seed=0).support
    assert not np.linalg.matrix_power(acyclic.astype(int), 10).any()
    sample = simulate_ldsem(n_channels=10, n_windows=1, edges_per_node=2.5, lag_range_s=(0.01, 0.02), seed=0)
    assert sample.support.sum() == 25 and not sample.support.diagonal().any()
    assert np.isnan(sample.tau[~sample.support]).all() and not sample.weight[~sample.support].any()
    assert sample.tau[sample.support].min() >= 0.01 and sample.tau[sample.support].max() <= 0.02
    assert not simulate_ldsem(edges_per_node=0, n_windows=1).support.any()


def test_one_seed_is_one_realisation():
    first, again, other = (simulate_ldsem(n_windows=1, seed=s).x for s in (7, 7, 8))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_violations_of_the_model():
    clean = simulate_ldsem(n_windows=2, seed=1)
    noisy = simulate_ldsem(n_windows=2, measurement_noise=0.5, seed=1)
    added = (noisy.x - clean.x).std((0, 2)) / clean.x.std((0, 2))
    np.testing.assert_allclose(added, 0.5, rtol=0.05)
    mixed = simulate_ldsem(n_windows=2, zero_lag_mixing=0.3, seed=1)
    ring = np.minimum(np.arange(8), 8 - np.arange(8))
    np.testing.assert_allclose(mixed.x[:, 0], np.einsum("j,njt->nt", 0.3**ring, clean.x), atol=1e-12)
    drifting = simulate_ldsem(n_windows=2, drift=3.0, seed=1).x - clean.x
    assert np.abs(np.diff(drifting)).max() < 0.05
    hidden = simulate_ldsem(duration_s=60, edges_per_node=0, lag_range_s=(0.0, 0.0), confounder=1.0, seed=1)
    assert np.corrcoef(hidden.x.swapaxes(0, 1).reshape(8, -1)).round(1).sum() == pytest.approx(
        8 + 12 * 0.5, abs=0.5
    )
    dependent = simulate_ldsem(n_windows=2, dependent_channels=2, seed=1)
    assert dependent.x.shape[1] == dependent.tau.shape[0] == 10
    assert np.linalg.matrix_rank(dependent.x.swapaxes(0, 1).reshape(10, -1)) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"innovation": "cauchy"}, "laplace"),
        ({"innovation": "student", "degrees_of_freedom": 2}, "more than 2"),
        ({"edges_per_node": 8}, "8 channels allow"),
        ({"lag_range_s": (0.2, 0.1)}, "low <= high"),
        ({"self_dynamics": np.ones((3, 1))}, r"\[8, P\]"),
        ({"self_dynamics": np.full((8, 1), 1.01)}, "unstable"),
        ({"periodic": True, "window_s": 0.4}, "half a window"),
        ({"coupling": "relu"}, "linear, tanh"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        simulate_ldsem(**settings)
