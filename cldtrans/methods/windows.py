"""Labelled windows, and classifiers that predict from them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class LabelledWindows:
    """Rows of a shard set, read on demand.

    Parameters
    ----------
    shards
        A ShardSet (`cldtrans.data.shards`).
    rows
        Positions in its index.
    features
        float32 [all windows of the shard set, F] from a pretrained model, aligned with the index; optional.
    """

    def __init__(self, shards: Any, rows: np.ndarray, features: np.ndarray | None = None) -> None:
        self.shards, self.rows, self._features = shards, np.asarray(rows, dtype=np.int64), features
        self.y: np.ndarray = np.asarray(shards.labels(self.rows))  # int [n], or [n, K] with 1, 0, -1
        self.subjects: np.ndarray = shards.index["subject"].to_numpy()[self.rows].astype(str)
        self.rate_hz, self.channels = float(shards.rate_hz), tuple(shards.channels)

    def __len__(self) -> int:
        return len(self.rows)

    def x(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Signals, float32 [n, C, T]."""
        return self.shards.windows(self.rows[which])

    def mask(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Valid channels, bool [n, C]."""
        return self.shards.mask(self.rows[which])

    @property
    def features(self) -> np.ndarray:
        """float32 [n, F]."""
        if self._features is None:
            raise ValueError("these windows were opened without features")
        return self._features[self.rows]

    @property
    def n_subjects(self) -> int:
        return len(np.unique(self.subjects))


class Classifier(Protocol):
    """What a ``classifier`` factory of the config returns."""

    @property
    def parameters(self) -> int | None: ...

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None: ...

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Probabilities float [n, K]; the last column of a binary task is its positive class."""
        ...


def counts(train: LabelledWindows, val: LabelledWindows, test: LabelledWindows) -> dict[str, Any]:
    """`n` of a result file: windows and subjects a split."""
    parts = {"train": train, "val": val, "test": test}
    return {
        **{name: len(part) for name, part in parts.items()},
        "subjects": {name: part.n_subjects for name, part in parts.items()},
    }
