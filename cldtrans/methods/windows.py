"""Labelled windows, and classifiers that predict from them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np


class LabelledWindows:
    """Rows of a shard set, read on demand.

    Parameters
    ----------
    shards : ShardSet
        As in `cldtrans.data.shards`.
    rows : array [n] of int
        Positions in its index.
    features : array [all windows of the shard set, F] of float32, optional
        From a pretrained model, aligned with the index.
    blocks : sequence of (int, float), optional
        Width and share of each block of the features, as a `LinearProbe` takes them; default: one block.
    twin : array [all windows of the shard set, F] of float32, optional
        The same features from fresh weights.

    Attributes
    ----------
    y : array [n] of int, or [n, K]
        Class indices; of a multilabel task 1, 0, -1 (not labelled).
    subjects : array [n] of str
        Whose windows they are.
    rate_hz : float
        Sampling rate, hertz.
    channels : tuple of str
        Names of the C channels.
    """

    def __init__(
        self,
        shards: Any,
        rows: np.ndarray,
        features: np.ndarray | None = None,
        blocks: Sequence[tuple[int, float]] | None = None,
        twin: np.ndarray | None = None,
    ) -> None:
        self.shards, self._features = shards, features
        self.blocks, self._twin = blocks, twin
        self.rate_hz, self.channels = float(shards.rate_hz), tuple(shards.channels)
        self._choose(rows)

    def of_rows(self, rows: np.ndarray) -> LabelledWindows:
        """Return other rows of the same shard set, read alike: the context of windows, labelled or not."""
        other = copy.copy(self)
        other._choose(rows)
        return other

    def _choose(self, rows: np.ndarray) -> None:
        self.rows = np.asarray(rows, dtype=np.int64)
        self.y: np.ndarray = np.asarray(self.shards.labels(self.rows))
        self.subjects: np.ndarray = self.shards.index["subject"].to_numpy()[self.rows].astype(str)

    def __len__(self) -> int:
        return len(self.rows)

    def x(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Read standardised signals, float32 [n, C, T], of all or `which` of the windows."""
        return self.shards.windows(self.rows[which])

    def signals(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Read the same in microvolts (EEG) or millivolts (ECG)."""
        return self.x(which) * self.shards.scales(self.rows[which])[..., None]

    def mask(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return the valid channels, bool [n, C], of all or `which` of the windows."""
        return self.shards.mask(self.rows[which])

    @property
    def features(self) -> np.ndarray:
        """Features of the windows, float32 [n, F]."""
        if self._features is None:
            raise ValueError("these windows were opened without features")
        return self._features[self.rows]

    @property
    def twin_features(self) -> np.ndarray | None:
        """Features of the windows from fresh weights, float32 [n, F]; None where there are none."""
        return None if self._twin is None else self._twin[self.rows]

    @property
    def n_subjects(self) -> int:
        """Number of subjects."""
        return len(np.unique(self.subjects))


def in_batches(n: int, size: int) -> Iterator[slice]:
    """Cut `n` rows into slices of `size`, of which the last may be shorter."""
    return (slice(first, first + size) for first in range(0, n, size))


def of_equal_count(background: Sequence[np.ndarray] | None, n: int, size: int) -> Iterator[np.ndarray]:
    """Yield the positions of at most `size` of `n` windows that have equally many windows of background."""
    counts = np.zeros(n, dtype=int) if background is None else np.array([len(one) for one in background])
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        yield from (rows[part] for part in in_batches(len(rows), size))


class NoTwin(Exception):
    """A method has no random twin here; the message is the reason that the tables give."""


class Classifier(Protocol):
    """What a ``classifier`` factory of the config returns; nothing else is needed.

    `parameters` (their number), `nfe`, `device` and `notes` are written to results where it has them.
    """

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit on training windows; validation windows choose penalties and when to stop."""
        ...

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict.

        Parameters
        ----------
        windows : LabelledWindows
            n windows, whose labels are not looked at.

        Returns
        -------
        array [n, K]
            Probabilities; the last column of a binary task is its positive class.
        """
        ...


def counts(train: LabelledWindows, val: LabelledWindows, test: LabelledWindows) -> dict[str, Any]:
    """Count windows and subjects a split: `n` of a result file."""
    parts = {"train": train, "val": val, "test": test}
    return {
        **{name: len(part) for name, part in parts.items()},
        "subjects": {name: part.n_subjects for name, part in parts.items()},
    }
