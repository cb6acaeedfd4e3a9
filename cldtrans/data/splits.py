"""Who is trained on, who is held out, and which labels a budget grants.

A division is by subject, made once per dataset and seed, stored, and shared by every method. With fewer than
three subjects it degenerates in a fixed way, and `split_problem` says so: one subject trains; of two, one
trains and one is the test, and there is no validation.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cldtrans.data.base import Dataset
from cldtrans.data.shards import check_index, read_meta
from cldtrans.errors import DataError
from cldtrans.files import atomic_path, sum_problem, write_sum

if TYPE_CHECKING:
    from cldtrans.data.shards import ShardSet

SPLITS = ("train", "val", "test")
CASE = "case:"  # prefix of the names in the published division of CHB-MIT


def read_index(dataset: Dataset, folder: Path) -> pd.DataFrame:
    """Read the columns of an index on which divisions rest."""
    columns = [
        "subject",
        "kind",
        "fold",
        *(dataset.task.columns if dataset.task else ()),
        *dataset.extra_columns,
    ]
    folder = Path(folder)
    try:
        check_index(folder, read_meta(folder))
        return pd.read_parquet(folder / "index.parquet", columns=columns)
    except OSError as error:
        raise DataError(f"{folder}: no finished shards ({error}); run preprocessing first") from None


def make_split(dataset: Dataset, index: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Divide a dataset's subjects.

    Parameters
    ----------
    dataset : Dataset
        Whose rule divides.
    index : DataFrame
        From `read_index`.
    seed : int
        Of the division.

    Returns
    -------
    DataFrame
        Columns subject, split ("train", "val", "test"), ordered by subject.
    """
    table = subject_table(dataset, index)
    assigned = dataset.split(table, seed) if len(table) else pd.Series(dtype="str")
    return pd.DataFrame(
        {"subject": table.index.astype("str"), "split": assigned.reindex(table.index).to_numpy()}
    )


def subject_table(dataset: Dataset, index: pd.DataFrame) -> pd.DataFrame:
    """Count windows by subject.

    Parameters
    ----------
    dataset : Dataset
        With its task.
    index : DataFrame
        From `read_index`.

    Returns
    -------
    DataFrame
        One row a subject, ordered by name: n (windows), fold, and `n_<class>` for every class of the
        task.

    Raises
    ------
    DataError
        Where a subject occurs in several official folds.
    """
    grid = index[index["kind"] == "grid"] if (index["kind"] == "grid").any() else index
    grouped = grid.groupby("subject", sort=True)
    table = pd.DataFrame({"n": grouped.size(), "fold": grouped["fold"].max()})
    mixed = grouped["fold"].min() < table["fold"]
    if mixed.any():
        raise DataError(f"{dataset.name}: subject {mixed.idxmax()!r} occurs in several official folds")
    if dataset.task is None:
        return table
    if dataset.task.kind == "regression":
        known = grid[list(dataset.task.columns)].notna().any(axis=1)
        return table.assign(n_labelled=known.groupby(grid["subject"]).sum())
    if dataset.task.kind == "time_to_event":
        return table.assign(n_event=(grid["event"] == 1).groupby(grid["subject"]).sum())
    for k, name in enumerate(dataset.task.classes):
        positive = grid[f"label_{name}"] == 1 if dataset.task.kind == "multilabel" else grid["label"] == k
        table[f"n_{name}"] = positive.groupby(grid["subject"]).sum()
    return table


def write_split(path: Path, split: pd.DataFrame) -> None:
    """Store a division, and its sum beside it."""
    with atomic_path(path) as temporary:
        split.to_csv(temporary, index=False, lineterminator="\n")
    write_sum(path)


def load_split(path: str | Path) -> dict[str, str]:
    """Read a division without folds: "train", "val" or "test" by subject."""
    folds = load_folds(path)
    if len(folds) != 1:
        raise DataError(f"{path}: a division in {len(folds)} folds, where one without folds was expected")
    return folds[0]


def load_folds(path: str | Path) -> list[dict[str, str]]:
    """Read a division: "train", "val" or "test" by subject, in each of its folds; one where it has none."""
    try:
        table = pd.read_csv(path, dtype="str")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a division of subjects ({error}); make it again") from None
    problem = sum_problem(Path(path))
    if problem is not None:
        raise DataError(
            f"{path}: changed since it was written: {problem}; delete both and run the workflow again"
        )
    named = list(table.columns) in (["subject", "split"], ["fold", "subject", "split"])
    if not named or not table["split"].isin(SPLITS).all():
        raise DataError(
            f"{path}: expected columns subject,split (before them fold, or not) with {', '.join(SPLITS)}; "
            "make it again"
        )
    if "fold" not in table:
        return [dict(zip(table["subject"], table["split"], strict=True))]
    groups = [part for _, part in table.groupby(table["fold"].astype(int), sort=True)]
    return [dict(zip(part["subject"], part["split"], strict=True)) for part in groups]


