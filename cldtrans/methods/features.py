"""Pooled vectors of every window from one pretrained model, for linear probes that need no torch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from cldtrans.data.shards import ShardSet
from cldtrans.files import atomic_path
from cldtrans.machine import best_device
from cldtrans.models import CLDTrans

BATCH = 16


def batches(model: CLDTrans, windows: ShardSet) -> Iterator[np.ndarray]:
    """Yield the pooled vectors, float32 [n, F], of all windows in the order of the index."""
    for start in range(0, len(windows), BATCH):
        rows = np.arange(start, min(len(windows), start + BATCH))
        x, mask = windows.signals(rows), windows.mask(rows)
        out = model.read(x, windows.rate_hz, mask, windows.modality, positions=windows.channels)
        yield out.pooled.float().numpy()


def extract_features(checkpoint: Path, shards: Path, output: Path, threads: int) -> None:
    """Write `features` float32 [n_windows, F], a batch at a time, and their `blocks` to an .npz file."""
    torch.set_num_threads(threads)
    model = CLDTrans.from_pretrained(str(checkpoint)).to(best_device()).eval()
    windows = ShardSet(shards)
    with atomic_path(output) as path, zipfile.ZipFile(path, "w") as archive:
        with archive.open(_entry("features"), "w", force_zip64=True) as file:
            _header(file, (len(windows), model.n_features(windows.modality)))
            total = -(-len(windows) // BATCH)
            for part in tqdm(batches(model, windows), total=total, desc="features", disable=None):
                file.write(np.ascontiguousarray(part).tobytes())
        with archive.open(_entry("blocks"), "w") as file:
            np.lib.format.write_array(file, np.array(model.shares(windows.modality), dtype="<f8"))


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))  # equal content, equal bytes


def _header(file: object, shape: tuple[int, int]) -> None:
    description = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)  # type: ignore[arg-type]
