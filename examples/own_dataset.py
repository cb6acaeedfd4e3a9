"""A dataset of one's own, from files to windows: what `Dataset` asks for, and what comes out.

python examples/own_dataset.py [folder]    (the workflow finds it in cldtrans/data/: docs/extending.md)
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cldtrans.config import DatasetConfig
from cldtrans.data.base import Dataset, Signal, Task, recording_table
from cldtrans.data.preprocess import preprocess_batch
from cldtrans.data.shards import ShardSet, merge_parts


class Tapping(Dataset):
    """Two channels at 100 Hz, one file a recording; subjects tap a finger, or rest."""

    name, title, slug, version, doi, licence = "tapping", "Tapping", "tapping", "1.0", "", "CC0-1.0"
    modality, channels = "eeg", ("C3", "C4")
    task = Task("tapping", "binary", ("rest", "tap"))

    def recordings(self, root: Path) -> pd.DataFrame:
        """List one row a file."""
        files = sorted(self.folder(root).glob("*.npy"))
        subjects = [file.stem.split("_")[0] for file in files]
        paths = [file.relative_to(root).as_posix() for file in files]
        return recording_table({"recording": [f.stem for f in files], "subject": subjects, "path": paths})

    def read(self, root: Path, row: Any) -> Signal:
        """Read two channels in microvolts."""
        data = np.load(self.locate(root, row.path)).astype(np.float32)  # [C, T] in microvolts
        return Signal(data, rate_hz=100.0, mask=np.array([True, True]))

    def label_windows(self, root: Path, row: Any, start_s: np.ndarray, window_s: float) -> dict:
        """Label all windows of a recording alike."""
        return {"label": np.full(len(start_s), "tap" in row.recording, dtype=self.task.dtype)}


def main(folder: Path) -> None:
    """Write four recordings, make windows of them and print their number."""
    dataset, raw = Tapping(), folder / "raw"
    dataset.folder(raw).mkdir(parents=True, exist_ok=True)
    for name in ("s1_rest", "s1_tap", "s2_rest", "s2_tap"):
        np.save(dataset.folder(raw) / f"{name}.npy", 20 * np.random.default_rng(0).standard_normal((2, 6000)))

    settings = DatasetConfig(
        window_s=10, stride_s=10, rate_hz=160, band_hz=(0.5, 40), scale="recording", dtype="float32",
        shards=1, batches=1, onset_windows=0, subjects=None, records=None, glob=None,
    )  # fmt: skip
    preprocess_batch(dataset, raw, settings, 0, folder / "shards", {"status": "ok"}, progress=False)
    merge_parts(dataset, settings, folder / "shards")

    windows = ShardSet(folder / "shards")
    print(windows.index.groupby(["subject", "recording", "label"]).size().rename("windows").reset_index())
    print("signals [n, C, T]:", windows.windows(np.arange(len(windows))).shape)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dataset-example"))
