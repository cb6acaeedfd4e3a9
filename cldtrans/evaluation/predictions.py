"""What a classifier said of each held-out window, kept so that scores are computed again without training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cldtrans.data.base import SEVERAL, Task
from cldtrans.data.shards import ShardSet, task_of_meta
from cldtrans.errors import DataError
from cldtrans.files import atomic_path
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring import alarms
from cldtrans.scoring.folds import Fold, averaged, over_folds, over_folds_of_numbers
from cldtrans.scoring.metrics import Scores, choose_thresholds, unscored

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
        `p_<class>`; of a division in folds also fold.
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


def in_folds(found: Sequence[Predictions], number: int) -> Predictions:
    """Join the predictions of the folds that could be fitted; of a division without folds, the only ones.

    Parameters
    ----------
    found : sequence of Predictions
        One a fold.
    number : int
        Folds of the division; 1: none.
    """
    if number == 1:
        return found[0]
    tables = [one.table.assign(fold=number) for number, one in enumerate(found)]
    return replace(found[0], table=pd.concat(tables, ignore_index=True))


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

    @property
    def fold(self) -> Fold:
        """The same, to be scored."""
        subjects = self.rows["subject"].to_numpy().astype(str)
        return Fold(self.labels, self.proba, subjects, self.thresholds)


def held_out(predictions: Predictions) -> list[HeldOut]:
    """Return test windows, one entry a fold, with the thresholds that its validation windows chose."""
    return [_held_out(predictions.task, part) for part in _fold_tables(predictions)]


def _fold_tables(predictions: Predictions) -> list[pd.DataFrame]:
    table = predictions.table
    return [part for _, part in table.groupby("fold", sort=True)] if "fold" in table else [table]


def _held_out(task: Task, table: pd.DataFrame) -> HeldOut:
    val, test = (table[table["part"] == part].reset_index(drop=True) for part in ("val", "test"))
    y, proba = _labels(test, task), _probabilities(test, task)
    thresholds = None
    if task.kind not in ("multiclass", "regression", "time_to_event"):
        thresholds = np.full(1 if task.kind == "binary" else len(task.classes), 0.5)
        if len(val):
            thresholds = choose_thresholds(task.kind, _labels(val, task), _probabilities(val, task))
    return HeldOut(test, y, proba, thresholds)


def score_predictions(predictions: Predictions) -> Scores:
    """Compute metrics on test at thresholds chosen on validation; alarms too where windows hold seizures.

    Of a division in folds each fold has thresholds of its own, and metrics are means over folds.
    """
    task = predictions.task
    if predictions.problem:
        return unscored(task.kind, task.classes, predictions.problem)
    tables, folds = _fold_tables(predictions), [one.fold for one in held_out(predictions)]
    if task.kind == "regression":
        return over_folds_of_numbers(task.classes, folds, task.of_subjects, predictions.seed)
    scores = over_folds(task.kind, task.classes, folds, predictions.seed, task.horizons_s)
    decided = task.kind not in ("multiclass", "time_to_event")
    if decided and not all((table["part"] == "val").any() for table in tables):
        scores.reasons["thresholds"] = "no validation windows: thresholds are 0.5"
    if task.name == "seizure":
        alarmed = [_alarms(part, predictions) for part in tables]
        sizes = [len(np.unique(one.subjects)) for one in folds]
        found = alarmed[0] if len(alarmed) == 1 else averaged(alarmed, sizes)
        scores.metrics |= found.metrics
        scores.chance |= found.chance
        scores.reasons |= found.reasons
    return scores


def _alarms(table: pd.DataFrame, predictions: Predictions) -> Scores:
    """Score the alarms of one fold."""
    task = predictions.task
    val, test = (
        (rows[PLACE], _labels(rows, task), _probabilities(rows, task)[:, -1])
        for rows in (table[table["part"] == name] for name in ("val", "test"))
    )
    return alarms.at_fixed_rate(val, test, predictions.window_s, predictions.stride_s)


def _labels(rows: pd.DataFrame, task: Task) -> np.ndarray:
    found = rows[list(task.columns)].to_numpy()
    return found if task.kind in SEVERAL else found[:, 0]


def _probabilities(rows: pd.DataFrame, task: Task) -> np.ndarray:
    return rows[[f"p_{name}" for name in task.classes]].to_numpy(dtype=float)
