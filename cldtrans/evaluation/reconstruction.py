"""Reconstruction error as a readout that no label has taught: it ranks abnormal windows among normal ones.

Scored on the test subjects of the dataset's own division. Beside it stand its random twin and, of the same
question, the metadata floor, which has seen every training label.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.baselines.metadata_floor import MetadataFloor
from cldtrans.config import Config
from cldtrans.data import chosen_dataset
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.evaluation.cell import NO_WINDOWS, write_cell
from cldtrans.evaluation.fewshot import labelled_parts, task_of
from cldtrans.evaluation.origin import origin
from cldtrans.methods.cells import Cell
from cldtrans.methods.factories import build, spec_of
from cldtrans.methods.windows import counts
from cldtrans.scoring.folds import Fold, difference
from cldtrans.scoring.metrics import Scores, classification

METRICS = ("auroc", "auprc")
CLASSES = ("normal", "abnormal")


def run_reconstruction(
    config: Config,
    *,
    dataset: str,
    method: str,
    seed: int,
    shards: Path,
    split: Path,
    output: Path,
    checkpoint: Path,
    threads: int = 1,
) -> dict[str, Any]:
    """Score one cell and write its result file.

    Parameters
    ----------
    config : Config
        Settings of the run.
    dataset, method, seed
        The cell; a variant of our model.
    shards : Path
        The dataset's shard folder.
    split : Path
        csv: subject, split.
    output : Path
        The result file.
    checkpoint : Path
        Folder of the variant's stage-1 model.
    threads : int
        Part of a CPU result's last bits.

    Raises
    ------
    DataError
        Where the dataset has no class of normal windows.
    """
    normal = chosen_dataset(dataset, config.dataset_classes).normal_class
    if normal is None:
        raise DataError(f"{dataset}: its labels name no class of normal windows: nothing to rank")
    windows = ShardSet(shards)
    task, cell = task_of(windows), Cell("reconstruction", dataset, method, "0", seed)
    parts, problem = labelled_parts(windows, dataset, split, "1.0", seed, None)
    scores, model = Scores(), None
    if parts is None or not len(parts[2]):
        scores.undefined(METRICS, problem or "no labelled test windows")
    else:
        train, val, test = parts
        place = task.classes.index(normal)
        y = (test.y[:, place] == 0 if task.kind == "multilabel" else test.y != place).astype(int)
        model = build(spec_of(config, method, "reconstruction"), checkpoint, windows.modality, threads)
        error = model.of(test)
        scores = ranking(y, error, test.subjects, seed)
        others: dict[str, np.ndarray] = {}
        if len(train):
            floor = MetadataFloor(task, windows.channels, windows.rate_hz, windows.modality, seed, threads)
            floor.fit(train, val)
            others["random_twin"] = model.of_twin(test, train, seed)
            others["metadata_floor"] = -floor.predict_proba(test)[:, place]
        compare(scores, y, error, others, test.subjects, seed)
    return write_cell(
        output,
        cell,
        config,
        scores,
        NO_WINDOWS if parts is None else counts(*parts) | {"train": 0, "val": 0},
        windows=windows,
        checkpoint=checkpoint,
        scored=model,
        extra=origin(config, cell, model),
    )


def ranking(y: np.ndarray, error: np.ndarray, subjects: np.ndarray, seed: int) -> Scores:
    """Score how well errors [n] rank abnormal windows (y = 1) first; no threshold is asked for."""
    found = classification("binary", CLASSES, y, np.column_stack([-error, error]), subjects, None, seed)
    return Scores(
        {name: found.metrics[name] for name in METRICS},
        {name: found.chance[name] for name in METRICS},
        {name: ci for name, ci in found.ci95.items() if name in METRICS},
        {key: text for key, text in found.reasons.items() if key.removeprefix("ci95.") in (*METRICS, "ci95")},
    )


def compare(
    scores: Scores,
    y: np.ndarray,
    error: np.ndarray,
    others: dict[str, np.ndarray],
    subjects: np.ndarray,
    seed: int,
) -> None:
    """Add what others [n] score by the same question, and the paired difference to each."""
    if scores.metrics["auroc"] is None:
        return
    fold = Fold(y, np.column_stack([-error, error]), subjects, None)
    for name, other in others.items():
        found = difference("binary", CLASSES, [fold], [np.column_stack([-other, other])], "auroc", seed)
        for key, source in ((f"auroc@{name}", "auroc@other"), (f"auroc@over_{name}", "auroc@difference")):
            scores.metrics[key], scores.chance[key] = found.metrics[source], found.chance[source]
            scores.ci95[key] = found.ci95.get(source)
            if source in found.reasons:
                scores.reasons[key] = found.reasons[source]
