"""Cramér-Rao bounds against score outer products, closed forms and the scatter of an estimate."""

from typing import Any, get_args

import numpy as np
import pytest
from scipy import optimize, stats

from cldtrans.lag import lag_bounds, simulate_ldsem
from cldtrans.lag.bounds import _moments, parameter_bounds
from cldtrans.lag.simulate import Innovation
from cldtrans.lag.system import bin_counts, rfft_bins, system_matrix

RATE_HZ = 160.0


def unpack(theta, sample):
    """Parameters (lags in samples, weights, own filters, log scales) -> system."""
    target, source = np.nonzero(sample.support)
    n_edges, own = len(target), sample.self_dynamics
    lag, weight = np.zeros(sample.weight.shape), np.zeros(sample.weight.shape)
    lag[target, source] = theta[:n_edges]
    weight[target, source] = theta[n_edges : 2 * n_edges]
    return lag, weight, theta[2 * n_edges : 2 * n_edges + own.size].reshape(own.shape), theta[-len(own) :]


def truth(sample):
    at = sample.support
    return np.concatenate(
        [
            sample.tau[at] * sample.sample_rate,
            sample.weight[at],
            sample.self_dynamics.ravel(),
            np.log(sample.scale),
        ]
    )


def log_density(e, innovation, degrees_of_freedom=5.0):
    """Unit-variance densities from scipy, not from the code under test."""
    if innovation == "laplace":
        return stats.laplace.logpdf(e, scale=np.sqrt(0.5))
    if innovation == "student":
        nu = degrees_of_freedom
        return stats.t.logpdf(e, nu, scale=np.sqrt((nu - 2) / nu))
    return stats.norm.logpdf(e)


def log_likelihood(theta, sample, x):
    """Of every periodic window of x, [N]."""
    lag, weight, own, log_scale = unpack(theta, sample)
    n_samples = x.shape[-1]
    matrix = system_matrix(weight, lag, own, rfft_bins(n_samples)) / np.exp(log_scale)[:, None]
    e = np.fft.irfft(np.einsum("fij,njf->nif", matrix, np.fft.rfft(x)), n_samples)
    jacobian = bin_counts(n_samples) @ np.linalg.slogdet(matrix)[1]
    return log_density(e, sample.innovation, sample.degrees_of_freedom).sum((1, 2)) + jacobian


WORLDS: dict[str, dict[str, Any]] = {
    "sub-sample cycles": {"lag_range_s": (0.1 / RATE_HZ, 1 / RATE_HZ), "weight_range": (0.4, 0.6)},
    "long lags": {"lag_range_s": (2 / RATE_HZ, 12 / RATE_HZ), "weight_range": (0.4, 0.6)},
    "own dynamics": {
        "lag_range_s": (0.2 / RATE_HZ, 4 / RATE_HZ),
        "self_dynamics": np.array([[0.5, -0.3], [-0.4, 0.1], [0.3, 0.2]]),
        "channel_scale_range": (0.1, 10.0),
    },
}


@pytest.mark.parametrize("innovation", ["laplace", "student", "gaussian"])
@pytest.mark.parametrize(
    ("world", "window"), [("sub-sample cycles", 32), ("long lags", 33), ("own dynamics", 32)]
)
def test_information_is_the_covariance_of_the_scores(world, innovation, window):
    settings = {**WORLDS[world], "innovation": innovation, "degrees_of_freedom": 9.0, "periodic": True}
    sample = simulate_ldsem(
        n_channels=3, n_windows=4_000, window_s=window / RATE_HZ, edges_per_node=1.0, seed=2, **settings
    )
    theta = truth(sample)
    score = np.empty((len(theta), len(sample.x)))
    for k in range(len(theta)):
        step = np.zeros(len(theta))
        step[k] = 1e-5
        up, down = (log_likelihood(theta + s * step, sample, sample.x) for s in (1, -1))
        score[k] = (up - down) / 2e-5
    assert np.abs(score.mean(1) / score.std(1)).max() * np.sqrt(score.shape[1]) < 4.5
    measured = np.sqrt(np.diag(np.linalg.inv(np.cov(score) * len(sample.x))))
    bound = parameter_bounds(
        sample.x,
        sample.weight,
        sample.tau,
        RATE_HZ,
        sample.self_dynamics,
        innovation,
        sample.scale,
        degrees_of_freedom=9.0,
    )
    at = sample.support
    expected = np.concatenate(
        [
            bound.tau[at] * RATE_HZ,
            bound.weight[at],
            bound.self_dynamics.ravel(),
            bound.scale / sample.scale,
        ]
    )
    np.testing.assert_allclose(measured, expected, rtol=0.05)


