"""Pitfalls of each ECG dataset, on the miniature bucket and on real files."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from toys.paths import MIRROR
from toys.preprocess import build, settings_of

from cldtrans.data import get_dataset
from cldtrans.data.miniature.wfdb_writer import write_record
from cldtrans.data.ptbxl import read_superclasses, superclass_labels
from cldtrans.errors import DataError
from cldtrans.files import sha256_file

# PTB-XL


def statements(tmp_path: Path) -> Path:
    path = tmp_path / "scp_statements.csv"
    path.write_text(
        ",description,diagnostic,form,rhythm,diagnostic_class\n"
        "NORM,n,1.0,,,NORM\nIMI,i,1.0,,,MI\nLVH,h,1.0,,,HYP\nSR,s,,,1.0,\nNDT,t,1.0,1.0,,STTC\n"
    )
    return path


def test_superclasses_of_any_likelihood(tmp_path):
    superclass = read_superclasses(statements(tmp_path))
    assert superclass == {"NORM": "NORM", "IMI": "MI", "LVH": "HYP", "NDT": "STTC"}
    codes = ["{'NORM': 100.0, 'SR': 0.0}", "{'IMI': 0.0, 'LVH': 50.0}", "{'SR': 0.0}"]
    labels, problems = superclass_labels(codes, superclass)
    assert problems == [""] * len(codes)
    assert labels.tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 1], [-1] * 5]
    hostile = ["__import__('os')", "5", "-" * 20_000, float("nan"), ""]
    labels, problems = superclass_labels(hostile, superclass)
    assert (labels == -1).all()
    assert all(
        problem.startswith("scp_codes: expected a mapping") and len(problem) < 100 for problem in problems
    )


def test_a_table_without_a_column_is_named(bucket, tmp_path):
    shutil.copytree(bucket / "ptb-xl", tmp_path / "ptb-xl")
    path = tmp_path / "ptb-xl/1.0.3/ptbxl_database.csv"
    pd.read_csv(path).drop(columns="strat_fold").to_csv(path, index=False)
    with pytest.raises(DataError, match=r"ptbxl_database\.csv: missing column 'strat_fold'"):
        get_dataset("ptbxl").recordings(tmp_path)


def test_one_bad_cell_costs_one_recording(bucket: Path, tmp_path: Path) -> None:
    """Each kind of bad cell in PTB-XL's table is a row of the quarantine; all other recordings are used."""
    shutil.copytree(bucket / "ptb-xl", tmp_path / "ptb-xl")
    file = tmp_path / "ptb-xl/1.0.3/ptbxl_database.csv"
    table = pd.read_csv(file, dtype=str)
    cells = [
        *[("scp_codes", text) for text in ("5", "-" * 20_000, "")],
        *[("strat_fold", text) for text in ("11", "x")],
        *[("patient_id", text) for text in ("", "many")],
        *[("filename_hr", ""), ("ecg_id", ""), ("ecg_id", table["ecg_id"].iloc[-1])],
    ]
    assert len(table) > 2 * len(cells)
    for row, (column, value) in enumerate(cells):
        table.loc[row, column] = value
    before = sha256_file(file)
    table.to_csv(file, index=False)
    sums = file.with_name("SHA256SUMS.txt")
    sums.write_text(sums.read_text().replace(before, sha256_file(file)))
    found = get_dataset("ptbxl").recordings(tmp_path)
    assert len(found) == len(table)
    assert (found["problem"] != "").sum() == len(cells)
    assert "nan" not in set(found["subject"])
    settings = settings_of(rate_hz=500, band_hz=(0.05, 150))
    windows = build(get_dataset("ptbxl"), tmp_path, settings, tmp_path / "shards")
    quarantine = pd.read_csv(tmp_path / "shards/quarantine.csv")
    assert len(quarantine) == len(cells) and windows.index["recording"].nunique() == len(table) - len(cells)
    said = {"filename_hr": "path", "ecg_id": "recording"}  # as the table of recordings calls them
    for column in {column for column, _ in cells}:
        assert quarantine["reason"].str.contains(said.get(column, column)).any(), column


@pytest.mark.data
@pytest.mark.skipif(not (MIRROR / "ptb-xl").is_dir(), reason="no real recordings beside the checkout")
def test_real_table_of_ecgs():
    dataset = get_dataset("ptbxl")
    table = dataset.recordings(MIRROR)
    assert dataset.task
    if len(table) == 400:
        assert sorted(table["fold"].unique()) == list(range(1, 11))
        assert table[list(dataset.task.columns)].clip(lower=0).sum().min() > 10
    first = dataset.read(MIRROR, next(table.itertuples()))
    assert first.data.shape == (12, 5000) and first.rate_hz == 500
    lead = dict(zip(dataset.channels, first.data, strict=True))
    assert np.allclose(lead["III"], lead["II"] - lead["I"], atol=0.01)  # Einthoven
    assert np.allclose(lead["aVR"], -(lead["I"] + lead["II"]) / 2, atol=0.01)
    assert np.allclose(lead["aVF"], (lead["II"] + lead["III"]) / 2, atol=0.01)


# MIMIC-IV-ECG


def test_leads_by_name_whatever_their_order(tmp_path):
    dataset = get_dataset("mimic_ecg")
    stored = ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]
    digital = np.arange(12)[:, None] * 100 + np.zeros((12, 500), dtype=np.int64)
    write_record(tmp_path / "mimic-iv-ecg/1.0/files/p1/1", digital, stored, 500, 100.0)
    row = SimpleNamespace(path="mimic-iv-ecg/1.0/files/p1/1")
    signal = dataset.read(tmp_path, row)
    assert signal.mask.all()
    assert [stored[round(float(value))] for value in signal.data[:, 0]] == list(dataset.channels)


@pytest.mark.slow
def test_800_000_records_are_listed_in_seconds(tmp_path):
    n = 800_000
    folder = tmp_path / "mimic-iv-ecg/1.0"
    folder.mkdir(parents=True)
    subject = 10_000_000 + np.arange(n) // 5
    study = 40_000_000 + np.arange(n)
    with (folder / "record_list.csv").open("w") as file:
        file.write("subject_id,study_id,file_name,ecg_time,path\n")
        for s, t in zip(subject.tolist(), study.tolist(), strict=True):
            file.write(f"{s},{t},{t},2180-07-23 08:44:00,files/p{s // 10000}/p{s}/s{t}/{t}\n")
    began = time.process_time()
    table = get_dataset("mimic_ecg").recordings(tmp_path)
    took = time.process_time() - began
    assert len(table) == n and table["subject"].nunique() == n // 5
    assert table["path"].iloc[0] == "mimic-iv-ecg/1.0/files/p1000/p10000000/s40000000/40000000"
    assert took < 6  # about 2 s on a quiet core
