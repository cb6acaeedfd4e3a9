"""The climb: its end is a maximum, whatever remembers the surface, and it makes few information matrices."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from cldtrans.lag.fit import refine as climbing
from cldtrans.lag.fit.fisher import expected_hessian
from cldtrans.lag.fit.likelihood import Parameters, gradient
from cldtrans.lag.fit.prepare import prepare
from cldtrans.lag.fit.refine import refine
from cldtrans.lag.fit.spectra import Spectra, to_spectra

LAGS = (0.0, 12.0)


@pytest.fixture(scope="module")
def loop() -> tuple[Spectra, Parameters]:
    """Three channels in a loop of short lags, 0 -> 1 -> 2 -> 0, and a model some way off."""
    rng = np.random.default_rng(1)
    n, frequency = 6000, np.fft.rfftfreq(6000)
    turn = np.exp(-2j * np.pi * frequency)
    system = np.zeros((len(frequency), 3, 3), complex)
    system[:, [0, 1, 2], [0, 1, 2]] = np.stack([1 - 0.8 * turn, 1 - 0.5 * turn, np.ones_like(turn)], 1)
    for (i, j), lag, weight in (((1, 0), 2.3, 0.5), ((2, 1), 3.6, 0.6), ((0, 2), 1.7, 0.4)):
        system[:, i, j] = -weight * turn**lag
    e = np.fft.rfft(rng.laplace(size=(3, n)))
    x = np.fft.irfft(np.linalg.solve(system, e.T[..., None])[..., 0].T, n)
    data = to_spectra(prepare(x[None], periodic=False).x, None, LAGS[1], periodic=False)
    start = Parameters(
        target=np.array([0, 1, 2]),
        source=np.array([2, 0, 1]),
        lag=np.array([2.1, 2.7, 3.2]),
        weight=np.array([0.2, 0.3, 0.4]),
        own=np.zeros((3, 4)),
        order=np.full(3, 4),
        log_scale=np.zeros(3),
        dof=np.full(3, 6.0),
    )
    return data, start


@pytest.mark.parametrize("innovation", ["laplace", "student", "gaussian"])
def test_the_climb_ends_at_a_maximum_and_makes_few_matrices(loop, innovation, monkeypatch):
    data, start = loop
    made, steps = Mock(wraps=expected_hessian), Mock(wraps=gradient)
    monkeypatch.setattr(climbing, "expected_hessian", made)
    monkeypatch.setattr(climbing, "gradient", steps)
    model, at = refine(data, start, innovation, LAGS, tolerance=1e-4)
    assert np.abs(model.lag - [1.7, 2.3, 3.6]).max() < 0.15
    layout, hessian = expected_hessian(data, model, innovation, at)
    slope = layout.pack(*gradient(data, model, at))
    if innovation != "student":  # its scale has degrees of freedom beside it, refitted now and then
        assert 0.5 * slope @ np.linalg.solve(hessian, slope) < 1e-2
    assert made.call_count <= 0.6 * steps.call_count, (made.call_count, steps.call_count)
    elsewhere = replace(model, lag=model.lag + 0.3)
    at_again = refine(data, elsewhere, innovation, LAGS, tolerance=1e-4)[1]
    assert at_again.loss == pytest.approx(at.loss, abs=0.05)
