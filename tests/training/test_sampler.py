"""Batches drawn from corpora: every window once an epoch, in proportion, the same after any restart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cldtrans.training.sampler import BLOCK_STEPS, MixedSampler, rank_share


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    batch_size=st.integers(1, 30),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40)
def test_every_epoch_sees_every_window_once(sizes, batch_size, seed):
    sampler = MixedSampler(sizes, batch_size, seed)
    streams: dict[int, list[int]] = {}
    for step in range(60):
        draw = sampler.draw(step)
        assert len(draw.rows) == batch_size
        streams.setdefault(draw.corpus, []).extend(draw.rows.tolist())
    for corpus, stream in streams.items():
        size = sizes[corpus]
        for start in range(0, len(stream) - size + 1, size):
            assert sorted(stream[start : start + size]) == list(range(size))


@given(step=st.integers(0, 5 * BLOCK_STEPS), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_a_step_is_drawn_the_same_whatever_came_before(step, seed):
    fresh, used = MixedSampler([50, 7], 8, seed), MixedSampler([50, 7], 8, seed)
    for other in (0, step + 1, step + 1500):
        used.draw(other)
    assert fresh.draw(step).corpus == used.draw(step).corpus
    np.testing.assert_array_equal(fresh.draw(step).rows, used.draw(step).rows)


def test_corpora_are_mixed_in_proportion_even_in_short_runs():
    sampler = MixedSampler([10, 10, 10], 4, 3, weights=[0.6, 0.4, 0.0])
    corpora = np.array([sampler.draw(step).corpus for step in range(BLOCK_STEPS)])
    assert np.bincount(corpora, minlength=3).tolist() == [600, 400, 0]
    assert 10 <= np.count_nonzero(corpora[:20] == 0) <= 14
    by_size = MixedSampler([999_000, 10], 4, 3)
    counts = np.bincount([by_size.draw(step).corpus for step in range(BLOCK_STEPS)])
    assert counts.tolist() == [999, 1]  # a corpus that takes part is never rounded away


def test_seeds_and_epochs_differ():
    draws = [MixedSampler([64], 64, seed).draw(step).rows for seed in (1, 2) for step in (0, 1)]
    assert all((draws[i] != draws[j]).any() for i in range(4) for j in range(i))


@pytest.mark.parametrize("sizes, weights", [([5, 0], None), ([], None), ([5], [0.0]), ([5, 5], [1.0])])
def test_impossible_mixtures_are_refused(sizes, weights):
    with pytest.raises(ValueError, match=r"corpus needs|weights must"):
        MixedSampler(sizes, 4, 0, weights)


def test_ranks_share_the_global_batch():
    rows = np.arange(12)
    np.testing.assert_array_equal(np.concatenate([rank_share(rows, rank, 3) for rank in range(3)]), rows)
    with pytest.raises(ValueError, match="12 windows cannot be divided among 5"):
        rank_share(rows, 0, 5)
