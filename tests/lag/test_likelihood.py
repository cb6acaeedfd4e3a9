"""The LD-SEM's likelihood, derivatives and information, against dense matrices, scipy and the bounds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cldtrans.lag.bounds import parameter_bounds
from cldtrans.lag.fit.fisher import Layout, covariance, information, search_p_value
from cldtrans.lag.fit.likelihood import Parameters, evaluate, fit_density, gradient, log_likelihood, residuals
from cldtrans.lag.fit.refine import refine
from cldtrans.lag.fit.spectra import LONGEST, to_spectra
from cldtrans.lag.simulate import Sample, simulate_ldsem

RATE = 160.0


def small_model() -> Parameters:
    return Parameters(
        target=np.array([0, 1, 2, 2]),
        source=np.array([2, 0, 0, 1]),
        lag=np.array([0.4, 1.7, 0.2, 3.3]),
        weight=np.array([0.4, -0.3, 0.25, 0.35]),
        own=np.array([[0.5, -0.2], [0.0, 0.0], [0.3, 0.0]]),
        order=np.array([2, 0, 1]),
        log_scale=np.log([0.8, 1.1, 0.5]),
        dof=np.array([4.0, 6.0, 9.0]),
    )


def true_model(world: Sample) -> Parameters:
    target, source = np.nonzero(world.support)
    order = world.self_dynamics.shape[1]
    return Parameters(
        target=target,
        source=source,
        lag=world.tau[target, source] * world.sample_rate,
        weight=world.weight[target, source],
        own=world.self_dynamics.copy(),
        order=np.full(len(world.scale), order),
        log_scale=np.log(world.scale / np.sqrt(2)),
        dof=np.full(len(world.scale), 5.0),
    )


def dense_system(model: Parameters, n_samples: int) -> np.ndarray:
    """The matrix that maps all channels' samples to all residuals, [C n, C n], by explicit kernels."""
    n_channels = model.n_channels
    eye = np.eye(n_samples)
    frequency = np.fft.fftfreq(n_samples)

    def shift(lag: float) -> np.ndarray:
        factor = np.exp(-2j * np.pi * frequency * lag)
        if n_samples % 2 == 0:
            factor[n_samples // 2] = factor[n_samples // 2].real
        return np.fft.ifft(np.fft.fft(eye, axis=0) * factor[:, None], axis=0).real

    blocks = [[np.zeros_like(eye) for _ in range(n_channels)] for _ in range(n_channels)]
    for i in range(n_channels):
        blocks[i][i] += eye
        for k, coefficient in enumerate(model.own[i]):
            blocks[i][i] -= coefficient * shift(k + 1)
    for i, j, lag, weight in zip(model.target, model.source, model.lag, model.weight, strict=True):
        blocks[i][j] -= weight * shift(lag)
    return np.block(blocks)


@pytest.mark.parametrize("n_samples", [24, 25])
@pytest.mark.parametrize("innovation", ["laplace", "student", "gaussian"])
def test_log_likelihood_is_that_of_the_dense_linear_system(innovation, n_samples):
    model = small_model()
    x = np.random.default_rng(0).standard_normal((2, 3, n_samples))
    matrix = dense_system(model, n_samples)
    scale = np.exp(model.log_scale)[:, None]
    expected = 2 * np.linalg.slogdet(matrix)[1]
    for window in x:
        e = (matrix @ window.ravel()).reshape(3, n_samples)
        if innovation == "laplace":
            expected += stats.laplace.logpdf(e, scale=scale).sum()
        elif innovation == "student":
            expected += stats.t.logpdf(e, model.dof[:, None], scale=scale).sum()
        else:
            expected += stats.norm.logpdf(e, scale=scale).sum()
    data = to_spectra(x, None, 4, periodic=True)
    assert log_likelihood(data, model, innovation) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("innovation", "periodic", "band"),
    [
        ("student", True, None),
        ("student", False, None),
        ("gaussian", False, None),
        ("gaussian", False, (0.02, 0.3)),
    ],
)
def test_gradient_is_the_derivative_of_the_loss(innovation, periodic, band):
    model = small_model()
    x = np.random.default_rng(1).standard_normal((3, 3, 120))
    data = to_spectra(x, None, 4, periodic=periodic, in_band=band)
    slopes = gradient(data, model, evaluate(data, model, innovation))
    for name, slope in zip(("weight", "lag", "own", "log_scale"), slopes, strict=True):
        for index in np.ndindex(slope.shape):
            if name == "own" and index[1] >= model.order[index[0]]:
                assert slope[index] == 0.0
                continue
            loss = []
            for step in (1e-5, -1e-5):
                moved = getattr(model, name).copy()
                moved[index] += step
                loss.append(evaluate(data, replace(model, **{name: moved}), innovation).loss)
            assert slope[index] == pytest.approx((loss[0] - loss[1]) / 2e-5, rel=2e-5, abs=2e-5), name


