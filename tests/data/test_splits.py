"""Divisions by subject and label budgets: leak-free, seeded, nested."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cldtrans.data import get_dataset
from cldtrans.data.base import Task
from cldtrans.data.divisions import divide, published_leaky_split
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import (
    SPLITS,
    assign,
    budget_rows,
    load_folds,
    load_split,
    make_split,
    split_problem,
    split_rows,
    write_split,
)
from cldtrans.errors import DataError

BUDGETS = ("0", "0.01", "0.1", "1.0")


class Windows(ShardSet):
    """What divisions need of shards, without the shards."""

    def __init__(self, index: pd.DataFrame, task: Task | None) -> None:
        self.index, self.task = index, task


def stages(n_subjects: int, seed: int, most: int = 60) -> Windows:
    rng = np.random.default_rng(seed)
    frames = []
    for s in range(n_subjects):
        n = int(rng.integers(1, most))
        label = rng.choice([-1, 0, 1, 2, 3, 4], n, p=[0.05, 0.4, 0.05, 0.3, 0.1, 0.1])
        frames.append(pd.DataFrame({"subject": f"SC4{s:02d}", "label": label}))
    index = pd.concat(frames, ignore_index=True)
    return Windows(index.assign(kind="grid", fold=0), get_dataset("sleepedf").task)


def ecgs(n: int, seed: int) -> Windows:
    rng = np.random.default_rng(seed)
    task = get_dataset("ptbxl").task
    assert task
    labels = (rng.random((n, 5)) < [0.4, 0.25, 0.2, 0.2, 0.03]).astype(np.int8)
    labels[rng.random(n) < 0.03] = -1
    patient = rng.integers(0, n * 3 // 4, n)
    index = pd.DataFrame(labels, columns=list(task.columns))
    return Windows(index.assign(subject=patient.astype(str), kind="grid", fold=patient % 10 + 1), task)


def division(dataset: str, windows: Windows, seed: int) -> dict[str, str]:
    split = make_split(get_dataset(dataset), windows.index, seed)
    return dict(zip(split["subject"], split["split"], strict=True))


@settings(max_examples=20)
@given(n=st.integers(3, 40), seed=st.integers(0, 1000))
def test_every_subject_is_in_one_part_and_classes_are_shared_out(n, seed):
    windows = stages(n, seed)
    split = division("sleepedf", windows, seed)
    assert set(split) == set(windows.index["subject"]) and set(split.values()) == set(SPLITS)
    assert split == division("sleepedf", windows, seed)
    rows = [split_rows(windows, split, part) for part in SPLITS]
    assert len(np.unique(np.concatenate(rows))) == sum(map(len, rows)) == windows.labelled().sum()
    subjects = [set(windows.index["subject"].to_numpy()[r]) for r in rows]
    assert not (subjects[0] & subjects[1] or subjects[0] & subjects[2] or subjects[1] & subjects[2])
    if n >= 15:
        for part in rows:
            assert set(windows.labels(part)) == {0, 1, 2, 3, 4}
        assert len(rows[0]) > len(rows[1])


def test_too_few_subjects_are_a_documented_answer():
    one, two, none = stages(1, 0), stages(2, 0), stages(1, 0)
    assert division("sleepedf", one, 42) == {"SC400": "train"}
    assert split_problem({"SC400": "train"}) == "1 subject: nobody is left for val and test"
    assert sorted(division("sleepedf", two, 42).values()) == ["test", "train"]
    assert split_problem(division("sleepedf", two, 42)) == "2 subjects: nobody is left for val"
    none.index = none.index.iloc[:0]
    assert division("sleepedf", none, 42) == {}
    assert split_problem({}) == "0 subjects: nobody is left for train and val and test"
    assert split_problem(division("sleepedf", stages(3, 0), 42)) is None


def test_unlabelled_corpora_train_on_nearly_all():
    index = pd.DataFrame({"subject": [f"S{k:03d}" for k in range(109)], "kind": "grid", "fold": 0})
    split = division("eegmmidb", Windows(index, None), 7)
    assert pd.Series(split).value_counts().to_dict() == {"train": 99, "val": 5, "test": 5}


def test_official_folds_of_ptbxl():
    windows = ecgs(400, 0)
    split = division("ptbxl", windows, 42)
    assert split == division("ptbxl", windows, 7)
    fold = windows.index.groupby("subject")["fold"].first()
    for subject, part in split.items():
        assert part == {9: "val", 10: "test"}.get(fold[subject], "train")
    with pytest.raises(DataError, match="strat_fold"):
        division("ptbxl", Windows(windows.index.assign(fold=0), windows.task), 42)
    first = windows.index["subject"] == windows.index["subject"].value_counts().index[0]
    torn = windows.index.copy()
    torn.loc[first, "fold"] = np.arange(first.sum()) % 2 + 1
    with pytest.raises(DataError, match="occurs in several official folds"):
        division("ptbxl", Windows(torn, windows.task), 42)


@settings(max_examples=20)
@given(n=st.integers(3, 20), seed=st.integers(0, 1000))
def test_budgets_are_nested_fractions_of_every_subject_and_class(n, seed):
    windows = stages(n, seed, most=400)
    split = division("sleepedf", windows, seed)
    granted = [budget_rows(windows, split, budget, seed) for budget in BUDGETS]
    train = split_rows(windows, split, "train")
    assert len(granted[0]) == 0 and np.array_equal(granted[3], train)
    for fewer, more in itertools.pairwise(granted):
        assert np.isin(fewer, more).all()
    group = windows.index["subject"] + windows.index["label"].astype(str)
    whole = group.iloc[train].value_counts()
    for budget, rows in zip(BUDGETS[1:], granted[1:], strict=True):
        counts = group.iloc[rows].value_counts().reindex(whole.index)
        expected = np.maximum(1, np.floor(float(budget) * whole + 0.5))
        assert (counts == expected).all()
    assert np.array_equal(granted[2], budget_rows(windows, split, "0.1", seed))


@settings(max_examples=20)
@given(n=st.integers(60, 1500), seed=st.integers(0, 1000))
def test_budgets_of_patients_hold_every_superclass(n, seed):
    windows = ecgs(n, seed)
    split = division("ptbxl", windows, seed)
    train = split_rows(windows, split, "train")
    granted = [budget_rows(windows, split, budget, seed) for budget in BUDGETS]
    assert np.array_equal(granted[3], train)
    for fewer, more in itertools.pairwise(granted):
        assert np.isin(fewer, more).all()
    subject = windows.index["subject"].to_numpy()
    n_patients = len(set(subject[train]))
    for budget, rows in zip(BUDGETS[1:], granted[1:], strict=True):
        patients = set(subject[rows])
        assert np.array_equal(rows, train[np.isin(subject[train], list(patients))])  # whole patients
        assert abs(len(patients) - float(budget) * n_patients) <= 6
        has = (windows.labels(rows) > 0).any(axis=0)
        assert (has == (windows.labels(train) > 0).any(axis=0)).all()


def test_seeds_grant_different_labels():
    windows = stages(10, 0, most=200)
    split = division("sleepedf", windows, 0)
    assert not np.array_equal(budget_rows(windows, split, "0.1", 1), budget_rows(windows, split, "0.1", 2))
    with pytest.raises(DataError, match="fraction from 0 to 1"):
        budget_rows(windows, split, "10", 1)


def test_onset_windows_are_never_scored():
    windows = stages(6, 3)
    windows.index.loc[::3, "kind"] = "onset"
    split = division("sleepedf", windows, 3)
    for part in SPLITS:
        assert (windows.index["kind"].iloc[split_rows(windows, split, part)] == "grid").all()
    with pytest.raises(DataError, match="unknown part 'dev'"):
        split_rows(windows, split, "dev")


def test_published_division_selects_on_chb20_alone():
    split = published_leaky_split()
    cases = [f"chb{k:02d}" for k in range(1, 25)]
    index = pd.DataFrame({"case": cases, "subject": ["chb01" if c == "chb21" else c for c in cases]})
    part = dict(zip(cases, assign(Windows(index, None), split), strict=True))
    assert [c for c in cases if part[c] == "train"] == cases[:19]
    assert [c for c in cases if part[c] == "val"] == ["chb20"]
    assert [c for c in cases if part[c] == "test"] == ["chb22", "chb23"]
    assert part["chb21"] == part["chb24"] == ""


def folds_of(dataset: str, windows: Windows, name: str, folder) -> list[dict[str, str]]:
    write_split(folder / "folds.csv", divide(get_dataset(dataset), windows.index, name, 3))
    return load_folds(folder / "folds.csv")


def test_leaving_one_out_tests_every_subject_once(tmp_path):
    windows = stages(9, 0)
    folds = folds_of("sleepedf", windows, "loso", tmp_path)
    subjects = sorted(set(windows.index["subject"]))
    assert sorted(name for fold in folds for name, part in fold.items() if part == "test") == subjects
    assert all(sorted(fold) == subjects and set(fold.values()) == set(SPLITS) for fold in folds)
    assert folds_of("sleepedf", stages(1, 0), "loso", tmp_path) == []
    with pytest.raises(DataError, match="division in 9 folds"):
        write_split(tmp_path / "folds.csv", divide(get_dataset("sleepedf"), windows.index, "loso", 3))
        load_split(tmp_path / "folds.csv")


@pytest.mark.parametrize("patients", [4, 400])
def test_ten_folds_share_out_patients_and_classes(tmp_path, patients):
    windows = ecgs(patients, 0)
    folds = folds_of("ptbxl", windows, "tenfold", tmp_path)
    subjects = sorted(set(windows.index["subject"]))
    assert len(folds) == min(10, len(subjects))
    assert sorted(name for fold in folds for name, part in fold.items() if part == "test") == subjects
    sizes = [[part for part in fold.values()].count("test") for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for fold, after in itertools.pairwise(folds):
        assert {n for n, part in fold.items() if part == "val"} == {
            n for n, p in after.items() if p == "test"
        }
    if patients == 400:
        for fold in folds:
            shares = [
                windows.labels(split_rows(windows, fold, part)).mean(axis=0) for part in ("train", "test")
            ]
            assert np.abs(np.subtract(*shares)).max() < 0.15


def test_only_chb_mit_has_the_published_division():
    with pytest.raises(DataError, match="cases of CHB-MIT"):
        divide(get_dataset("ptbxl"), ecgs(9, 0).index, "published_leaky", 0)
    with pytest.raises(DataError, match="unknown division 'los'; did you mean 'loso'"):
        divide(get_dataset("ptbxl"), ecgs(9, 0).index, "los", 0)
    found = divide(get_dataset("chbmit"), pd.DataFrame(), "published_leaky", 0)
    assert dict(zip(found["subject"], found["split"], strict=True)) == published_leaky_split()


def test_stored_divisions(tmp_path):
    split = pd.DataFrame({"subject": ["001", "2"], "split": ["train", "test"]})
    write_split(tmp_path / "a.csv", split)
    assert load_split(tmp_path / "a.csv") == {"001": "train", "2": "test"}
    assert (tmp_path / "a.csv").read_bytes() == b"subject,split\n001,train\n2,test\n"
    (tmp_path / "b.csv").write_text("subject,part\n1,train\n")
    with pytest.raises(DataError, match="expected columns subject,split"):
        load_split(tmp_path / "b.csv")
    with pytest.raises(DataError, match="not a division"):
        load_split(tmp_path / "c.csv")
