"""Warnings of a fit: each where its cause was put, and none without."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from cldtrans.lag.fit.diagnostics import MANY, Rival, assumptions, excess_kurtosis, preparation
from cldtrans.lag.fit.likelihood import Parameters
from cldtrans.lag.fit.prepare import prepare

NAMES = np.array(["a", "b", "c"], dtype=object)
N = 20_000


def model(lag: float = 4.0, order: int = 2) -> Parameters:
    return Parameters(
        target=np.array([1]),
        source=np.array([0]),
        lag=np.array([lag]),
        weight=np.array([0.5]),
        own=np.zeros((3, 8)),
        order=np.full(3, order),
        log_scale=np.zeros(3),
        dof=np.full(3, 5.0),
    )


def warned(residual: np.ndarray, fitted: Parameters, **changes) -> str:
    options: dict[str, Any] = {
        "min_lag": 0.0,
        "max_lag": 16.0,
        "max_order": np.full(3, 8),
        "rivals": [],
        "undecided": 2.0,
        "sample_rate": 100.0,
        "runs": np.repeat(np.arange(10), residual.shape[1] // 10),
    }
    options |= changes
    return "\n".join(assumptions(fitted, "laplace", residual, names=NAMES, **options))


def laplace(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).laplace(size=(3, N))


def test_kurtosis_is_scipys():
    x = np.random.default_rng(0).standard_t(6, size=(4, 1000))
    np.testing.assert_allclose(excess_kurtosis(x), stats.kurtosis(x, axis=1))


def test_a_fit_whose_assumptions_hold_is_not_warned_of():
    assert warned(laplace(), model()) == ""


def test_each_broken_assumption_is_named():
    gaussian = laplace()
    gaussian[2] = np.random.default_rng(1).standard_normal(N)
    assert "innovations of channels c look Gaussian" in warned(gaussian, model())
    coloured = laplace()
    coloured[1, 3:] += 0.3 * coloured[1, :-3]
    assert "residuals of channels b are autocorrelated (up to 0.2" in warned(coloured, model())
    assert "own past of channels a, b, c is as long as allowed" in warned(laplace(), model(order=8))
    assert "lag of a→b is at the smallest allowed" in warned(laplace(), model(lag=0.0))
    assert "lag of a→b is at tau_max" in warned(laplace(), model(lag=16.0))
    assert "too little data" in warned(laplace()[:, :200], model())


@pytest.mark.filterwarnings("error")
def test_what_the_end_of_one_window_owes_to_the_next_is_no_autocorrelation():
    alternating = np.where(np.arange(N) % 2, 1.0, -1.0) * np.abs(laplace())
    apart = warned(alternating, model(), runs=np.arange(N))
    assert "autocorrelated" not in apart and "autocorrelated" in warned(alternating, model())


@pytest.mark.parametrize(("loss", "line"), [(1.0, "two lags equally likely"), (3.0, "at most 20 times less")])
def test_another_lag_is_told_in_milliseconds(loss, line):
    assert line in (text := warned(laplace(), model(), rivals=[Rival(0, 9.0, loss)]))
    assert "a→b (40.0 or 90.0 ms)" in text


def test_what_was_left_out_is_listed_and_long_lists_end():
    x = np.random.default_rng(0).standard_normal((1, 20, 400))
    x[:, :15] = 1.0
    x[:, 19] = x[:, 17] + x[:, 18]
    lines = preparation(prepare(x, periodic=True), np.arange(20).astype(str).astype(object))
    assert (
        lines[0] == f"channels {', '.join(map(str, range(MANY)))} and 3 more are constant and were left out"
    )
    assert lines[1].startswith("channel 19 is a linear combination of channels 17, 18")
