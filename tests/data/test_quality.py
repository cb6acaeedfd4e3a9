"""Faults of channels, named, and gaps bridged."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cldtrans.data.quality import assess, fill_gaps


def test_flags_name_each_fault():
    rng = np.random.default_rng(3)
    x = 20 * rng.standard_normal((1, 5, 3000)).astype(np.float32)
    x[0, 0, 1000:2000] = 3.0
    x[0, 1, 1500] = np.nan
    x[0, 2] = np.clip(x[0, 2], -15, 15)
    x[0, 3] = 0
    mask = np.array([[True, True, True, False, True]])
    found = assess(x, mask, [(0, 1000), (1000, 2000), (2000, 3000)], 100.0, "eeg")
    assert found.flat[0].tolist() == [[False] * 5, [True] + [False] * 4, [False] * 5]
    assert found.nan[0].tolist() == [[False] * 5, [False, True, False, False, False], [False] * 5]
    assert found.clipped[0, :, 2].all() and not found.clipped[0][:, [0, 3, 4]].any()


@settings(max_examples=50)
@given(gaps=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 30)), max_size=5))
def test_gaps_are_bridged_and_nothing_else_changes(gaps):
    x = np.random.default_rng(4).standard_normal((2, 100)).astype(np.float32)
    holed = x.copy()
    for start, length in gaps:
        holed[0, start : start + length] = np.nan
    filled = fill_gaps(holed)
    assert np.isfinite(filled).all()
    known = ~np.isnan(holed)
    assert np.array_equal(filled[known], x[known])
