"""What a probe reads while the model is pretrained."""

import numpy as np
import pandas as pd
import pytest
from toys.model import make_model
from toys.shards import write_shards

from cldtrans.errors import ConfigError
from cldtrans.training.probing import Probe

CLASSES = ["NORM", "MI", "STTC", "CD", "HYP"]
TWELVE = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture
def shards(tmp_path):
    """Sixty records of 30 patients; the first class is a faster rhythm."""
    rng = np.random.default_rng(0)
    n, t = 60, np.arange(1000) / 500
    labels = rng.integers(0, 2, (n, 5)).astype(np.int16)
    x = rng.standard_normal((n, 12, 1000))
    x += 3 * np.sin(2 * np.pi * np.where(labels[:, :1, None], 12.0, 6.0) * t)
    index = pd.DataFrame({"subject": [f"p{k // 2}" for k in range(n)], "recording": "r"})
    index["fold"] = [1 + (k // 2) % 10 for k in range(n)]
    for k, name in enumerate(CLASSES):
        index[f"label_{name}"] = labels[:, k]
    task = {"name": "superclass", "kind": "multilabel", "classes": CLASSES}
    write_shards(tmp_path / "ptbxl", x, index, channels=TWELVE, sample_rate=500.0, task=task, modality="ecg")
    return tmp_path


def test_training_subjects_alone_are_read_and_divided(shards):
    probe = Probe({"ptbxl": range(1, 9)}, shards, 1000, seed=1)
    parts = probe.parts["ptbxl"]
    table = pd.read_parquet(shards / "ptbxl/index.parquet")
    subjects = [set(part.subjects) for part in parts]
    assert [len(part) for part in subjects] == [15, 5, 4] and not set.intersection(*subjects)
    assert sum(map(len, subjects)) == len(set.union(*subjects))
    for part in parts:
        assert table["fold"].iloc[part.rows].max() <= 8
    assert sum(map(len, Probe({"ptbxl": range(1, 9)}, shards, 9, seed=1).parts["ptbxl"])) == 9


def test_a_probe_finds_what_is_there_and_the_model_is_as_before(shards):
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = Probe({"ptbxl": range(1, 9)}, shards, 1000, seed=1)(model)
    assert list(found) == ["probe/ptbxl"] and 0.5 < found["probe/ptbxl"] <= 1
    assert found == Probe({"ptbxl": range(1, 9)}, shards, 1000, seed=1)(model)
    assert all((value == before[name]).all() for name, value in model.state_dict().items())


def test_a_dataset_without_training_folds_is_refused(shards):
    with pytest.raises(ConfigError, match=r"stage1\.probe: sleepedf has no training folds"):
        Probe({"sleepedf": None}, shards, 10, seed=1)
