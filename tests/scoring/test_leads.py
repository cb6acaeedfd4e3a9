"""Hits by enumeration, chance by simulation, ranks by hand."""

from itertools import pairwise, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cldtrans.scoring.leads import aggregate, chance_hit, hit


@given(st.integers(0, 10_000))
@settings(max_examples=60)
def test_hit_by_enumerating_every_order_of_ties(seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 3, 5).astype(float)
    score[rng.random(5) < 0.2] = -np.inf
    if not np.isfinite(score).any():
        return
    truth, k = set(rng.choice(5, rng.integers(1, 3), replace=False).tolist()), int(rng.integers(1, 4))
    orders = [
        order for order in permutations(range(5)) if all(score[a] >= score[b] for a, b in pairwise(order))
    ]
    expected = np.mean([any(c in truth and np.isfinite(score[c]) for c in order[:k]) for order in orders])
    if all(not np.isfinite(score[c]) for c in truth):
        assert hit(score, truth, k) == 0
    else:
        assert hit(score, truth, k) == pytest.approx(expected)


def test_chance_by_simulation():
    rng = np.random.default_rng(0)
    for n, m, k in ((18, 1, 3), (18, 2, 5), (6, 3, 1)):
        hits = [hit(rng.random(n), set(range(m)), k) for _ in range(4000)]
        assert chance_hit(n, m, k) == pytest.approx(np.mean(hits), abs=0.03)
    assert chance_hit(18, 1, 1) == pytest.approx(1 / 18)
    assert hit(np.zeros(18), {3}, 5) == pytest.approx(5 / 18)  # no evidence scores exactly chance
    assert comb(18, 1) == 18


def test_aggregation_is_by_rank_and_silent_windows_do_not_vote():
    mask = np.ones((3, 3), dtype=bool)
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 5.0, 2.0], [1e6, 0.0, 0.0]])
    joined = aggregate(scores, mask)
    assert joined == pytest.approx([1 / 3, (0.5 + 1 + 0.25) / 3, (1 + 0.5 + 0.25) / 3])
    silent = np.vstack([scores[:2], np.zeros(3)])
    assert (np.argsort(aggregate(silent, mask)) == np.argsort(aggregate(scores[:2], mask[:2]))).all()
    mask[:, 1] = False
    assert aggregate(scores, mask)[1] == -np.inf
    with pytest.raises(ValueError, match="NaN"):
        aggregate(np.full((1, 3), np.nan), np.ones((1, 3), dtype=bool))