def test_scored_residuals_of_cut_windows_are_the_innovations():
    """Nothing wrapped or truncated is scored: residuals at the truth are nearly the true innovations."""
    world = simulate_ldsem(4, 40.0, RATE, self_dynamics="ar2", periodic=False, seed=2)
    data = to_spectra(world.x, None, 40, periodic=False)
    u = residuals(data, true_model(world))
    n_samples = world.x.shape[-1]
    difference = (u[:, :, :n_samples] - world.innovations.swapaxes(0, 1))[:, data.scored[:, :n_samples] > 0]
    assert data.scored[:, n_samples:].sum() == 0
    assert difference.std() < 0.02
    assert np.abs(difference).max() < 0.5
    # Whereas the first samples, whose delayed sources lie before the window, are far off.
    assert (u[:, :, :20] - world.innovations.swapaxes(0, 1)[:, :, :20]).std() > 0.1


def test_long_windows_are_split_without_losing_or_repeating_samples():
    n_samples = 2 * LONGEST + 1234
    x = np.arange(n_samples, dtype=float)[None, None]
    whole = n_samples - (40 + 8) - 8
    data = to_spectra(x, None, 40, periodic=False)
    assert data.n_scored == whole
    values = data.samples(data.spectrum)[0][data.scored > 0]
    np.testing.assert_allclose(np.sort(values), np.arange(48, n_samples - 8), atol=1e-6)


def test_information_is_that_of_the_bounds():
    """Two derivations: expectations over residuals here, the model's own moments in `bounds`."""
    world = simulate_ldsem(
        5, 400.0, RATE, lag_range_s=(0.05 / RATE, 2 / RATE), self_dynamics="ar2", periodic=True, seed=3
    )
    data = to_spectra(world.x, None, 3, periodic=True)
    model, at = refine(data, true_model(world), "laplace", (0.0, 3.0))
    layout, hessian, score = information(data, model, "laplace", at)
    stderr = np.sqrt(np.diag(covariance(hessian, score)))
    bound = parameter_bounds(
        world.x, world.weight, np.nan_to_num(world.tau), RATE, world.self_dynamics, "laplace", world.scale
    )
    edge = (model.target, model.source)
    np.testing.assert_allclose(stderr[layout.lag] / RATE, bound.tau[edge], rtol=0.1)
    np.testing.assert_allclose(stderr[layout.weight], bound.weight[edge], rtol=0.1)
    np.testing.assert_allclose(stderr[layout.own], bound.self_dynamics, rtol=0.1)


def test_hessian_is_the_mean_curvature_of_the_loss():
    """At the truth, for Gaussian innovations (a smooth loss), against differences of the gradient."""
    world = simulate_ldsem(
        3, 600.0, RATE, lag_range_s=(0.1 / RATE, 2 / RATE), innovation="gaussian", periodic=True, seed=4
    )
    model = replace(true_model(world), log_scale=np.zeros(3))
    data = to_spectra(world.x, None, 3, periodic=True)
    at = evaluate(data, model, "gaussian")
    layout, hessian, _ = information(data, model, "gaussian", at)
    numeric = np.zeros_like(hessian)
    for name in ("weight", "lag", "log_scale"):
        for k, position in enumerate(getattr(layout, name)):
            sides = []
            for step in (1e-4, -1e-4):
                moved = getattr(model, name).copy()
                moved[k] += step
                there = replace(model, **{name: moved})
                sides.append(layout.pack(*gradient(data, there, evaluate(data, there, "gaussian"))))
            numeric[position] = (sides[0] - sides[1]) / 2e-4
    assert Layout.of(model).row.shape == (len(hessian),)
    size = np.sqrt(np.multiply.outer(np.diag(hessian), np.diag(hessian)))
    assert np.abs((numeric - hessian) / size).max() < 0.03


def test_student_scale_and_degrees_of_freedom_are_found():
    rng = np.random.default_rng(5)
    residual = np.stack([2.0 * rng.standard_t(4.0, 60_000), 0.1 * rng.standard_t(12.0, 60_000)])
    log_scale, dof = fit_density("student", residual, np.full(2, 6.0))
    np.testing.assert_allclose(np.exp(log_scale), [2.0, 0.1], rtol=0.03)
    np.testing.assert_allclose(dof, [4.0, 12.0], rtol=0.15)


def test_search_p_value_bounds_the_maximum_of_a_white_process():
    """Monte Carlo of the largest |score| over 40 samples of lag, against Davies' bound."""
    rng = np.random.default_rng(6)
    n, trials = 512, 4000
    spectrum = np.fft.rfft(rng.standard_normal((trials, n)))
    fine = np.fft.irfft(spectrum, 8 * n) * 8  # variance 1, eight points a sample
    largest = np.abs(fine[:, : 40 * 8 + 1]).max(1)
    z = np.quantile(largest, 0.95)
    assert 0.05 * 0.9 < search_p_value(np.array(z), 1, 40 * np.pi / np.sqrt(3)) < 0.05 * 1.5
