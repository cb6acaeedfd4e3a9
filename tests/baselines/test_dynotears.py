"""DYNOTEARS on the world of its paper."""

import numpy as np
import pytest
from lagged_worlds import of_dynotears


def test_acyclicity_and_its_gradient():
    from scipy.optimize import approx_fprime

    from cldtrans.baselines.dynotears import acyclicity

    rng = np.random.default_rng(0)
    upper = np.triu(rng.standard_normal((5, 5)), 1)
    order = rng.permutation(5)
    assert acyclicity(upper[np.ix_(order, order)])[0] == pytest.approx(0, abs=1e-9)
    full = 0.5 * rng.standard_normal((5, 5))
    value, slope = acyclicity(full)
    assert value > 0.1
    numeric = approx_fprime(full.ravel(), lambda w: acyclicity(w.reshape(5, 5))[0], 1e-7)
    np.testing.assert_allclose(slope.ravel(), numeric, rtol=1e-4, atol=1e-4)


def test_dynotears_on_the_papers_simulated_setting():
    """Its section 4.1 in small (n = 500, one lag, lambdas 0.05): F1 of both kinds of edges over worlds."""
    from cldtrans.baselines.dynotears import fit

    right, counted = np.zeros(2), np.zeros(2)
    for seed in range(6):
        (now, past), x = of_dynotears(seed)
        found_now, found_past = fit(x, 1, 0.05, 0.05)
        for k, (weight, truth) in enumerate(((found_now, now), (found_past[0], past))):
            found = np.abs(weight) > (0.3, 0.1)[k]
            right[k] += 2 * (found & truth).sum()
            counted[k] += found.sum() + truth.sum()
    assert (right / counted > 0.95).all(), right / counted
