"""Seeded divisions of subjects, for datasets without folds of their own."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

HELD_OUT = 0.2  # of the subjects, for validation and for test each, where there are labels to score
MIN_TEST = 5
HELD_OUT_UNLABELLED = 0.05


def subject_folds(subjects: pd.DataFrame, seed: int) -> pd.Series:
    """Divide subjects so that validation, test and training hold every class that enough subjects have.

    A fifth of the subjects validates and a fifth tests (a twentieth each without labels), at least one each;
    with labels at least five test, as far as a third of the subjects goes: an interval over two says nothing.
    Classes are served from the rarest: of the subjects who have it one goes to training, then one to the
    test, then one to validation; the rest is filled in seeded order.

    Parameters
    ----------
    subjects : DataFrame
        As `Dataset.split` gets it.
    seed : int
        Of the order in which subjects are drawn.

    Returns
    -------
    Series of str
        "train", "val" or "test" by subject.
    """
    rng = np.random.default_rng([seed, zlib.crc32(b"subject folds")])
    names = list(subjects.index[rng.permutation(len(subjects))])
    classes = [column for column in subjects.columns if column.startswith("n_")]
    n = len(names)
    held_out = max(1, round((HELD_OUT if classes else HELD_OUT_UNLABELLED) * n))
    test = max(held_out, min(MIN_TEST, n // 3)) if classes else held_out
    room = {"train": n - test - held_out, "test": test, "val": held_out}
    if n == 1:
        room = {"train": 1, "test": 0, "val": 0}
    elif n == 2:
        room = {"train": 1, "test": 1, "val": 0}
    counts = {column: subjects[column].to_dict() for column in classes}
    split: dict[str, str] = {}
    having = {column: [name for name in names if counts[column][name] > 0] for column in classes}
    for column in sorted(classes, key=lambda column: len(having[column])):
        for part in ("train", "test", "val"):
            served = any(split.get(name) == part for name in having[column])
            free = [name for name in having[column] if name not in split]
            if not served and free and room[part]:
                split[free[0]] = part
                room[part] -= 1
    rest = (name for name in names if name not in split)
    for part in ("test", "val", "train"):
        for _ in range(room[part]):
            split[next(rest)] = part
    return pd.Series(split, dtype="str").reindex(subjects.index)
