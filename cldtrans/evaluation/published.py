"""Kept predictions against those that others published for the same recordings, by a paired bootstrap."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cldtrans.data.base import Task, read_table
from cldtrans.errors import DataError
from cldtrans.evaluation.predictions import Predictions, read_predictions
from cldtrans.provenance import read_result
from cldtrans.scoring.folds import Fold, difference
from cldtrans.scoring.metrics import PRIMARY


def read_published(path: Path, task: Task) -> pd.DataFrame:
    """Read published predictions.

    Parameters
    ----------
    path : Path
        csv: recording (of PTB-XL, ecg_id), and a column of probabilities for each class of the task.
    task : Task
        What is predicted.

    Returns
    -------
    DataFrame
        Probabilities, one row a recording, columns the classes in the task's order.

    Raises
    ------
    DataError
        For a column that is missing, a recording that comes twice, or a cell that is no number.
    """
    table = read_table(path, ["recording", *task.classes]).set_index("recording")
    repeated = table.index[table.index.duplicated()]
    if len(repeated):
        raise DataError(f"{path}: recording {repeated[0]!r} comes twice; expected one row each")
    numbers = table.apply(pd.to_numeric, errors="coerce")
    bad = ~np.isfinite(numbers.to_numpy(dtype=float)).all(axis=1)
    if bad.any():
        raise DataError(f"{path}: recording {table.index[bad][0]!r}: expected a number for every class")
    return numbers.astype(float)


def against_published(predictions: Predictions, published: pd.DataFrame) -> dict[str, Any]:
    """Compare predictions of the test windows that both know.

    Parameters
    ----------
    predictions : Predictions
        Of one cell.
    published : DataFrame
        From `read_published`.

    Returns
    -------
    dict
        metric, ours, theirs, difference with low and high, n_windows, n_subjects, and `reason` where there is
        no comparison.
    """
    task = predictions.task
    metric = PRIMARY[task.kind]
    nothing = {"metric": metric, "ours": None, "theirs": None, "difference": None, "low": None, "high": None}
    if predictions.problem:
        return nothing | {"n_windows": 0, "n_subjects": 0, "reason": predictions.problem}
    table = predictions.table[predictions.table["part"] == "test"]
    shared = table[table["recording"].astype(str).isin(published.index)]
    count = {"n_windows": len(shared), "n_subjects": int(shared["subject"].nunique())}
    if shared.empty:
        return nothing | count | {"reason": f"the published file has none of {len(table)} test recordings"}
    labels = shared[list(task.columns)].to_numpy()
    fold = Fold(
        labels if task.kind == "multilabel" else labels[:, 0],
        shared[[f"p_{name}" for name in task.classes]].to_numpy(dtype=float),
        shared["subject"].to_numpy().astype(str),
        None,
    )
    theirs = published.loc[shared["recording"].astype(str)].to_numpy()
    found = difference(task.kind, task.classes, [fold], [theirs], metric, predictions.seed)
    gap, other = found.metrics[f"{metric}@difference"], found.metrics[f"{metric}@other"]
    low, high = found.ci95.get(f"{metric}@difference") or (None, None)
    scored = {"ours": None if gap is None or other is None else gap + other, "theirs": other}
    bounds = {"difference": gap, "low": low, "high": high}
    lacking = len(table) - len(shared)
    reasons = [f"{lacking} of {len(table)} test recordings are not in the published file"] if lacking else []
    reasons += [text for key, text in found.reasons.items() if key.endswith("@difference")]
    return nothing | scored | bounds | count | {"reason": "; ".join(reasons) or None}


def compare_cells(results: Iterable[Path], file: Path, name: str) -> list[dict[str, Any]]:
    """Compare every cell with the published predictions of `name`, a row each.

    Parameters
    ----------
    results : iterable of Path
        Result files, whose predictions lie beside them.
    file : Path
        For `read_published`.
    name : str
        Of the published method.
    """
    rows: list[dict[str, Any]] = []
    published: pd.DataFrame | None = None
    for path in results:
        record, predictions = read_result(path), read_predictions(path.with_suffix(".parquet"))
        published = read_published(file, predictions.task) if published is None else published
        cell = {key: record[key] for key in ("dataset", "method", "budget", "seed")}
        rows.append(cell | {"published": name} | against_published(predictions, published))
    return rows
