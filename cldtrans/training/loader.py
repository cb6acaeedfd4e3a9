"""Batches of windows from memory-mapped shards, gathered ahead of the training step by threads.

Threads, not processes: gathering is a copy of mapped pages, which releases the interpreter lock; nothing is
forked, so no memory map is shared across processes and no batch is sent through a pipe.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cldtrans.data.montages.places import places
from cldtrans.training.sampler import MixedSampler, rank_share

MAX_FREE_BUFFERS = 8  # of a corpus


class Corpus(Protocol):
    """What batches can be drawn from: shards, or a simulator that makes window `row` from its number."""

    name: str
    modality: str
    rate_hz: float

    def __len__(self) -> int: ...

    def load(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Make arrays of windows.

        Parameters
        ----------
        rows : array [B] of int
            Which windows.
        rng : Generator
            The same on every rank (one a step): use it for what all windows share, such as a subset of
            channels. What belongs to one window must follow from its row, or batches would depend on the
            ranks.

        Returns
        -------
        dict of arrays
            At least `x` float [B, C, T] and `mask` bool [B, C].
        """
        ...


@dataclass
class Batch:
    """Windows of one corpus, or a micro-batch of them."""

    step: int
    corpus: str
    modality: str
    rate_hz: float
    data: dict[str, Tensor] = field(repr=False)
    first: int = 0  # number of its first window, counted over all ranks and steps

    @property
    def x(self) -> Tensor:
        """Windows, float [B, C, T]."""
        return self.data["x"]

    @property
    def mask(self) -> Tensor:
        """Valid channels, bool [B, C]."""
        return self.data["mask"]

    @property
    def places(self) -> Tensor | None:
        """Where channels lie, [B, C, 3], NaN: unknown; None: all are."""
        return self.data.get("places")

    def __len__(self) -> int:
        return len(self.data["x"])

    def to(self, device: torch.device, dtype: torch.dtype) -> Batch:
        """Return the batch on `device`, its floating-point arrays as `dtype`."""
        moved = {
            key: value.to(device, dtype if value.is_floating_point() else None, non_blocking=True)
            for key, value in self.data.items()
        }
        return replace(self, data=moved)

    def split(self, size: int) -> Iterator[Batch]:
        """Yield micro-batches of at most `size` windows, in order."""
        for start in range(0, len(self), size):
            part = {key: value[start : start + size] for key, value in self.data.items()}
            yield replace(self, data=part, first=self.first + start)


class Buffers:
    """Arrays to gather into, lent again once nobody else refers to them.

    Fresh memory has to be cleared by the system, which costs as much as the copy into it. A tensor made by
    `torch.from_numpy` and its slices hold a reference to the array, so the count tells when they are gone.
    """

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = [np.empty(0)]
        self._lock = threading.Lock()
        self._unshared = self._counts()[0]

    def lend(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Lend an uninitialised array that is in no other use."""
        with self._lock:
            for position, count in enumerate(self._counts()):
                found = self._arrays[position]
                if count == self._unshared and found.shape == shape and found.dtype == dtype:
                    return found
            array: np.ndarray = np.empty(shape, dtype)
            free = [i for i, count in enumerate(self._counts()) if count == self._unshared]
            if len(free) > MAX_FREE_BUFFERS:
                del self._arrays[free[0]]
            self._arrays.append(array)
            return array

    def _counts(self) -> list[int]:
        return [sys.getrefcount(self._arrays[i]) for i in range(len(self._arrays))]


class ShardCorpus:
    """Some windows of one dataset's shards.

    Parameters
    ----------
    name : str
        Of the dataset, for logs.
    shards : ShardSet
        As in `cldtrans.data.shards`.
    rows : array [N] of int
        Positions in `shards.index` to draw from.
    labels : bool
        Add `y` from `shards.labels`.
    choose_channels : callable, optional
        rng, C -> sorted channel numbers to keep in this step's batch; default: all.
    """

    def __init__(
        self,
        name: str,
        shards: Any,
        rows: np.ndarray,
        labels: bool = False,
        choose_channels: Callable[[np.random.Generator, int], np.ndarray] | None = None,
    ):
        self.name, self.shards, self.rows = name, shards, np.asarray(rows, dtype=np.int64)
        self.modality, self.rate_hz = str(shards.modality), float(shards.rate_hz)
        self.labels, self.choose_channels = labels, choose_channels
        self._shape = tuple(shards.windows(self.rows[:1]).shape[1:])
        self._places = places(shards.channels, self.modality).astype(np.float32)
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Gather `x`, `mask`, the channels' `places` [B, C, 3] and, where asked for, `y`."""
        chosen = self.rows[rows]
        x = self._buffers.lend((len(rows), *self._shape), np.float32)
        arrays = {"x": self.shards.windows(chosen, out=x), "mask": self.shards.mask(chosen)}
        if self.labels:
            arrays["y"] = self.shards.labels(chosen)
        there = self._places
        if self.choose_channels is not None:
            channels = self.choose_channels(rng, arrays["x"].shape[1])
            arrays["x"], arrays["mask"] = arrays["x"][:, channels], arrays["mask"][:, channels]
            there = there[channels]
        arrays["places"] = np.broadcast_to(there, (len(rows), *there.shape))
        return arrays


class Loader:
    """One rank's share of the global batches from a given step on, in order, for ever.

    Parameters
    ----------
    corpora : sequence of Corpus
        As many as the sampler has sizes.
    sampler : MixedSampler
        Chooses corpus and rows of each step.
    rank, world_size : int
        Which share of each global batch is loaded.
    workers : int
        Threads that gather ahead; 0 gathers on demand.
    pin : bool
        Copy to page-locked memory, for transfers to a GPU.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        sampler: MixedSampler,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 1,
        pin: bool = False,
    ):
        self.corpora, self.sampler = list(corpora), sampler
        self.rank, self.world_size = rank, world_size
        self.workers, self.pin = workers, pin

    def batches(self, start_step: int) -> Generator[Batch, None, None]:
        """Yield batches of the steps `start_step, start_step + 1, ...`.

        To close the iterator stops the threads.
        """
        steps = itertools.count(start_step)
        if self.workers == 0:
            for step in steps:
                yield self._load(*self._draw(step))
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        try:  # one batch a thread is ahead, no more: the fewer buffers, the more of them stay in the cache
            ahead = deque(pool.submit(self._load, *self._draw(next(steps))) for _ in range(self.workers))
            while True:
                batch = ahead.popleft().result()
                ahead.append(pool.submit(self._load, *self._draw(next(steps))))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _draw(self, step: int) -> tuple[int, int, np.ndarray]:
        """Draw in the calling thread: the sampler keeps the current epoch's order and is not locked."""
        draw = self.sampler.draw(step)
        return step, draw.corpus, rank_share(draw.rows, self.rank, self.world_size)

    def _load(self, step: int, number: int, rows: np.ndarray) -> Batch:
        corpus = self.corpora[number]
        arrays = corpus.load(rows, np.random.default_rng([self.sampler.seed, 2, step]))
        data = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays.items()}
        if self.pin:
            data = {key: value.pin_memory() for key, value in data.items()}
        first = (step * self.world_size + self.rank) * len(rows)
        return Batch(step, corpus.name, corpus.modality, corpus.rate_hz, data, first)
