"""What a classifier said of each held-out window, kept so that scores are computed again without training."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cldtrans.data.base import SEVERAL, Task
from cldtrans.data.shards import ShardSet, task_of_meta
from cldtrans.errors import DataError
from cldtrans.files import atomic_path
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring import alarms
from cldtrans.scoring.metrics import Scores, choose_thresholds, classification, unscored
from cldtrans.scoring.regression import regression_targets

META = b"cldtrans"  # key of the file's own description
PLACE = ["subject", "recording", "start_s"]


@dataclass(frozen=True)
class Predictions:
    """Labels and probabilities of validation and test windows, and what scoring them takes.

    Attributes
    ----------
    task : Task
        What the labels mean; K classes.
    window_s, stride_s : float
        Length of a window, and from one window's start to the next one's, seconds.
    seed : int
        Of the resampling of subjects.
    problem : str
        Why nothing was predicted, "" where something was.
    table : DataFrame
        One row a window: part ("val" or "test"), subject, recording, start_s, the task's label columns, and
        `p_<class>`.
    """

    task: Task
    window_s: float
    stride_s: float
    seed: int
    problem: str
    table: pd.DataFrame

    def of(self, part: str) -> np.ndarray:
        """Return the probabilities [n, K] of "val" or "test" windows."""
        return _probabilities(self.table[self.table["part"] == part], self.task)


def predictions_of(
    windows: ShardSet,
    val: LabelledWindows,
    proba_val: np.ndarray | None,
    test: LabelledWindows,
    proba: np.ndarray,
    seed: int,
) -> Predictions:
    """Collect predictions.

    Parameters
    ----------
    windows : ShardSet
        Those that are scored.
    val, test : LabelledWindows
        Held-out windows.
    proba_val, proba : array [n, K]
        Predictions for them; None where there is no validation window.
    seed : int
        Of the resampling of subjects.
    """
    assert windows.task is not None
    parts = [_part(windows, "test", test, proba)]
    if proba_val is not None:
        parts.insert(0, _part(windows, "val", val, proba_val))
    return _described(windows, pd.concat(parts, ignore_index=True), seed, "")


def no_predictions(windows: ShardSet, problem: str, seed: int) -> Predictions:
    """Say why there are no predictions."""
    return _described(windows, pd.DataFrame(), seed, problem)


def _described(windows: ShardSet, table: pd.DataFrame, seed: int, problem: str) -> Predictions:
    assert windows.task is not None
    lengths = float(windows.meta["window_s"]), float(windows.meta["stride_s"])
    return Predictions(windows.task, *lengths, seed, problem, table)


def _part(windows: ShardSet, name: str, part: LabelledWindows, proba: np.ndarray) -> pd.DataFrame:
    assert windows.task is not None
    place = windows.index[PLACE].iloc[part.rows].reset_index(drop=True)
    labels = np.asarray(part.y).reshape(len(part), -1)
    columns = dict(zip(windows.task.columns, labels.T, strict=True))
    probabilities = {f"p_{name}": column for name, column in zip(windows.task.classes, proba.T, strict=True)}
    return place.assign(part=name, **columns, **probabilities)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Keep predictions as parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    description = {name: value for name, value in vars(predictions).items() if name != "table"}
    description["task"] = asdict(predictions.task)
    table = pa.Table.from_pandas(predictions.table, preserve_index=False)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), META: json.dumps(description).encode()}
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_predictions(path: Path) -> Predictions:
    """Read predictions.

    Raises
    ------
    DataError
        Where the file is none of ours.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, page_checksum_verification=True)
        description = json.loads(table.schema.metadata[META])
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: not a file of predictions ({error}); delete it and run the workflow again"
        ) from None
    task = task_of_meta(description.pop("task"))
    assert task is not None
    return Predictions(task=task, **description, table=table.to_pandas())


@dataclass(frozen=True)
class HeldOut:
    """What was said of n test windows, and the decision thresholds that validation chose.

    Attributes
    ----------
    rows : DataFrame
        Subject, recording and start_s of each window.
    labels : array [n] or [n, K]
        As `classification` takes them.
    proba : array [n, K]
        Predictions.
    thresholds : array or None
        From validation windows, 0.5 where there is none; None for a multiclass task and for a regression.
    """

    rows: pd.DataFrame
    labels: np.ndarray
    proba: np.ndarray
    thresholds: np.ndarray | None


def held_out(predictions: Predictions) -> HeldOut:
    """Return test windows with the thresholds that validation windows chose."""
    task, table = predictions.task, predictions.table
    val, test = (table[table["part"] == part].reset_index(drop=True) for part in ("val", "test"))
    y, proba = _labels(test, task), _probabilities(test, task)
    thresholds = None
    if task.kind not in ("multiclass", "regression"):
        thresholds = np.full(1 if task.kind == "binary" else len(task.classes), 0.5)
        if len(val):
            thresholds = choose_thresholds(task.kind, _labels(val, task), _probabilities(val, task))
    return HeldOut(test, y, proba, thresholds)


def score_predictions(predictions: Predictions) -> Scores:
    """Compute metrics on test at thresholds chosen on validation; alarms too where windows hold seizures."""
    task, table = predictions.task, predictions.table
    if predictions.problem:
        return unscored(task.kind, task.classes, predictions.problem)
    val, asked = table[table["part"] == "val"], held_out(predictions)
    test, y, proba, thresholds = asked.rows, asked.labels, asked.proba, asked.thresholds
    if task.kind == "regression":
        subjects = test["subject"].to_numpy().astype(str)
        return regression_targets(
            task.classes, y, proba, subjects, of_subjects=task.of_subjects, seed=predictions.seed
        )
    notes = {}
    if task.kind != "multiclass" and not len(val):
        notes["thresholds"] = "no validation windows: thresholds are 0.5"
    subjects = test["subject"].to_numpy().astype(str)
    scores = classification(task.kind, task.classes, y, proba, subjects, thresholds, predictions.seed)
    scores.reasons |= notes
    if task.name == "seizure":
        found = alarms.at_fixed_rate(
            (val[PLACE], _labels(val, task), _probabilities(val, task)[:, -1]),
            (test[PLACE], y, proba[:, -1]),
            predictions.window_s,
            predictions.stride_s,
        )
        scores.metrics |= found.metrics
        scores.chance |= found.chance
        scores.reasons |= found.reasons
    return scores


def _labels(rows: pd.DataFrame, task: Task) -> np.ndarray:
    found = rows[list(task.columns)].to_numpy()
    return found if task.kind in SEVERAL else found[:, 0]


def _probabilities(rows: pd.DataFrame, task: Task) -> np.ndarray:
    return rows[[f"p_{name}" for name in task.classes]].to_numpy(dtype=float)
