"""Shards as datasets: items, batches, metadata, divisions by subject."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader
from toys.shards import SCALE, write_shards

from cldtrans import ShardSet, WindowsDataset
from cldtrans.errors import DataError

TASK = {"name": "t", "kind": "binary", "classes": ["no", "yes"]}


@pytest.fixture
def folder(tmp_path):
    x = np.random.default_rng(0).standard_normal((6, 2, 320))
    index = pd.DataFrame(
        {
            "subject": list("aabbcc"),
            "recording": ["a1", "a1", "b1", "b2", "c1", "c1"],
            "label": [0, 1, 0, 1, 1, -1],
        }
    )
    return write_shards(tmp_path / "s", x, index, channels=("C3", "C4"), sample_rate=160.0, task=TASK)


def test_a_loader_takes_shards_as_they_are(folder):
    shards = ShardSet(folder)
    x, y = next(iter(DataLoader(shards, batch_size=6, num_workers=1)))
    assert x.dtype == torch.float32 and x.shape == (6, 2, 320) and y.tolist() == [0, 1, 0, 1, 1, -1]
    np.testing.assert_allclose(x.numpy(), SCALE * shards.windows(np.arange(6)))
    assert len(list(shards)) == 6 and shards[-1][1] == -1


def test_windows_know_their_place(folder):
    windows = WindowsDataset(folder)
    x, y, (number, first, end) = windows[1]
    assert x.shape == (2, 320) and y == 1 and (number, first, end) == (1, 320, 640)
    table = windows.get_metadata()
    assert list(table["target"]) == [0, 1, 0, 1, 1, -1] and list(table["i_window_in_trial"]) == [
        0,
        1,
        0,
        0,
        0,
        1,
    ]
    assert list(windows.description["recording"]) == ["a1", "b1", "b2", "c1"]
    assert list(windows.description["subject"]) == list("abbc") and "label" not in windows.description


def test_divisions_share_no_subject(folder, tmp_path):
    windows = WindowsDataset(folder)
    assert {name: len(part) for name, part in windows.split("subject").items()} == {"a": 2, "b": 2, "c": 2}
    pd.DataFrame({"subject": list("abc"), "split": ["train", "val", "test"]}).to_csv(
        tmp_path / "split.csv", index=False
    )
    parts = windows.split(tmp_path / "split.csv")
    subjects = [set(part.get_metadata()["subject"]) for part in parts.values()]
    assert subjects == [{"a"}, {"b"}, {"c"}] and len(parts["test"]) == 1  # a window without a label is none
    assert [len(part) for part in windows.split({"odd": [1, 3], "one": [0]}).values()] == [2, 1]
    with pytest.raises(DataError, match="did you mean 'subject'"):
        windows.split("subjects")
