"""One flipped byte in any finished file is told before the file is used."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys.paths import PROJECT

from cldtrans.config import load_any
from cldtrans.data import get_dataset
from cldtrans.data.fetch.download import download
from cldtrans.data.fetch.raw_sums import RawSums
from cldtrans.data.fetch.sources import open_source
from cldtrans.data.preprocess import preprocess_batch
from cldtrans.data.shards import ShardSet, merge_parts
from cldtrans.data.splits import load_split, make_split, read_index, write_split
from cldtrans.errors import CldtransError, DataError, SourceError
from cldtrans.methods.stored_features import read_features

DATASET = "ptbxl"


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit in the middle of a file, or at another share of its length."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def made(bucket: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files (copies), shards and a division of the smallest miniature."""
    folder = tmp_path_factory.mktemp("made")
    dataset, settings = get_dataset(DATASET), load_any([PROJECT / "config/tiny.yaml"]).preprocess[DATASET]
    shutil.copytree(bucket, folder / "mirror")
    stamp = download(open_source(str(folder / "mirror")), dataset, folder / "raw", progress=False)
    for batch in range(settings.batches):
        preprocess_batch(dataset, folder / "raw", settings, batch, folder / "shards", stamp, progress=False)
    merge_parts(dataset, settings, folder / "shards")
    write_split(folder / "seed-1.csv", make_split(dataset, read_index(dataset, folder / "shards"), 1))
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy", symlinks=True))


def test_untouched_files_pass(copy):
    windows = ShardSet(copy / "shards")
    assert windows.windows(np.arange(len(windows))).shape[0] == len(windows) > 0
    assert windows.check_windows() == []
    assert load_split(copy / "seed-1.csv")


def test_a_window_that_changed_is_told_when_it_is_first_read_and_no_other(copy):
    path = copy / "shards/shard-00001.npy"
    flip(path, 0.99)
    windows = ShardSet(copy / "shards")
    shard, row = windows.index["shard"].to_numpy(), windows.index["row"].to_numpy()
    broken = int(np.flatnonzero((shard == 1) & (row == row[shard == 1].max()))[0])
    others = np.array([n for n in range(len(windows)) if n != broken])
    windows.windows(others)
    with pytest.raises(DataError, match=f"shard-00001.npy: window {row[broken]} .*changed since"):
        windows.windows(np.array([broken]))
    assert len(windows.check_windows()) == 1


def test_a_window_is_summed_once(copy, monkeypatch):
    windows, rows = ShardSet(copy / "shards"), np.arange(3)
    windows.windows(rows)
    monkeypatch.setattr("cldtrans.data.shards.zlib.crc32", lambda data: pytest.fail("summed again"))
    windows.windows(rows)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("name", ["index.parquet", "meta.json", "scales/shard-00000.npy"])
def test_a_byte_of_what_describes_windows(copy, name, place):
    flip(copy / "shards" / name, place)

    def use() -> None:
        windows = ShardSet(copy / "shards")
        windows.signals(np.arange(len(windows)))

    if name == "meta.json" and place == 1.0:
        (copy / "shards" / name).write_text((copy / "shards" / name).read_text().replace('"ok"', '"no"'))
    with pytest.raises(CldtransError):
        use()


def test_a_division_that_changed_is_told_and_one_without_a_sum_is_read(copy):
    path = copy / "seed-1.csv"
    table = pd.read_csv(path, dtype="str")
    table["split"] = table["split"].replace({"test": "train"})
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"seed-1.csv: changed since it was written.*delete both"):
        load_split(path)
    path.with_name("seed-1.csv.sha256").unlink()
    assert load_split(path)


def test_a_raw_file_that_changed_stops_preprocessing_instead_of_going_into_quarantine(copy):
    dataset, settings = get_dataset(DATASET), load_any([PROJECT / "config/tiny.yaml"]).preprocess[DATASET]
    signal = sorted((copy / "raw").rglob("*_hr.dat"))[0]
    target = signal.resolve()
    flip(target)
    stamp = {"status": "ok", "reason": None, "checksums_sha256": None, "selection": None}
    with pytest.raises(SourceError, match=f"{signal.name}: expected sha256 .* changed since its download"):
        for batch in range(settings.batches):
            preprocess_batch(dataset, copy / "raw", settings, batch, copy / "again", stamp, progress=False)


def test_a_table_of_the_dataset_is_checked_too(copy):
    dataset = get_dataset(DATASET)
    flip((copy / "raw" / dataset.slug / dataset.version / "ptbxl_database.csv").resolve())
    with pytest.raises(SourceError, match=r"ptbxl_database.csv: expected sha256"):
        RawSums(dataset, dataset.folder(copy / "raw"), []).check_tables()


def test_raw_files_without_a_list_are_read_as_they_are(copy):
    dataset = get_dataset(DATASET)
    RawSums(dataset, copy / "nowhere", ["records500/00000/00001_hr"]).check("records500/00000/00001_hr")


def test_features_that_changed_are_told(tmp_path):
    path = tmp_path / "seed-1.npz"
    np.savez(path, features=np.random.default_rng(0).normal(size=(50, 8)).astype("f4"))
    assert read_features(path)["features"].shape == (50, 8)
    flip(path)
    with pytest.raises(DataError, match=r"seed-1.npz: not readable as features"):
        read_features(path)
