"""A BIDS folder is a dataset by its settings alone; the contract finds what a class does wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from toys.recordings import edf, noise

from cldtrans.cli import main
from cldtrans.config import DatasetConfig
from cldtrans.data import DATASETS, build_dataset, get_dataset
from cldtrans.data.base import Dataset, Signal, recording_table
from cldtrans.data.bids import BidsDataset
from cldtrans.data.contract import check_dataset
from cldtrans.data.fetch.download import download
from cldtrans.data.fetch.sources import open_source
from cldtrans.data.preprocess import preprocess_batch
from cldtrans.data.shards import ShardSet, merge_parts
from cldtrans.errors import ConfigError, DataError

CHANNELS = ("Fz", "Cz", "Pz")
LABELS = {"label": "group", "classes": ["control", "patient"]}


@pytest.fixture
def root(tmp_path):
    """Four people of two groups, 40 s each; one file more, of somebody who is not in the table."""
    folder = tmp_path / "sets" / "ds1"
    people = pd.DataFrame(
        {"participant_id": [f"sub-{k}" for k in range(4)], "group": ["control", "patient", "Control", "n/a"]}
    )
    folder.mkdir(parents=True)
    people.to_csv(folder / "participants.tsv", sep="\t", index=False)
    for k in range(5):
        place = folder / f"sub-{k}" / "ses-1" / "eeg"
        place.mkdir(parents=True)
        stem = f"sub-{k}_ses-1_task-rest"
        names = ["EEG Fz", "EEG Cz", "EEG Pz", "ECG"]
        (place / f"{stem}_eeg.edf").write_bytes(edf(names, noise(4, 40, seed=k)))
        (place / f"{stem}_channels.tsv").write_text(
            "name\ttype\tstatus\nEEG Fz\tEEG\tgood\nEEG Cz\tEEG\tbad\nEEG Pz\tEEG\tn/a\n"
        )
        (place / f"{stem}_events.tsv").write_text(
            "onset\tduration\ttrial_type\n0\t12\tleft\n12\tn/a\tright\n20\t16\tfeet\n"
        )
    return tmp_path


def mine(**settings):
    return BidsDataset("sets/ds1", CHANNELS, **settings)


def test_recordings_are_those_of_participants(root):
    table = mine(**LABELS).recordings(root)
    assert list(table["subject"]) == [f"sub-{k}" for k in range(5)]
    assert list(table["problem"] != "") == [False] * 4 + [True]
    assert "not in participants.tsv" in table["problem"].iloc[4]
    with pytest.raises(DataError, match="no column 'sex'; found group"):
        mine(label="sex", classes=["m", "f"]).recordings(root)


def test_signals_are_found_by_name_and_bad_ones_are_masked(root):
    dataset = mine()
    row = next(dataset.recordings(root).itertuples(index=False))
    signal = dataset.read(root, row)
    assert signal.mask.tolist() == [True, False, True] and signal.rate_hz == 200
    np.testing.assert_allclose(signal.data[[0, 2]], noise(4, 40, seed=0)[[0, 2]], atol=0.05)
    assert not signal.data[1].any() and dataset.task is None
    pair = BidsDataset("sets/ds1", ["FZ-PZ"]).read(root, row)
    np.testing.assert_allclose(pair.data[0], signal.data[0] - signal.data[2], atol=1e-4)


def test_a_subjects_class_labels_its_windows(root):
    dataset = mine(**LABELS)
    rows = list(dataset.recordings(root).itertuples(index=False))
    found = [
        dataset.label_windows(root, row, np.arange(2) * 10.0, 10.0)["label"].tolist() for row in rows[:4]
    ]
    assert found == [[0, 0], [1, 1], [0, 0], [-1, -1]]
    assert dataset.task is not None and dataset.task.kind == "binary"


def test_events_label_the_windows_that_they_cover(root):
    dataset = mine(event="trial_type", classes={"left": "hand", "right": "hand", "feet": "feet"})
    row = next(dataset.recordings(root).itertuples(index=False))
    start_s = np.array([0.0, 7.0, 14.0, 16.0, 20.0, 32.0])
    # 16 to 26 s: 4 s of a hand, 6 of the feet; 32 to 42 s: 4 s of the feet
    assert dataset.label_windows(root, row, start_s, 10.0)["label"].tolist() == [0, 0, 0, 1, 1, -1]


def test_settings_that_contradict_each_other_are_refused():
    for settings in ({"label": "a", "event": "b", "classes": ["x", "y"]}, {"label": "a"}, {"width": 3}):
        with pytest.raises(ConfigError, match="dataset own"):
            build_dataset(
                "own", "cldtrans.data.bids:BidsDataset", {"folder": "d", "channels": ["C3"], **settings}
            )


def test_from_the_folder_to_windows_without_a_list_of_sums(root, tmp_path, capsys):
    dataset = mine(**LABELS)
    stamp = download(open_source(str(root)), dataset, tmp_path / "raw", progress=False)
    assert stamp["status"] == "ok" and "not verified" in stamp["reason"] and stamp["files"] == 16
    assert "not verified" in capsys.readouterr().out
    assert not list((root / "sets").rglob("SHA256SUMS.txt"))
    again = download(open_source(str(root)), dataset, root, progress=False)  # where the files lie already
    assert again == stamp
    settings = DatasetConfig(window_s=10, rate_hz=100)
    assert (settings.stride_s, settings.band_hz, settings.shards) == (10, (0.5, 40.0), 4)
    for batch in range(4):
        preprocess_batch(
            dataset, tmp_path / "raw", settings, batch, tmp_path / "shards", stamp, progress=False
        )
    merge_parts(dataset, settings, tmp_path / "shards")
    windows = ShardSet(tmp_path / "shards")
    assert len(windows) == 16 and windows.meta["n_quarantined"] == 1 and windows.channels == CHANNELS
    assert "not verified" in windows.meta["source"]["reason"]


@pytest.mark.parametrize("name", DATASETS)
def test_ours_keep_what_datasets_promise(name, bucket):
    assert [one for one in check_dataset(get_dataset(name), bucket) if one.problem] == []


class Wrong(Dataset):
    name, title, slug, version, doi, licence = "wrong", "Wrong", "wrong", "1", "", ""
    modality, channels = "eeg", ("C3", "C3")

    def recordings(self, root):
        return recording_table(
            {"recording": ["a", "b"], "subject": ["s", "s"], "path": ["wrong/1/a", "else/b"]}
        )

    def read(self, root, row):
        return Signal(np.full((2, 2000), 1e-6), 100.0, np.array([True, False]))


def test_the_contract_names_each_broken_promise(tmp_path):
    (tmp_path / "wrong/1").mkdir(parents=True)
    found = {one.what: one.problem for one in check_dataset(Wrong(), tmp_path) if one.problem}
    assert "occurs twice" in found["description"] and "else/b" in found["recordings"]
    assert "expected float32" in found["signals of a"] and "1 subjects" in found["subjects enough to divide"]
    assert "record_of()" in found["files and their recordings"]


def test_the_command_says_a_line_a_promise(root, capsys):
    settings = "{folder: sets/ds1, channels: [Fz, Cz, Pz], label: group, classes: [control, patient]}"
    words = ["check-dataset", "cldtrans.data.bids:BidsDataset", str(root), "--settings", settings]
    assert main(words) == 0 and "all promises are kept" in capsys.readouterr().out
    assert main([*words[:2], str(root / "no"), *words[3:]]) == 2
    found = capsys.readouterr()
    assert "WRONG recordings" in found.out and "not kept" in found.err
