"""A labelled shard set with a split and features, and the arguments of a cell on it."""

import numpy as np
import pandas as pd
from toys.shards import write_shards, write_split

CHANNELS = ("A", "B", "C")
STAGES = {"name": "stages", "kind": "multiclass", "classes": ["W", "N1", "N2"]}
RATE_HZ = 100.0


def staged(folder, n_subjects=14, per_subject=12, classes=3, reason=None):
    """Three classes of rhythm (4, 8, 16 Hz), a split of subjects, and features that hold the class."""
    rng = np.random.default_rng(0)
    n = n_subjects * per_subject
    y = np.arange(n) % classes
    time_s = np.arange(400) / RATE_HZ
    wave = np.sin(2 * np.pi * np.array([4, 8, 16])[y][:, None] * time_s + rng.uniform(0, 6, (n, 1)))
    x = 0.7 * wave[:, None] + rng.standard_normal((n, 3, 400))
    subject = [f"s{k:02d}" for k in range(n_subjects) for _ in range(per_subject)]
    index = pd.DataFrame({"subject": subject, "recording": subject, "label": y.astype("int16")})
    mask = np.ones((n, 3), dtype=bool)
    mask[::5, 2] = False
    x[~mask] = 0
    write_shards(
        folder / "toy",
        x,
        index,
        channels=CHANNELS,
        sample_rate=RATE_HZ,
        task=STAGES,
        mask=mask,
        reason=reason,
    )
    names = [f"s{k:02d}" for k in range(n_subjects)]
    parts = ["val", "val", "test", "test", "test", "test", "test", "test"] + ["train"] * n_subjects
    write_split(folder / "split.csv", dict(zip(names, parts, strict=False)))
    features = np.column_stack(
        [np.eye(3)[y] + 0.5 * rng.standard_normal((n, 3)), rng.standard_normal((n, 13))]
    )
    np.savez(folder / "features.npz", features=features.astype(np.float32))
    return folder


def arguments(folder, **changes):
    given = {
        "dataset": "sleepedf",
        "method": "feature_linear",
        "budget": "1.0",
        "seed": 42,
        "shards": folder / "toy",
        "split": folder / "split.csv",
        "output": folder / "seed-42.json",
    }
    return {**given, **changes}
