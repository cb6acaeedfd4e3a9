"""Features of every window from one pretrained model, for linear probes that need no torch.

The first columns are the model's pooled vector (`CLDTrans.n_features` of them), which no order of channels
changes and which the model's own task heads use. Behind them stand the channels' own pooled vectors in the
dataset's order: a probe may use which lead is which. Where these would be more than `CHANNEL_COLUMNS`, each
is projected to fewer numbers by a fixed random matrix.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cldtrans.data.shards import ShardSet
from cldtrans.files import atomic_path
from cldtrans.machine import best_device
from cldtrans.models import CLDTrans
from cldtrans.models.cldtrans import Output

BATCH = 16
CHANNEL_COLUMNS = 3072


def features_of(out: Output, mask: Tensor) -> Tensor:
    """Join the pooled vector and the channels' vectors, one after another (masked ones: zeros): [B, F]."""
    n_channels, width = out.channels.shape[1:]
    columns = torch.where(mask[..., None], out.channels, 0.0)
    most = max(1, CHANNEL_COLUMNS // n_channels)
    if width > most:
        generator = torch.Generator().manual_seed(0)
        matrix = torch.randn(width, most, generator=generator, dtype=torch.float64) / width**0.5
        columns = columns @ matrix.to(columns)
    return torch.cat([out.pooled, columns.flatten(1)], 1)


def batches(model: CLDTrans, windows: ShardSet) -> Iterator[np.ndarray]:
    """Yield the features, float32 [n, F], of all windows in the order of the index."""
    for start in range(0, len(windows), BATCH):
        rows = np.arange(start, min(len(windows), start + BATCH))
        mask = windows.mask(rows)
        out = model.read(windows.windows(rows), windows.rate_hz, mask, windows.modality)
        yield features_of(out, torch.from_numpy(mask)).float().numpy()


def extract_features(checkpoint: Path, shards: Path, output: Path, threads: int) -> None:
    """Write `features` float32 [n_windows, F] to an .npz file, a batch at a time."""
    torch.set_num_threads(threads)
    model = CLDTrans.from_pretrained(str(checkpoint)).to(best_device()).eval()
    windows = ShardSet(shards)
    with atomic_path(output) as path, zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("features.npy", date_time=(1980, 1, 1, 0, 0, 0))  # equal content, equal bytes
        with archive.open(entry, "w", force_zip64=True) as file:
            width = model.n_features
            for number, part in enumerate(
                tqdm(batches(model, windows), total=-(-len(windows) // BATCH), desc="features", disable=None)
            ):
                width = part.shape[1]
                if number == 0:
                    _header(file, (len(windows), width))
                file.write(np.ascontiguousarray(part).tobytes())
            if not len(windows):
                _header(file, (0, width))


def _header(file: object, shape: tuple[int, int]) -> None:
    description = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)  # type: ignore[arg-type]
