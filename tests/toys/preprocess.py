"""A dataset made up on reading, and how to turn it into shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cldtrans.config import DatasetConfig
from cldtrans.data.base import Dataset, Signal, Task
from cldtrans.data.preprocess import preprocess_batch
from cldtrans.data.shards import ShardSet, merge_parts
from cldtrans.errors import DataError

EEG = (0.5, 40.0)
OK = {"status": "ok", "reason": None, "checksums_sha256": "0" * 64, "selection": None}


def settings_of(**changes) -> DatasetConfig:
    plain = {
        "window_s": 10,
        "stride_s": 10,
        "rate_hz": 160,
        "band_hz": EEG,
        "scale": "recording",
        "dtype": "float32",
        "shards": 4,
        "batches": 1,
        "onset_windows": 0,
        "subjects": None,
        "records": None,
        "glob": None,
    }
    return DatasetConfig(**{**plain, **changes})


def build(dataset: Dataset, raw: Path, chosen: DatasetConfig, folder: Path, stamp=OK) -> ShardSet:
    for batch in range(chosen.batches):
        preprocess_batch(dataset, raw, chosen, batch, folder, stamp, progress=False)
    merge_parts(dataset, chosen, folder)
    return ShardSet(folder)


class Synthetic(Dataset):
    """Noise with a few faults, made up on reading."""

    name = "synthetic"
    slug = "synthetic"
    version = "1"
    doi = ""
    licence = ""
    modality = "eeg"
    channels = ("A", "B", "C", "D")
    task = Task("seizure", "binary", ("no", "yes"))
    has_events = True

    def __init__(self, n: int = 12, duration_s: float = 65.0) -> None:
        self.n, self.duration_s = n, duration_s

    def recordings(self, root: Path) -> pd.DataFrame:
        k = np.arange(self.n)
        return pd.DataFrame(
            {
                "recording": [f"r{i:04d}" for i in k],
                "subject": [f"s{i // 2:03d}" for i in k],
                "path": [f"r{i:04d}" for i in k],
                "fold": 0,
            }
        )

    def read(self, root: Path, row) -> Signal:
        k = int(row.recording[1:])
        if k % 7 == 5:
            raise DataError(f"{root}/{row.path}: broken on purpose")
        if k % 7 == 6:
            raise IndexError("a reader stumbled")
        rng = np.random.default_rng(k)
        x = 30 * rng.standard_normal((4, int(self.duration_s * 256))).astype(np.float32)
        x[1, 256 * 12 : 256 * 13] = np.nan
        x[2, 256 * 20 : 256 * 30] = 7.0
        x[0, 256 * 41 : 256 * 42] = np.nanmax(x[0])
        return Signal(x, 256.0, np.array([True, True, True, k % 2 == 0]))

    def label_windows(self, root, row, start_s, window_s):
        return {"label": (start_s >= 30).astype(np.int16)}

    def events(self, root, row):
        return [(33.0, 45.0)] if self.duration_s > 45 else []
