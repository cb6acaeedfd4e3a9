"""Windows of shards as torch and braindecode hand them on: items, metadata, and divisions by a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset

from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import load_split, split_rows
from cldtrans.errors import DataError, suggestion


class WindowsDataset(Dataset):
    """Windows with targets and places, indexed as a dataset of braindecode is.

    An item is `(x, y, (number, first, end))`: x [C, T] float32 in microvolts or millivolts, y the class (of a
    multilabel task 0 or 1 of each), -1 where there is no label; the window's number in its recording, and the
    samples between which it lies.

    Parameters
    ----------
    shards : ShardSet or path
        As preprocessing wrote them.
    rows : array [n] of int, optional
        Positions in the index; default: all.
    """

    def __init__(self, shards: ShardSet | str | Path, rows: np.ndarray | None = None) -> None:
        self.shards = shards if isinstance(shards, ShardSet) else ShardSet(shards)
        self.rows = np.arange(len(self.shards)) if rows is None else np.asarray(rows, dtype=np.int64)
        index = self.shards.index
        start = (index["start_s"] * self.shards.rate_hz).round().astype(int)
        self._first = start.to_numpy()
        self._number = index.groupby("recording", sort=False).cumcount().to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[np.ndarray, Any, tuple[int, int, int]]:
        row = int(self.rows[item])
        x, y = self.shards[row]
        first = int(self._first[row])
        return x, y, (int(self._number[row]), first, first + self.shards.n_samples)

    @property
    def description(self) -> pd.DataFrame:
        """One row a recording: subject, recording, and what else its windows have in common."""
        table = self.shards.index.iloc[self.rows]
        common = [name for name in table if table.groupby("recording")[name].nunique().le(1).all()]
        kept = [name for name in common if name not in ("shard", "row", "start_s", "kind", "event")]
        return table[kept].drop_duplicates("recording").reset_index(drop=True)

    def get_metadata(self) -> pd.DataFrame:
        """One row a window: target, number in its recording, first and last sample + 1, and the index."""
        table = self.shards.index.iloc[self.rows].reset_index(drop=True)
        first = self._first[self.rows]
        places = {
            "i_window_in_trial": self._number[self.rows],
            "i_start_in_trial": first,
            "i_stop_in_trial": first + self.shards.n_samples,
        }
        known = {"target": table["label"]} if "label" in table else {}
        return pd.DataFrame({**places, **known}).join(table)

    def split(self, by: str | Path | Mapping[str, Sequence[int]]) -> dict[str, WindowsDataset]:
        """Divide the windows.

        Parameters
        ----------
        by : str, path or mapping
            A column of the index, such as "subject"; a division of subjects (csv), as every method here
            shares it: parts "train", "val", "test"; or positions of windows by name.

        Raises
        ------
        DataError
            Where there is no such column or file.
        """
        if isinstance(by, Mapping):
            return {str(name): self._part(self.rows[np.asarray(rows)]) for name, rows in by.items()}
        if str(by) in self.shards.index:
            values = self.shards.index[str(by)].to_numpy()[self.rows].astype(str)
            return {name: self._part(self.rows[values == name]) for name in sorted(set(values))}
        if not Path(by).is_file():
            raise DataError(f"no column and no file {str(by)!r}{suggestion(str(by), self.shards.index)}")
        divided = load_split(by)
        parts = {name: split_rows(self.shards, divided, name) for name in ("train", "val", "test")}
        return {name: self._part(rows[np.isin(rows, self.rows)]) for name, rows in parts.items()}

    def _part(self, rows: np.ndarray) -> WindowsDataset:
        return WindowsDataset(self.shards, rows)
