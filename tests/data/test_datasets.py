"""One contract over all datasets, on the miniature bucket."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cldtrans.data import DATASETS, get_dataset
from cldtrans.data.base import Dataset, select_recordings
from cldtrans.errors import DataError

NAMES = list(DATASETS)


def readable(dataset: Dataset, root: Path):
    for row in dataset.recordings(root).itertuples(index=False):
        try:
            yield row, dataset.read(root, row)
        except DataError:
            continue


# The contract


@pytest.mark.parametrize("name", NAMES)
def test_description(name):
    dataset = get_dataset(name)
    assert dataset.name == name and dataset.modality in ("eeg", "ecg")
    assert len(set(dataset.channels)) == len(dataset.channels) <= 255
    documentation = importlib.import_module(DATASETS[name].partition(":")[0]).__doc__ or ""
    for fact in (dataset.doi, dataset.version, "Source:", "Labels:", "Split:"):
        assert fact in documentation


@pytest.mark.parametrize("name", NAMES)
def test_recordings(name, bucket):
    dataset = get_dataset(name)
    table = dataset.recordings(bucket)
    assert {"recording", "subject", "path", "fold", *dataset.extra_columns} <= set(table)
    assert table["recording"].is_unique and table["path"].is_monotonic_increasing
    assert table["path"].str.startswith(f"{dataset.slug}/{dataset.version}/").all()
    assert (table["subject"].str.len() > 0).all()
    pd.testing.assert_frame_equal(table, dataset.recordings(bucket))


@pytest.mark.parametrize("name", NAMES)
def test_signals_and_labels(name, bucket):
    dataset = get_dataset(name)
    seen = 0
    for row, signal in readable(dataset, bucket):
        seen += 1
        n_channels, n_samples = signal.data.shape
        assert n_channels == len(dataset.channels) == len(signal.mask)
        assert signal.data.dtype == np.float32 and signal.mask.dtype == bool and signal.mask.any()
        assert not signal.data[~signal.mask].any()
        known = signal.data[signal.mask]
        known = known[np.isfinite(known).all(axis=1)]
        if len(known):
            spread = np.median(known.std(axis=1))
            assert (1 < spread < 1000) if dataset.modality == "eeg" else (0.01 < spread < 5)
        window_s = min(10.0, n_samples / signal.rate_hz)  # there are exams of 7 s
        start_s = np.arange(0, n_samples / signal.rate_hz - window_s + 0.01, 5.0)
        labels = dataset.label_windows(bucket, row, start_s, window_s)
        task = dataset.task
        told = set(dataset.window_columns)
        assert set(labels) - {"keep"} == set(task.columns if task else ()) | told
        for column in set(labels) - {"keep"} - told:
            assert task and labels[column].shape == start_s.shape and labels[column].dtype == task.dtype
            if task.kind == "regression":
                assert not np.isinf(labels[column]).any()
                continue
            top = {"multilabel": 1, "time_to_event": np.inf}.get(task.kind, len(task.classes) - 1)
            assert labels[column].min() >= -1 and labels[column].max() <= top
        for onset, end in dataset.events(bucket, row):
            assert 0 <= onset < end <= n_samples / signal.rate_hz
    assert seen >= 3


@pytest.mark.parametrize("name", NAMES)
def test_keys_find_their_recordings(name, bucket):
    dataset = get_dataset(name)
    folder = dataset.folder(bucket)
    keys = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    wanted = [key for key in keys if dataset.wanted(key)]
    by_record: dict[str, set] = {}
    for key in wanted:
        record, subject = dataset.record_of(key), dataset.subject_of(key)
        if record is None:
            assert subject is None
        else:
            by_record.setdefault(record, set()).add(subject)
    assert all(len(subjects) == 1 for subjects in by_record.values())
    table = dataset.recordings(bucket)
    named = {subject for subjects in by_record.values() for subject in subjects} - {None}
    assert not named or named == set(table["subject"])
    assert len(by_record) == table["path"].nunique()  # an archive holds many recordings


@pytest.mark.parametrize("name", NAMES)
def test_only_wanted_files_are_needed(name, bucket, tmp_path):
    dataset = get_dataset(name)
    source, target = dataset.folder(bucket), dataset.folder(tmp_path)
    for path in source.rglob("*"):
        key = path.relative_to(source).as_posix()
        if path.is_file() and dataset.wanted(key):
            (target / key).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / key)
    pd.testing.assert_frame_equal(dataset.recordings(tmp_path), dataset.recordings(bucket))
    few, all_of_them = list(readable(dataset, tmp_path)), list(readable(dataset, bucket))
    assert [row.recording for row, _ in few] == [row.recording for row, _ in all_of_them]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_corpus_is_one_clear_line(name, tmp_path):
    with pytest.raises(DataError, match="run the download"):
        get_dataset(name).recordings(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_paths_that_leave_the_folder_are_refused(name, tmp_path):
    dataset = get_dataset(name)
    for path in ("../../etc/passwd", "/etc/passwd", "a/../../b"):
        row = SimpleNamespace(
            path=path, recording="r", subject="s", hypnogram=path, case="chb01", lobe="", side=""
        )
        with pytest.raises(DataError, match=r"outside the dataset's folder|cannot be read"):
            dataset.read(tmp_path, row)


def test_unknown_dataset():
    with pytest.raises(DataError, match="known: chbmit, eegmmidb"):
        get_dataset("chb")


def test_selection_counts_by_path(bucket):
    table = get_dataset("chbmit").recordings(bucket)
    some = select_recordings(table, "chbmit/1.0.0", subjects=2, records=None, glob=None)
    assert set(some["subject"]) == {"chb01", "chb02"} and "chb21" in set(some["case"])
    assert len(select_recordings(table, "chbmit/1.0.0", None, 3, None)) == 3
    assert set(select_recordings(table, "chbmit/1.0.0", None, None, ["chb12/*"])["case"]) == {"chb12"}
    ecg = get_dataset("ptbxl").recordings(bucket)
    for pattern in ("records500/*/0000[12]_hr", "*/0000[12]_hr.dat"):
        assert len(select_recordings(ecg, "ptb-xl/1.0.3", None, None, [pattern])) == 2