def test_one_edge_without_loops_has_the_textbook_bound():
    n_windows, n_samples, weight, lag = 3, 1000, 0.4, 7.3
    x = np.empty((n_windows, 2, n_samples))
    w = np.array([[0.0, 0.0], [weight, 0.0]])
    tau = np.array([[np.nan, np.nan], [lag / RATE_HZ, np.nan]])
    # Location information 2/sigma² (Laplace) times the energy of the delayed source's derivative.
    k = np.arange(n_samples // 2 + 1)
    derivative_power = bin_counts(n_samples) @ (2 * np.pi * k / n_samples) ** 2
    derivative_power -= np.pi**2 * np.cos(np.pi * lag) ** 2  # the Nyquist bin keeps the sine part only
    expected = 3.0 / np.sqrt(2 * n_windows * weight**2 * 4.0 * derivative_power) / RATE_HZ
    bound = lag_bounds(x, w, tau, RATE_HZ, None, "laplace", np.array([2.0, 3.0]))
    assert bound[1, 0] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(bound[[0, 0, 1], [0, 1, 1]]).all()


def test_moments_match_numerical_integrals():
    z = np.linspace(-200, 200, 400_001)
    for innovation, nu in zip(get_args(Innovation), (5.0, 7.0, 5.0), strict=True):
        log_p = log_density(z, innovation, nu)
        p, psi = np.exp(log_p), np.gradient(log_p, z)
        kappa, eta = _moments(innovation, nu)
        assert np.trapezoid(p * psi**2, z) == pytest.approx(kappa, rel=1e-3)
        assert np.trapezoid(p * psi**2 * z**2, z) == pytest.approx(eta, rel=1e-3)


def test_maximum_likelihood_scatters_as_the_bound_says():
    """Student-t(9), whose likelihood is smooth; 60 realisations of one cyclic system with sub-sample lags."""
    settings = {"n_channels": 3, "edges_per_node": 1.0, "innovation": "student", "degrees_of_freedom": 9.0}
    sample = simulate_ldsem(
        n_windows=60 * 20,
        window_s=100 / RATE_HZ,
        lag_range_s=(0.2 / RATE_HZ, 2 / RATE_HZ),
        weight_range=(0.4, 0.6),
        periodic=True,
        seed=1,
        **settings,
    )
    start = truth(sample)
    n_edges = sample.support.sum()
    bound = lag_bounds(
        sample.x[:20],
        sample.weight,
        sample.tau,
        RATE_HZ,
        None,
        "student",
        sample.scale,
        degrees_of_freedom=9.0,
    )
    errors = []
    for x in np.split(sample.x, 60):
        found = optimize.minimize(
            lambda t, x=x: -log_likelihood(t, sample, x).sum() / x.size, start, tol=1e-4
        )
        errors.append(found.x[:n_edges] - start[:n_edges])
    ratio = np.sqrt(np.mean(np.square(errors), 0)) / (bound[sample.support] * RATE_HZ)
    assert np.sqrt(np.mean(ratio**2)) == pytest.approx(1.0, abs=0.15)


def test_more_windows_and_units():
    sample = simulate_ldsem(n_channels=4, n_windows=2, window_s=2, seed=1)
    arguments = (sample.weight, sample.tau, RATE_HZ, sample.self_dynamics, "laplace")
    one = lag_bounds(sample.x[:1], *arguments, sample.scale)
    np.testing.assert_allclose(lag_bounds(np.concatenate([sample.x] * 2), *arguments, sample.scale), one / 2)
    gain = np.array([1e-6, 1.0, 30.0, 1e3])
    scaled = lag_bounds(
        sample.x[:1], sample.weight * gain[:, None] / gain, *arguments[1:], sample.scale * gain
    )
    np.testing.assert_allclose(scaled, one, rtol=1e-8)


def test_wrong_arguments():
    x = np.zeros((1, 3, 50))
    with pytest.raises(ValueError, match="3 channels"):
        lag_bounds(x, np.zeros((2, 2)), np.zeros((2, 2)), RATE_HZ, None, "laplace", 1.0)
    with pytest.raises(ValueError, match="not finite"):
        lag_bounds(x, np.eye(3)[::-1] * 0.5, np.full((3, 3), np.nan), RATE_HZ, None, "laplace", 1.0)
    with pytest.raises(ValueError, match="known: laplace"):
        lag_bounds(x, np.zeros((3, 3)), np.zeros((3, 3)), RATE_HZ, None, "cauchy", 1.0)
