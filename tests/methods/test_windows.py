"""Labelled windows are rows of a shard set, whatever their order."""

import numpy as np
import pandas as pd
import pytest
from toys.shards import write_shards

from cldtrans.data.shards import ShardSet
from cldtrans.methods.windows import LabelledWindows, counts


@pytest.fixture
def shards(tmp_path) -> ShardSet:
    x = np.arange(6 * 2 * 8).reshape(6, 2, 8)
    index = pd.DataFrame(
        {"subject": list("aabbcc"), "recording": "r", "label": np.array([0, 1, 0, 1, 1, 0], np.int16)}
    )
    task = {"name": "t", "kind": "binary", "classes": ["no", "yes"]}
    mask = np.ones((6, 2), dtype=bool)
    mask[4, 1] = False
    folder = tmp_path / "toy"
    return ShardSet(
        write_shards(folder, x, index, channels=("p", "q"), sample_rate=4.0, task=task, mask=mask)
    )


def test_rows_in_any_order(shards):
    features = np.arange(12.0, dtype=np.float32).reshape(6, 2)
    part = LabelledWindows(shards, np.array([5, 0, 4]), features)
    assert len(part) == 3 and part.rate_hz == 4.0 and part.channels == ("p", "q")
    assert part.y.tolist() == [0, 0, 1] and part.subjects.tolist() == ["c", "a", "c"] and part.n_subjects == 2
    assert part.x()[:, 0, 0].tolist() == [80, 0, 64] and part.x(np.array([2]))[0, 0, 0] == 64
    assert part.mask().tolist() == [[True, True], [True, True], [True, False]]
    assert np.array_equal(part.features, features[[5, 0, 4]])


def test_features_that_were_not_opened_and_the_numbers_of_a_result(shards):
    train, val, test = (LabelledWindows(shards, np.array(rows, int)) for rows in ([0, 1, 2], [3], []))
    with pytest.raises(ValueError, match="without features"):
        _ = train.features
    expected = {"train": 3, "val": 1, "test": 0, "subjects": {"train": 2, "val": 1, "test": 0}}
    assert counts(train, val, test) == expected
