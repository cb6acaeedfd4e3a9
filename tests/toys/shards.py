"""Shard folders with known content, for tests of what comes after preprocessing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from toys.paths import PROJECT

from cldtrans.config import Config, resolve

CONFIG = PROJECT / "config"
SCALE = 20.0  # microvolts or millivolts that one unit of the windows stands for


def paper_config(**changes: Any) -> Config:
    """The paper's config with sections changed: `section={"key": value}`."""
    config = resolve([*sorted((CONFIG / "datasets").glob("*.yaml")), CONFIG / "config.yaml"])
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=new) for name, new in changes.items()}
    )


def write_shards(
    folder: Path,
    x: np.ndarray,
    index: pd.DataFrame,
    *,
    channels: tuple[str, ...],
    sample_rate: float,
    task: dict[str, Any] | None,
    modality: str = "eeg",
    mask: np.ndarray | None = None,
    dataset: str = "toy",
    reason: str | None = None,
) -> Path:
    """Windows x [n, C, T] and one index row each (subject, recording, labels, ...) as one shard."""
    folder.mkdir(parents=True)
    np.save(folder / "shard-00000.npy", x.astype(np.float32))
    mask = np.ones(x.shape[:2], dtype=bool) if mask is None else mask
    (folder / "scales").mkdir()
    np.save(folder / "scales/shard-00000.npy", np.where(mask, SCALE, 0).astype(np.float32))
    bits = (mask.astype(np.uint64) << np.arange(x.shape[1], dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    window_s = x.shape[-1] / sample_rate
    defaults = {
        "shard": np.zeros(len(x), dtype=np.int32),
        "row": np.arange(len(x), dtype=np.int32),
        "start_s": np.arange(len(x)) * window_s,
        "kind": "grid",
        "event": np.full(len(x), -1, dtype=np.int16),
        "fold": np.zeros(len(x), dtype=np.int16),
        "channel_mask": bits,
        **{name: np.zeros(len(x), dtype=np.uint8) for name in ("flat", "clipped", "nan", "missing")},
    }
    table = pd.DataFrame({**defaults, **{name: index[name].to_numpy() for name in index}})
    table.to_parquet(folder / "index.parquet")
    meta = {
        "dataset": dataset,
        "modality": modality,
        "channels": list(channels),
        "rate_hz": sample_rate,
        "window_s": window_s,
        "stride_s": window_s,
        "n_samples": x.shape[-1],
        "scale": "recording",
        "task": task,
        "status": "ok" if reason is None else "absent",
        "reason": reason,
        "fingerprint": hashlib.sha256(x.tobytes()).hexdigest(),
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def write_split(path: Path, split: dict[str, str]) -> Path:
    pd.DataFrame({"subject": list(split), "split": list(split.values())}).to_csv(path, index=False)
    return path
