"""What a linear probe reads from the model while it is pretrained: shown, never used.

Reconstruction may improve while transfer falls. At every validation a probe is fitted to labelled windows of
training subjects and scored on others of them; no weight, stop or choice depends on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.data.shards import ShardSet
from cldtrans.errors import ConfigError
from cldtrans.methods.probes import probe_of
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring.metrics import PRIMARY, classification
from cldtrans.training.tasks import pooled_features

SHARES = (
    0.6,
    0.8,
)  # of the subjects: the first part trains, the next chooses the penalty, the rest is scored
Windows = tuple[LabelledWindows, LabelledWindows, LabelledWindows]


class Probe:
    """Linear probes of labelled datasets, by subjects that every division of them trains on.

    Parameters
    ----------
    folds : mapping
        Training folds by the dataset's name; None: it has none of its own.
    shards : Path
        Folder of the datasets' shard folders.
    most : int
        Windows of a dataset.
    seed : int
        Of the choice of windows and the division of subjects.

    Raises
    ------
    ConfigError
        Where a dataset has no fixed training folds: its training subjects differ between seeds.
    """

    def __init__(self, folds: Mapping[str, Collection[int] | None], shards: Path, most: int, seed: int):
        self.parts: dict[str, Windows] = {}
        for name, training in folds.items():
            if training is None:
                raise ConfigError(
                    f"stage1.probe: {name} has no training folds; name a dataset that has, or none"
                )
            windows = ShardSet(shards / name)
            if windows.reason is not None or windows.task is None:
                continue
            rng = np.random.default_rng([seed, 13])
            rows = np.flatnonzero(windows.index["fold"].isin(list(training)).to_numpy())
            rows = np.sort(rng.permutation(rows)[:most])
            subjects = windows.index["subject"].to_numpy()[rows].astype(str)
            order = rng.permutation(np.unique(subjects))
            place = np.searchsorted(SHARES, np.arange(len(order)) / max(len(order), 1), side="right")
            part = dict(zip(order, place, strict=True))
            of = np.array([part[subject] for subject in subjects])
            self.parts[name] = tuple(LabelledWindows(windows, rows[of == k]) for k in range(3))  # type: ignore

    def __call__(self, model: Any) -> dict[str, float]:
        """Return each dataset's primary metric, named `probe/<dataset>`, where it is defined."""
        found = {}
        for name, parts in self.parts.items():
            if not all(map(len, parts)):
                continue
            task, modality = parts[0].shards.task, parts[0].shards.modality
            train, val, test = (pooled_features(model, part, modality) for part in parts)
            probe = probe_of(task.kind, task.classes, model.shares(modality))
            probe.fit(train, parts[0].y, val, parts[1].y)
            alone = np.zeros(len(test), dtype=int)  # as one subject: no interval is wanted here
            scores = classification(task.kind, task.classes, parts[2].y, probe.predict_proba(test), alone)
            value = scores.metrics[PRIMARY[task.kind]]
            if value is not None:
                found[f"probe/{name}"] = value
        return found