def split_problem(split: Mapping[str, str]) -> str | None:
    """Say why a division cannot be used in full, for the report; None where nothing is wrong."""
    missing = [part for part in ("train", "val", "test") if part not in split.values()]
    if not missing:
        return None
    return f"{len(split)} subject{'s' if len(split) != 1 else ''}: nobody is left for {' and '.join(missing)}"


def assign(shards: ShardSet, split: Mapping[str, str]) -> np.ndarray:
    """Return the part of each window.

    Returns
    -------
    array [windows] of str
        "" where the division does not name the window's subject.
    """
    by_case = any(name.startswith(CASE) for name in split)
    names = CASE + shards.index["case"] if by_case else shards.index["subject"]
    return names.map(dict(split)).fillna("").to_numpy(dtype="str")


def split_rows(shards: ShardSet, split: Mapping[str, str], name: str) -> np.ndarray:
    """Return the rows of one part: windows of the grid, labelled ones where the dataset has a task.

    Parameters
    ----------
    shards : ShardSet
        The windows.
    split : mapping of str to str
        From `load_split`.
    name : one of "train", "val", "test"
        The part.

    Returns
    -------
    array [n] of int64
        Positions in the shards' index.
    """
    if name not in SPLITS:
        raise DataError(f"unknown part {name!r}; known: {', '.join(SPLITS)}")
    chosen = (assign(shards, split) == name) & (shards.index["kind"] == "grid").to_numpy()
    return np.flatnonzero(chosen & shards.labelled() if shards.task else chosen)


def budget_rows(shards: ShardSet, split: Mapping[str, str], budget: str, seed: int) -> np.ndarray:
    """Return the labelled training rows that a budget grants.

    A smaller budget's rows are among a larger one's.

    Regression: that fraction of each training subject's windows, or, where a label is a subject's, all
    windows of that fraction of the subjects. Binary and multi-class tasks: that fraction of each training
    subject's windows of each class. Multi-label tasks and times to an event: all windows of that fraction of
    the training patients, of every stratum; a patient's stratum is the rarest class that he has, or none of
    them, or whether his event was seen. Rounded, at least one.

    Parameters
    ----------
    shards : ShardSet
        The windows.
    split : mapping of str to str
        From `load_split`.
    budget : str
        A fraction, as a setting writes it.
    seed : int
        Of the order in which windows and patients are granted.

    Returns
    -------
    array [n] of int64
        Positions in the shards' index.
    """
    rows = split_rows(shards, split, "train")
    fraction = float(budget)
    if not 0 <= fraction <= 1:
        raise DataError(f"label budget {budget!r}: expected a fraction from 0 to 1")
    if fraction == 0 or shards.task is None or not len(rows):
        return rows[:0]
    rng = np.random.default_rng([seed, zlib.crc32(b"label budget")])
    subject = shards.index["subject"].to_numpy()[rows]
    if shards.task.kind == "regression":
        if not shards.task.of_subjects:
            return rows[_prefix_of_each(pd.factorize(subject, sort=True)[0], fraction, rng)]
        names = np.unique(subject)
        return rows[np.isin(subject, names[_prefix_of_each(np.zeros(len(names)), fraction, rng)])]
    if shards.task.kind in ("multilabel", "time_to_event"):
        labels = shards.labels(rows)
        answers = labels[:, 1:] if shards.task.kind == "time_to_event" else labels
        positive = pd.DataFrame(answers > 0).groupby(subject, sort=True).any()
        frequency = positive.sum()
        stratum = positive[frequency.sort_values(kind="stable").index].apply(
            lambda row: row.idxmax() if row.any() else -1, axis=1
        )
        granted = positive.index[_prefix_of_each(stratum.to_numpy(), fraction, rng)]
        return rows[np.isin(subject, granted)]
    group = pd.factorize(pd.Series(subject) + "/" + pd.Series(shards.labels(rows)).astype("str"), sort=True)[
        0
    ]
    return rows[_prefix_of_each(group, fraction, rng)]


def _prefix_of_each(group: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """[n] bool: the first max(1, round(fraction * size)) of each group's members in one random order."""
    order = rng.permutation(len(group))
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = pd.Series(group[order]).groupby(group[order]).cumcount().to_numpy()
    size = pd.Series(group).groupby(group).transform("size").to_numpy()
    return rank < np.maximum(1, np.floor(fraction * size + 0.5))
