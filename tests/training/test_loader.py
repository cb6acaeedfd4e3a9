"""Batches gathered ahead by threads: the same as without, whole, and never overwritten."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from toys.training import FakeShards, toy_corpora

from cldtrans.training.loader import Buffers, Loader, ShardCorpus
from cldtrans.training.sampler import MixedSampler


def take(loader: Loader, start: int, count: int) -> list:
    batches = loader.batches(start)
    try:
        return [next(batches) for _ in range(count)]
    finally:
        batches.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_deliver_what_a_single_one_gathers_in_order(workers):
    corpora = toy_corpora()
    sampler = MixedSampler([len(corpus) for corpus in corpora], 6, 4)
    plain = take(Loader(corpora, sampler, workers=0), 0, 12)
    ahead = take(Loader(corpora, sampler, workers=workers), 5, 7)
    assert [batch.step for batch in ahead] == list(range(5, 12))
    for one, two in zip(plain[5:], ahead, strict=True):
        assert (one.corpus, one.modality, one.rate_hz, one.first) == (
            two.corpus,
            two.modality,
            two.rate_hz,
            two.first,
        )
        assert torch.equal(one.x, two.x)
    assert {batch.x.shape[1] for batch in plain} == {5, 3}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_ranks_get_the_same_channels_and_their_windows():
    shards = FakeShards(40, 9, "eeg", 160.0)
    rows = np.arange(10, 40)
    corpus = ShardCorpus(
        "a", shards, rows, labels=True, choose_channels=lambda rng, c: np.sort(rng.permutation(c)[:4])
    )
    sampler = MixedSampler([len(corpus)], 8, 4)
    joint = take(Loader([corpus], sampler), 0, 5)
    ranks = [take(Loader([corpus], sampler, rank, 2), 0, 5) for rank in range(2)]
    for step, batch in enumerate(joint):
        assert batch.x.shape[1] == 4 and batch.mask.shape == (8, 4)
        assert torch.equal(batch.x, torch.cat([ranks[0][step].x, ranks[1][step].x]))
        assert torch.equal(batch.data["y"], torch.cat([ranks[0][step].data["y"], ranks[1][step].data["y"]]))
        assert batch.first == 8 * step and [batches[step].first for batches in ranks] == [
            8 * step,
            8 * step + 4,
        ]


def test_a_buffer_is_lent_again_only_when_nothing_refers_to_it():
    buffers = Buffers()
    first = buffers.lend((4, 3), np.float32)
    place = first.ctypes.data
    tensor = torch.from_numpy(first)
    part = tensor[1:]
    assert buffers.lend((4, 3), np.float32).ctypes.data != place
    del first, tensor
    assert buffers.lend((4, 3), np.float32).ctypes.data != place  # the slice still sees it
    view = part.numpy()
    del part
    other = buffers.lend((4, 3), np.float32)
    assert other.ctypes.data != place
    del view
    assert place in {buffers.lend((4, 3), np.float32).ctypes.data for other in [other]}
    assert buffers.lend((2, 3), np.float32).shape == (2, 3)


def test_kept_batches_are_not_overwritten():
    corpora = toy_corpora()
    sampler = MixedSampler([len(corpus) for corpus in corpora], 6, 4)
    kept = take(Loader(corpora, sampler, workers=2), 0, 30)
    fresh = [take(Loader(toy_corpora(), sampler, workers=0), step, 1)[0] for step in range(30)]
    assert all(torch.equal(one.x, two.x) for one, two in zip(kept, fresh, strict=True))


def test_an_error_while_gathering_reaches_the_loop():
    corpus = toy_corpora()[0]
    corpus.shards.windows = lambda rows, out: (_ for _ in ()).throw(OSError("shard-00003.npy is gone"))
    with pytest.raises(OSError, match="shard-00003"):
        take(Loader([corpus], MixedSampler([90], 4, 0), workers=2), 0, 1)
