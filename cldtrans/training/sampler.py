"""Which windows make up step s: a pure function of (seed, s), so that resuming needs no sampler state.

Every batch comes from one corpus (corpora differ in channels, length and rate). The corpora are interleaved
in fixed proportions; within a corpus every window is seen once an epoch, in a new seeded order each epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCK_STEPS = 1000  # corpus proportions are exact over blocks of this many steps


@dataclass(frozen=True)
class Draw:
    """The global batch of one step."""

    step: int
    corpus: int  # position in the list of corpora
    rows: np.ndarray  # int64 [B], positions within that corpus


class MixedSampler:
    """Infinite stream of global batches over several corpora, with random access by step.

    Parameters
    ----------
    sizes : sequence of int
        Windows of each corpus, all > 0.
    batch_size : int
        B, windows of the global batch (all ranks together).
    seed : int
        Of the whole stream.
    weights : sequence of float, optional
        Share of steps of each corpus; default: proportional to `sizes`. A corpus with a positive weight
        gets at least one batch in `BLOCK_STEPS`.
    """

    def __init__(
        self, sizes: Sequence[int], batch_size: int, seed: int, weights: Sequence[float] | None = None
    ):
        if not sizes or min(sizes) < 1:
            raise ValueError(f"every corpus needs at least one window, got sizes {list(sizes)}")
        shares = np.asarray(sizes if weights is None else weights, dtype=np.float64)
        if (
            len(shares) != len(sizes)
            or not np.all(np.isfinite(shares))
            or shares.min() < 0
            or shares.sum() <= 0
        ):
            raise ValueError(
                f"weights must be {len(sizes)} non-negative numbers, not all zero; got {weights}"
            )
        self.sizes = [int(size) for size in sizes]
        self.batch_size = int(batch_size)
        self.seed = int(seed)
        self._block_counts = _largest_remainder(shares / shares.sum(), BLOCK_STEPS)
        self._block: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def draw(self, step: int) -> Draw:
        """Draw corpus and rows of the global batch of `step` (0-based)."""
        block, offset = divmod(step, BLOCK_STEPS)
        order = self._block_order(block)
        corpus = int(order[offset])
        before = block * int(self._block_counts[corpus]) + int(np.count_nonzero(order[:offset] == corpus))
        return Draw(step, corpus, self._stream(corpus, before * self.batch_size, self.batch_size))

    def _block_order(self, block: int) -> np.ndarray:
        """Return the corpus of each step of a block.

        They are evenly spread with seeded jitter, so short runs are mixed too.
        """
        if self._block[0] != block:
            rng = np.random.default_rng([self.seed, 0, block])
            labels = np.repeat(np.arange(len(self.sizes)), self._block_counts)
            times = np.concatenate([(np.arange(n) + rng.random(n)) / max(n, 1) for n in self._block_counts])
            self._block = (block, labels[np.argsort(times, kind="stable")])
        return self._block[1]

    def _stream(self, corpus: int, start: int, count: int) -> np.ndarray:
        """Return rows `start .. start + count` of a corpus's endless sequence of shuffled epochs."""
        size, parts = self.sizes[corpus], []
        while count > 0:
            epoch, offset = divmod(start, size)
            part = self._epoch_order(corpus, epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts)

    def _epoch_order(self, corpus: int, epoch: int) -> np.ndarray:
        cached = self._orders.get(corpus)
        if cached is None or cached[0] != epoch:
            order = np.random.default_rng([self.seed, 1, corpus, epoch]).permutation(self.sizes[corpus])
            cached = self._orders[corpus] = (epoch, order)
        return cached[1]


def rank_share(rows: np.ndarray, rank: int, world_size: int) -> np.ndarray:
    """Return the part of a global batch that one rank computes; the ranks in order give the batch back."""
    if len(rows) % world_size:
        raise ValueError(f"global batch of {len(rows)} windows cannot be divided among {world_size} ranks")
    local = len(rows) // world_size
    return rows[rank * local : (rank + 1) * local]


def _largest_remainder(shares: np.ndarray, total: int) -> np.ndarray:
    """Return integers that sum to `total`, nearest to shares * total; a positive share gets at least 1."""
    exact = shares * total
    counts = np.where(shares > 0, np.maximum(np.floor(exact), 1), 0).astype(np.int64)
    while counts.sum() != total:
        if counts.sum() < total:
            counts[np.argmax(np.where(shares > 0, exact - counts, -np.inf))] += 1
        else:
            counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return counts
