"""Divisions of a dataset's subjects beside its own: each is an experiment of that name.

`loso`: every subject is held out once. `tenfold`: ten folds by subject that share out the classes, each the
test once. `published_leaky`: CHB-MIT as published tables divide it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from cldtrans.config import DIVISIONS
from cldtrans.data.base import Dataset
from cldtrans.data.folds import subject_folds
from cldtrans.data.splits import CASE, make_split, subject_table
from cldtrans.errors import DataError, suggestion

FOLDS = 10


def divide(dataset: Dataset, index: pd.DataFrame, division: str | None, seed: int) -> pd.DataFrame:
    """Divide a dataset's subjects.

    Parameters
    ----------
    dataset : Dataset
        Whose subjects.
    index : DataFrame
        From `read_index`.
    division : str or None
        One of `DIVISIONS`; None: the dataset's own.
    seed : int
        Of the division.

    Returns
    -------
    DataFrame
        Columns subject, split ("train", "val", "test"); before them fold, where a division has folds.

    Raises
    ------
    DataError
        For a division that the dataset does not have.
    """
    if division is None:
        return make_split(dataset, index, seed)
    if division == "published_leaky":
        if "case" not in dataset.extra_columns:
            raise DataError(f"{dataset.name}: published_leaky divides the cases of CHB-MIT, and it has none")
        found = published_leaky_split()
        return pd.DataFrame({"subject": list(found), "split": list(found.values())})
    if division not in _FOLDED:
        raise DataError(f"unknown division {division!r}{suggestion(division, DIVISIONS)}")
    table = subject_table(dataset, index)
    folds = [
        pd.DataFrame({"fold": number, "subject": table.index.astype("str"), "split": split.to_numpy()})
        for number, split in enumerate(_FOLDED[division](table, seed))
    ]
    return pd.concat(folds) if folds else pd.DataFrame({"fold": [], "subject": [], "split": []})


def published_leaky_split() -> dict[str, str]:
    """Divide CHB-MIT as published tables do: cases 1-19 / 20-21 / 22-23. LEAKY: chb21 is the girl of chb01.

    Models are selected on chb20 alone; rows that use this carry the tag `published_leaky`. Names are cases.
    """
    cases = {f"chb{k:02d}": "train" for k in range(1, 20)}
    return {
        f"{CASE}{case}": part
        for case, part in {**cases, "chb20": "val", "chb22": "test", "chb23": "test"}.items()
    }


def leave_one_out(subjects: pd.DataFrame, seed: int) -> Iterator[pd.Series]:
    """Hold each subject out once; a fifth of the others validates.

    Parameters
    ----------
    subjects : DataFrame
        As `Dataset.split` gets it.
    seed : int
        Of who validates.

    Yields
    ------
    Series of str
        "train", "val" or "test" by subject.
    """
    for name in subjects.index if len(subjects) > 1 else ():
        others = subject_folds(subjects.drop(index=name), seed).replace({"test": "train"})
        yield others.reindex(subjects.index).fillna("test")


def ten_folds(subjects: pd.DataFrame, seed: int) -> Iterator[pd.Series]:
    """Deal subjects out to ten folds: each is the test once, and validates for the fold before.

    Subjects are dealt class by class, by the rarest that each has, so that folds share out the classes. Fewer
    than ten subjects make as many folds.

    Parameters
    ----------
    subjects : DataFrame
        As `Dataset.split` gets it.
    seed : int
        Of the order within a class.

    Yields
    ------
    Series of str
        "train", "val" or "test" by subject.
    """
    having = subjects[[column for column in subjects if column.startswith("n_")]] > 0
    having = having[having.sum().sort_values(kind="stable").index]
    stratum = np.where(having.any(axis=1), having.to_numpy().argmax(axis=1), -1)
    order = np.random.default_rng([seed, zlib.crc32(b"ten folds")]).permutation(len(subjects))
    order = order[np.argsort(stratum[order], kind="stable")]
    count = min(FOLDS, len(subjects))
    fold = np.empty(len(subjects), dtype=int)
    fold[order] = np.arange(len(subjects)) % max(count, 1)
    for test in range(count if count > 1 else 0):
        split = np.full(len(subjects), "train", dtype=object)
        if count > 2:
            split[fold == (test + 1) % count] = "val"
        split[fold == test] = "test"
        yield pd.Series(split, index=subjects.index)


_FOLDED: dict[str, Callable[[pd.DataFrame, int], Iterator[pd.Series]]] = {
    "loso": leave_one_out,
    "tenfold": ten_folds,
}
