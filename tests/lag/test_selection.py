"""Selection on a system that is known: its edges, its lags, and own past as long as it is."""

from dataclasses import replace

import numpy as np
import pytest

from cldtrans.lag.fit.prepare import prepare
from cldtrans.lag.fit.search import Threshold
from cldtrans.lag.fit.selection import Problem, choose_order, eliminate, select
from cldtrans.lag.fit.spectra import to_spectra

LAGS = {(1, 0): 3.4, (2, 1): 7.0}


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Three channels in a chain, 0 -> 1 -> 2; the first has two samples of own past."""
    rng = np.random.default_rng(0)
    n, frequency = 6000, np.fft.rfftfreq(6000)
    e = np.fft.rfft(rng.laplace(size=(3, n)))
    turn = np.exp(-2j * np.pi * frequency)
    x = e.copy()
    x[0] = e[0] / (1 - 0.6 * turn + 0.4 * turn**2)
    x[1] = e[1] + 0.5 * turn**3.4 * x[0]
    x[2] = e[2] - 0.4 * turn**7.0 * x[1]
    windows = np.fft.irfft(x, n)[None]
    spectra = to_spectra(prepare(windows, periodic=False).x, None, 12.0, periodic=False)
    threshold = Threshold.of(spectra, 12.0)
    return Problem(spectra, "laplace", 0.0, 12.0, np.full(3, 6), True, threshold, 0.01, False)


def test_edges_lags_and_own_past_are_those_of_the_system(problem):
    model, at, _ = select(problem)
    found = {(i, j): lag for i, j, lag in zip(model.target, model.source, model.lag, strict=True)}
    assert found == pytest.approx(LAGS, abs=0.1)
    assert model.order.tolist() == [2, 0, 0]
    shorter, cost = choose_order(problem, model, at)
    assert shorter.order.tolist() == [2, 0, 0] and cost == 0, "nothing is left to shorten"
    assert eliminate(problem, model, at, problem.level)[0].n_edges == 2


def test_an_edge_that_is_not_there_is_eliminated(problem):
    model, _, _ = select(problem)
    one = np.array([0])
    more = model.add(one, np.array([2]), np.array([5.0]), np.array([0.01]))
    refined, at = problem.refine(more)
    fewer, _ = eliminate(problem, refined, at, problem.level)
    assert {*zip(fewer.target.tolist(), fewer.source.tolist(), strict=True)} == set(LAGS)


def test_levels_of_families_and_discoveries(problem):
    discovery = replace(problem, discovery=True)
    assert (
        problem.level(5) == 0.01 and discovery.level(5) == pytest.approx(0.05) and discovery.level(0) == 0.01
    )
    assert problem.loose(1) == 0.05 and discovery.loose(10) == pytest.approx(0.1)
