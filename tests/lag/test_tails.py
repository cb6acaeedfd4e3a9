"""Wald's statistics of nested tails: one factor for all, against one inverse each."""

import numpy as np
import pytest

from cldtrans.lag.fit.selection import _wald_of_tails


@pytest.mark.parametrize("deficient", [False, True])
def test_the_statistics_are_those_of_each_tail_alone(deficient):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 5 if deficient else 9)) * np.geomspace(1, 1e3, 6)[:, None]
    value, spread = rng.normal(size=6), root @ root.T
    found = _wald_of_tails(value, spread)
    assert found[0] == 0 and len(found) == 7
    for count in range(1, 6):
        tail = slice(6 - count, None)
        alone = value[tail] @ np.linalg.solve(spread[tail, tail], value[tail])
        assert found[count] == pytest.approx(alone, rel=1e-6)
    assert _wald_of_tails(np.zeros(0), np.zeros((0, 0))).tolist() == [0.0]
