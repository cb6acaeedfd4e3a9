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
from cldtrans.methods.random_twin import fresh_weights
from cldtrans.models import CLDTrans

BATCH = 16
START_WINDOWS = 128  # from which a twin's codebook starts


def batches(model: CLDTrans, windows: ShardSet) -> Iterator[np.ndarray]:
    """Yield the pooled vectors, float32 [n, F], of all windows in the order of the index."""
    for start in range(0, len(windows), BATCH):
        rows = np.arange(start, min(len(windows), start + BATCH))
        x, mask = windows.signals(rows), windows.mask(rows)
        out = model.read(x, windows.rate_hz, mask, windows.modality, positions=windows.channels)
        yield out.pooled.float().numpy()


def extract_features(
    checkpoint: Path, shards: Path, output: Path, threads: int, twin_seed: int | None = None
) -> None:
    """Write `features` float32 [n_windows, F], a batch at a time, and their `blocks` to an .npz file.

    Parameters
    ----------
    checkpoint : Path
        Folder of the model.
    shards : Path
        The windows.
    output : Path
        The file.
    threads : int
        torch's; part of the result's last bits.
    twin_seed : int, optional
        Adds `twin`, the same of a network with fresh weights of this seed, whose codebook starts from
        windows of this dataset, all subjects, without labels: that favours it, if anything.
    """
    torch.set_num_threads(threads)
    model = CLDTrans.from_pretrained(str(checkpoint)).to(best_device()).eval()
    windows = ShardSet(shards)
    models = {"features": model}
    if twin_seed is not None and len(windows):
        models["twin"] = fresh_weights(model, _spread(windows), windows.rate_hz, windows.modality, twin_seed)
    with atomic_path(output) as path, zipfile.ZipFile(path, "w") as archive:
        for name, one in models.items():
            with archive.open(_entry(name), "w", force_zip64=True) as file:
                _header(file, (len(windows), one.n_features(windows.modality)))
                total = -(-len(windows) // BATCH)
                for part in tqdm(batches(one, windows), total=total, desc=name, disable=None):
                    file.write(np.ascontiguousarray(part).tobytes())
        with archive.open(_entry("blocks"), "w") as file:
            np.lib.format.write_array(file, np.array(model.shares(windows.modality), dtype="<f8"))


def _spread(windows: ShardSet) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield signals and masks of windows spread evenly over the index."""
    rows = np.linspace(0, len(windows) - 1, min(len(windows), START_WINDOWS)).round().astype(int)
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        yield windows.signals(part), windows.mask(part)


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))  # equal content, equal bytes


def _header(file: object, shape: tuple[int, int]) -> None:
    description = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)  # type: ignore[arg-type]
