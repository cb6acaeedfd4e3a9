"""The file writer, the tables and the view of the windows."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.preprocess import OK, Synthetic, build, settings_of

from cldtrans.data.preprocess import preprocess_batch
from cldtrans.data.shards import ShardSet, ShardWriter, index_columns, merge_parts, write_parquet
from cldtrans.errors import DataError


@settings(max_examples=30)
@given(sizes=st.lists(st.integers(0, 7), max_size=6), dtype=st.sampled_from(["float16", "float32"]))
def test_appended_blocks_equal_one_saved_array(tmp_path_factory, sizes, dtype):
    folder = tmp_path_factory.mktemp("writer")
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((n, 3, 5)).astype(dtype) for n in sizes]
    writer = ShardWriter(folder / "a.npy", 3, 5, dtype)
    for block in blocks:
        writer.append(block)
    writer.close()
    expected = np.concatenate([np.zeros((0, 3, 5), dtype), *blocks])
    np.save(folder / "b.npy", expected)
    assert np.array_equal(np.load(folder / "a.npy", mmap_mode="r"), expected)
    assert (folder / "a.npy").read_bytes() == (folder / "b.npy").read_bytes()


def test_windows_of_another_shape_are_refused(tmp_path):
    writer = ShardWriter(tmp_path / "a.npy", 3, 5, "float32")
    with pytest.raises(ValueError, match="expected"):
        writer.append(np.zeros((1, 3, 6)))
    writer.abandon()


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> ShardSet:
    folder = tmp_path_factory.mktemp("shards")
    return build(Synthetic(9, 31.0), folder, settings_of(dtype="float16", shards=4, batches=2), folder)


def test_index_and_meta(shards):
    assert list(shards.index) == list(index_columns(Synthetic()))
    for column, kind in index_columns(Synthetic()).items():
        if kind != "str":
            assert shards.index[column].dtype == kind
    assert (shards.index["shard"].diff().dropna() >= 0).all()
    for number, rows in shards.index.groupby("shard"):
        content = np.load(shards.folder / f"shard-{number:05d}.npy", mmap_mode="r")
        assert rows["row"].tolist() == list(range(len(content))) and content.dtype == np.float16
    position = shards.index["recording"].str[1:].astype(int)
    assert (shards.index["shard"] == position % 4).all()
    meta = shards.meta
    assert meta["n_windows"] == len(shards) == 7 * 3
    assert meta["source"] == OK and meta["n_samples"] == 1600 and meta["status"] == "ok"
    assert meta["task"] == {"name": "seizure", "kind": "binary", "classes": ["no", "yes"]}
    assert (shards.channels, shards.rate_hz, shards.modality) == (("A", "B", "C", "D"), 160.0, "eeg")


@settings(max_examples=40)
@given(data=st.data())
def test_windows_in_any_order(shards, data):
    rows = np.array(data.draw(st.lists(st.integers(0, len(shards) - 1), max_size=30)), dtype=np.int64)
    x = shards.windows(rows)
    assert x.dtype == np.float32 and x.shape == (len(rows), 4, 1600)
    for window, row in zip(x, rows, strict=True):
        entry = shards.index.iloc[row]
        stored = np.load(shards.folder / f"shard-{entry['shard']:05d}.npy")[entry["row"]]
        assert np.array_equal(window, stored.astype(np.float32))
    mask = shards.mask(rows)
    assert mask.shape == (len(rows), 4) and not x[~mask].any()
    for bits, row in zip(mask, rows, strict=True):
        assert int(shards.index["channel_mask"].iloc[row]) == sum(1 << c for c in np.flatnonzero(bits))


def test_labels(shards):
    rows = np.arange(len(shards))
    assert shards.labels(rows).dtype == np.int64
    assert shards.labelled().all()
    assert set(shards.labels(rows)) == {0}  # labels of the synthetic corpus begin at 30 s


def test_a_worker_gets_a_light_copy(shards):
    shards.windows(np.arange(len(shards)))
    payload = pickle.dumps(shards)
    assert len(payload) < 100_000
    assert np.array_equal(pickle.loads(payload).windows(np.array([3, 1])), shards.windows(np.array([3, 1])))


def test_the_fingerprint_follows_the_content(shards, tmp_path):
    def fingerprint(name: str, **changes) -> str:
        return build(Synthetic(4, 31.0), tmp_path / name, settings_of(**changes), tmp_path / name).fingerprint

    same = fingerprint("a")
    assert fingerprint("b", batches=4) == same
    assert fingerprint("c", band_hz=(1, 40)) != same
    assert fingerprint("d", shards=2) != same


def test_equal_tables_give_equal_bytes(tmp_path):
    columns = {"subject": "str", "row": "int32", "start_s": "float64"}
    table = pd.DataFrame({"start_s": [0.0, 10.0], "subject": ["b", "a"], "row": [0, 1]})
    write_parquet(tmp_path / "a.parquet", table, columns)
    write_parquet(tmp_path / "b.parquet", table.astype({"row": "int64"}).set_index(pd.Index([7, 9])), columns)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert b"pandas" not in (tmp_path / "a.parquet").read_bytes()
    empty = table.iloc[:0]
    write_parquet(tmp_path / "c.parquet", empty, columns)
    assert list(pd.read_parquet(tmp_path / "c.parquet")) == list(columns)


def test_unfinished_shards_are_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="no finished shards"):
        ShardSet(tmp_path)
    chosen = settings_of(batches=2)
    preprocess_batch(Synthetic(4, 11.0), tmp_path, chosen, 0, tmp_path, OK, progress=False)
    with pytest.raises(DataError, match=r"batch-1\.json: .* has not been preprocessed yet"):
        merge_parts(Synthetic(), chosen, tmp_path)
    with pytest.raises(DataError, match="parts of 4 shards, expected 8"):
        preprocess_batch(Synthetic(4, 11.0), tmp_path, chosen, 1, tmp_path, OK, progress=False)
        merge_parts(Synthetic(), settings_of(shards=8, batches=2), tmp_path)


def test_the_commands_make_what_the_library_reads(tmp_path, capsys):
    from toys.shards import paper_config

    from cldtrans.cli import main
    from cldtrans.data.miniature.bucket import write_miniature

    write_miniature(tmp_path / "raw", "tiny")
    config = paper_config().model_dump(mode="json")
    config["raw"] = str(tmp_path / "raw")
    config["preprocess"]["mimic_ecg"] |= {"shards": 2, "batches": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "stamp.json").write_text(json.dumps(OK))
    common = ["--config", str(tmp_path / "config.json"), "--dataset", "mimic_ecg"]
    folder = ["--output-dir", str(tmp_path / "shards")]
    for batch in ("0", "1"):
        stamp = ["--stamp", str(tmp_path / "stamp.json")]
        assert main(["preprocess", *common, "--batch", batch, *stamp, *folder]) == 0
    assert main(["index", *common, *folder]) == 0
    assert "1 recordings in quarantine" in capsys.readouterr().out
    assert (
        main(["split", *common, "--seed", "42", "--shards", folder[1], "--output", str(tmp_path / "s.csv")])
        == 0
    )
    shards = ShardSet(tmp_path / "shards")
    assert set(pd.read_csv(tmp_path / "s.csv", dtype=str)["subject"]) == set(shards.index["subject"])
    assert main(["preprocess", *common[:2], "--dataset", "mimic", "--batch", "0", *stamp, *folder]) == 2
    assert "did you mean 'mimic_ecg'" in capsys.readouterr().err
