"""Seeded divisions of subjects."""

from __future__ import annotations

import pandas as pd
import pytest

from cldtrans.data.folds import subject_folds


def test_rare_seizures_reach_every_part():
    """Three of twelve subjects have seizures: one goes to each part, whatever the seed."""
    table = pd.DataFrame(
        {"n": 100, "fold": 0, "n_background": 95, "n_seizure": [0, 5, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0]},
        index=[f"chb{k:02d}" for k in range(12)],
    )
    seen = set()
    for seed in range(30):
        split = subject_folds(table, seed)
        assert sorted(split[table["n_seizure"] > 0]) == ["test", "train", "val"]
        assert split.value_counts().to_dict() == {"train": 6, "test": 4, "val": 2}
        seen.add(tuple(split))
    assert len(seen) > 20


@pytest.mark.parametrize(
    ("n", "labelled", "sizes"),
    [
        (1, True, {"train": 1}),
        (2, True, {"train": 1, "test": 1}),
        (3, True, {"train": 1, "test": 1, "val": 1}),
        (15, True, {"train": 7, "test": 5, "val": 3}),
        (100, True, {"train": 60, "test": 20, "val": 20}),
        (100, False, {"train": 90, "test": 5, "val": 5}),
    ],
)
def test_parts_are_as_large_as_they_are_said_to_be(n, labelled, sizes):
    table = pd.DataFrame({"n": 1, **({"n_a": 1} if labelled else {})}, index=[f"s{k}" for k in range(n)])
    split = subject_folds(table, 3)
    assert split.value_counts().to_dict() == sizes and list(split.index) == list(table.index)
    assert split.equals(subject_folds(table, 3))
    assert n < 15 or not split.equals(subject_folds(table, 4))
