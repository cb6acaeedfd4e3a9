"""A flipped byte in what training and scoring read is told by the reader, before a number comes of it."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from toys.faults import DATASET, GOAL, POINTS, flip
from toys.model import SETTINGS

from cldtrans.config import ModelConfig
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import load_split
from cldtrans.errors import CldtransError
from cldtrans.models import CLDTrans
from cldtrans.provenance import read_result, write_result

places = pytest.mark.parametrize("place", np.random.default_rng(0).uniform(0.02, 0.98, POINTS))


@pytest.mark.fault("a flipped byte in a shard")
@pytest.mark.workflow
@pytest.mark.slow
@places
def test_a_shard(before, place: float) -> None:
    shards = before("split") / f"data/tiny/shards/{DATASET}"
    flip(shards / "shard-00000.npy", place)
    with pytest.raises(CldtransError, match="changed since it was written"):
        windows = ShardSet(shards)
        windows.windows(np.arange(len(windows)))


@pytest.mark.fault("a flipped byte in a division")
@pytest.mark.workflow
@pytest.mark.slow
@places
def test_a_division(undisturbed: Path, tmp_path: Path, place: float) -> None:
    path = tmp_path / "seed-42.csv"
    for suffix in ("", ".sha256"):
        (tmp_path / f"seed-42.csv{suffix}").write_bytes((undisturbed / f"{GOAL}{suffix}").read_bytes())
    flip(path, place)
    with pytest.raises(CldtransError):
        load_split(path)


@pytest.mark.fault("a flipped byte in saved weights")
@places
def test_weights(tmp_path: Path, place: float) -> None:
    CLDTrans(ModelConfig.model_validate(SETTINGS)).save_pretrained(tmp_path)
    flip(tmp_path / "model.safetensors", place)
    with pytest.raises(CldtransError):
        CLDTrans.from_pretrained(str(tmp_path))


@pytest.mark.fault("a flipped byte in a result")
@places
def test_a_result(tmp_path: Path, place: float) -> None:
    counts = {"train": 1, "val": 1, "test": 1, "subjects": {"train": 1, "val": 1, "test": 1}}
    written = write_result(
        tmp_path / "seed-1.json", experiment="fewshot", dataset="ptbxl", method="cldtrans", budget="1.0",
        seed=1, metrics={"auroc": 0.75}, n=counts, chance={"auroc": 0.5}, config_sha256="0" * 64,
    )  # fmt: skip
    flip(tmp_path / "seed-1.json", place)
    with contextlib.suppress(CldtransError):
        assert read_result(tmp_path / "seed-1.json") == written, "a space, which says nothing"
