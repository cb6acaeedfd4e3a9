"""Challenge 2021 and CODE-15 %: both dialects of headers, labels, archives; against wfdb and scipy."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys.paths import MIRROR

from cldtrans.data import get_dataset
from cldtrans.data.challenge2021 import CLASSES, SCORED, kept_classes, read_comments, scored_classes
from cldtrans.data.miniature.matlab_writer import write_matlab4
from cldtrans.errors import DataError

REAL = MIRROR / "challenge-2021"
SUBSETS = {"georgia": 20, "ptb-xl": 10, "ningbo": 20}
real = [
    pytest.mark.data,
    pytest.mark.skipif(not REAL.is_dir(), reason="no real recordings beside the checkout"),
]


def in_physionets_dialect(folder: Path, root: Path) -> None:
    """Write the real records anew as PhysioNet does: `16+24 1000/mV`, `#Dx:`, sums of 16 bits with a sign."""
    from scipy.io import loadmat, savemat

    for header in folder.rglob("*.hea"):
        target = root / header.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        values = loadmat(header.with_suffix(".mat"))["val"]
        savemat(target.with_suffix(".mat"), {"val": values}, format="4")
        lines = []
        for line in header.read_text().splitlines():
            line = line.replace("16x1+24 1000.0(0)/mV", "16+24 1000/mV").replace("# ", "#")
            lines.append(line)
        target.write_text("\n".join(lines) + "\n")


def test_there_are_26_classes_of_30_codes() -> None:
    assert len({row.code for row in SCORED}) == len(SCORED) == 30
    assert len(CLASSES) == 26
    for one, other in (("713427006", "59118001"), ("733534002", "164909002"), ("63593006", "284470004")):
        assert scored_classes(one) == scored_classes(other) != set()
    assert scored_classes("17338001, 427172004,123") == {"PVC"}


def test_a_subset_keeps_what_it_has_often_enough() -> None:
    assert "AF" not in kept_classes("ningbo") and "AFL" in kept_classes("ningbo")
    assert {"AF", "AFL"} <= set(kept_classes("chapman_shaoxing"))
    assert "NSIVCB" in kept_classes("georgia") and "LAnFB" not in kept_classes("georgia")  # 203 and 180
    assert [len(kept_classes(name)) for name in ("chapman_shaoxing", *SUBSETS)] == [16, 18, 19, 23]


@pytest.mark.parametrize("damage", ["cut", "other name", "other kind", "one signal less"])
def test_a_matrix_that_is_another_is_refused(bucket: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(bucket / "challenge-2021", tmp_path / "challenge-2021")
    dataset = get_dataset("challenge2021-georgia")
    row = next(dataset.recordings(tmp_path).itertuples(index=False))
    path = (tmp_path / row.path).with_suffix(".mat")
    raw = path.read_bytes()
    if damage == "one signal less":
        write_matlab4(path, np.zeros((11, 5000), dtype=int))
    else:
        changed = {"cut": raw[:-2], "other name": raw[:20] + b"x" + raw[21:], "other kind": b"\0" + raw[1:]}
        path.write_bytes(changed[damage])
    with pytest.raises(DataError, match=rf"{row.recording}\.mat: expected"):
        dataset.read(tmp_path, row)


def test_records_of_the_miniature_are_what_wfdb_and_scipy_read(bucket: Path) -> None:
    import wfdb
    from scipy.io import loadmat

    dataset = get_dataset("challenge2021-ningbo")
    for row in dataset.recordings(bucket).itertuples(index=False):
        signal = dataset.read(bucket, row)
        known = wfdb.rdrecord(str(bucket / row.path))
        np.testing.assert_allclose(signal.data.T, known.p_signal, rtol=1e-6)
        digital = loadmat(bucket / f"{row.path}.mat")["val"]
        np.testing.assert_array_equal(signal.data, (digital / 1000).astype(np.float32))


class TestRealRecords:
    pytestmark = real

    @pytest.mark.parametrize("dialect", ["as they are", "PhysioNet's"])
    def test_signals_and_labels(self, tmp_path: Path, dialect: str) -> None:
        import wfdb
        from scipy.io import loadmat

        root = MIRROR
        if dialect != "as they are":
            in_physionets_dialect(REAL, tmp_path / "challenge-2021")
            root = tmp_path
        truth = pd.read_csv(REAL / "LABELS.csv", dtype="str").fillna("").set_index("record")
        for subset, count in SUBSETS.items():
            dataset = get_dataset(f"challenge2021-{subset}")
            assert dataset.task is not None
            table = dataset.recordings(root)
            assert len(table) == count and (table["problem"] == "").all()
            for row in table.itertuples(index=False):
                signal = dataset.read(root, row)
                known = wfdb.rdrecord(str(root / row.path))
                assert signal.rate_hz == known.fs == 500 and known.sig_name == list(dataset.channels)
                np.testing.assert_allclose(signal.data.T, known.p_signal, rtol=1e-6)
                digital = loadmat(root / f"{row.path}.mat")["val"]
                np.testing.assert_array_equal(signal.data, (digital / 1000).astype(np.float32))
                expected = truth.loc[row.recording]
                assert (signal.data.std(axis=1) == 0).sum() == int(expected["flat_leads"])
                scored = set(filter(None, expected["dx_scored"].split("|")))
                assert scored_classes(read_comments(root / f"{row.path}.hea")["dx"]) == scored
                labels = {name for name in dataset.task.classes if getattr(row, f"label_{name}") == 1}
                assert labels == scored & set(dataset.task.classes)
                assert row.age == expected["age"] and {"0": "Male", "1": "Female"}[row.sex] == expected["sex"]


def test_exams_come_without_the_zeros_around_them(bucket: Path) -> None:
    import h5py

    dataset = get_dataset("code15")
    table = dataset.recordings(bucket)
    with (
        zipfile.ZipFile(bucket / "code15/1.0.0/exams_part0.zip") as archive,
        archive.open("exams_part0.hdf5") as packed,
        h5py.File(packed, "r") as file,
    ):
        numbers, tracings = file["exam_id"][:], file["tracings"][:]
    assert not tracings[-1].any() and numbers[-1] == 0
    for place, row in enumerate(table.head(len(numbers) - 1).itertuples(index=False)):
        signal = dataset.read(bucket, row)
        assert str(numbers[place]) == row.recording and signal.rate_hz == 400
        length = 2800 if place % 3 == 2 else 4000
        begin = (4096 - length) // 2
        np.testing.assert_array_equal(signal.data, tracings[place, begin : begin + length].T)
    assert table["subject"].nunique() < len(table)
    assert table["label_RBBB"].sum() > 0 and set(table["sex"]) == {"0", "1"}


def test_an_archive_without_the_exam_or_cut_short_is_named(bucket: Path, tmp_path: Path) -> None:
    shutil.copytree(bucket / "code15", tmp_path / "code15")
    dataset = get_dataset("code15")
    row = next(dataset.recordings(tmp_path).itertuples(index=False))
    with pytest.raises(DataError, match=r"exams_part0\.zip: expected exam 7, found none"):
        dataset.read(tmp_path, row._replace(recording="7"))
    cut = tmp_path / "code15/1.0.0/exams_part1.zip"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"exams_part1\.zip: cannot be read .*fetch the archive again"):
        dataset.read(tmp_path, row._replace(path="code15/1.0.0/exams_part1.zip"))
