"""The miniature bucket: whole, reproducible, in the real formats and layouts."""

import csv
import datetime
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from toys.paths import MIRROR

from cldtrans import cli
from cldtrans.data import get_dataset
from cldtrans.data.miniature import (
    SCALES,
    chbmit,
    ecg,
    eegmmidb,
    ptbxl,
    siena,
    sleepedf,
    write_miniature,
)
from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.data.miniature.head import BANANA, TEN_TWENTY
from cldtrans.data.miniature.truth import Truth
from cldtrans.data.miniature.wfdb_writer import END, INVALID, NOTE, ONSET, annotation_bytes, write_record
from cldtrans.errors import DataError

DATASETS = (
    "chbmit/1.0.0",
    "eegmmidb/1.0.0",
    "sleep-edfx/1.0.0",
    "ptb-xl/1.0.3",
    "mimic-iv-ecg/1.0",
    "siena-scalp-eeg/1.0.0",
    "challenge-2021/1.0.3",
    "code15/1.0.0",
    "hbn/eeg2025",
)


def broken(bucket: Path) -> list[dict[str, str]]:
    with (bucket / "truth" / "broken.csv").open() as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def read_edf(path: Path):
    import mne

    return mne.io.read_raw_edf(path, preload=True, verbose="error")


# --- the bucket ---------------------------------------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other_bytes(bucket, tmp_path):
    write_miniature(tmp_path / "again", "tiny")
    write_miniature(tmp_path / "other", "tiny", seed=1)
    first, again, other = (digests(path) for path in (bucket, tmp_path / "again", tmp_path / "other"))
    assert first == again
    recordings = [key for key in first if key.endswith(".edf") and "/S088/" not in key and key in other]
    assert recordings and all(first[key] != other[key] for key in recordings)


@pytest.mark.parametrize("dataset", DATASETS)
def test_checksums_are_true_and_cover_everything(bucket, dataset):
    folder = bucket / dataset
    lines = (folder / "SHA256SUMS.txt").read_text().splitlines()
    listed = dict(reversed(line.split(" ", 1)) for line in lines)
    found = digests(folder)
    del found["SHA256SUMS.txt"]
    assert listed == found
    for record in (folder / "RECORDS").read_text().split():
        assert (record if record.endswith((".edf", ".bdf")) else record + ".hea") in found


def test_complete_bucket_is_kept_and_foreign_folder_refused(bucket, tmp_path, capsys):
    before = (bucket / "chbmit/1.0.0/RECORDS").stat().st_mtime_ns
    assert cli.main(["miniature", str(bucket), "--scale", "tiny"]) == 0
    assert "already complete" in capsys.readouterr().out
    assert (bucket / "chbmit/1.0.0/RECORDS").stat().st_mtime_ns == before
    (tmp_path / "thesis.txt").write_text("mine")
    assert cli.main(["miniature", str(tmp_path), "--scale", "tiny"]) == 2
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    with pytest.raises(DataError, match="tiny, demo, standard"):
        write_miniature(tmp_path / "new", "huge")


def test_interrupted_write_leaves_nothing_and_is_cleaned_up(tmp_path, monkeypatch):
    abandoned = tmp_path / ".bucket.999999999.part"  # larger than any process number
    (abandoned / "chbmit").mkdir(parents=True)

    def stop(*_: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("cldtrans.data.miniature.bucket._DATASETS", (("chbmit/1.0.0", stop),))
    with pytest.raises(KeyboardInterrupt):
        write_miniature(tmp_path / "bucket", "tiny")
    assert list(tmp_path.iterdir()) == []


# --- the formats, read by others ----------------------------------------------------------------------------


def test_edf_writer_against_mne(tmp_path):
    rng = np.random.default_rng(0)
    start = datetime.datetime(1989, 4, 24, 16, 13, 5)
    slow, fast = rng.uniform(-90, 90, 60), rng.uniform(-700, 700, 6000)
    signals = [
        EdfSignal("EEG A", fast, 100, (-800, 800), (-2048, 2047)),
        EdfSignal("EEG B", slow, 1, (-100, 100)),
    ]
    notes = [(0.0, 4.2, "T0"), (59.5, 0.1, "T2"), (4.2, 4.1, "T1")]
    write_edf(tmp_path / "a.edf", signals, start=start, annotations=notes)
    raw = read_edf(tmp_path / "a.edf")
    assert raw.ch_names == ["EEG A", "EEG B"]
    assert raw.info["meas_date"].replace(tzinfo=None) == start
    np.testing.assert_allclose(raw.get_data()[0] * 1e6, fast, atol=0.51 * 1600 / 4095)
    found = [(a["onset"], a["duration"], a["description"]) for a in raw.annotations]
    assert [f[2] for f in found] == ["T0", "T1", "T2"]
    np.testing.assert_allclose([f[:2] for f in found], [n[:2] for n in sorted(notes)])
    with pytest.raises(ValueError, match="whole number"):
        write_edf(tmp_path / "b.edf", [signals[0], EdfSignal("short", slow[:-1], 1, (-1, 1))])


def test_wfdb_writer_against_wfdb(tmp_path):
    import wfdb

    digital = np.random.default_rng(0).integers(-30000, 30000, (3, 700))
    digital[1, 20:40] = INVALID
    write_record(
        tmp_path / "rec", digital, ("I", "II", "V1"), 500, 200.0, "12:04:00 22/09/2182", ["<subject_id>: 7"]
    )
    record = wfdb.rdrecord(str(tmp_path / "rec"))
    assert record.sig_name == ["I", "II", "V1"] and record.comments == ["<subject_id>: 7"]
    expected = np.where(digital == INVALID, np.nan, digital / 200.0)
    np.testing.assert_array_equal(record.p_signal.T, expected)
    assert wfdb.rdheader(str(tmp_path / "rec")).checksum == [int(row.sum()) & 0xFFFF for row in digital]

    events = [(300, NOTE, "T1 duration: 4.1"), (90_000, ONSET, ""), (700_000, END, "")]
    (tmp_path / "rec.seizures").write_bytes(annotation_bytes(256, events))
    found = wfdb.rdann(str(tmp_path / "rec"), "seizures")
    assert found.fs == 256
    assert found.sample.tolist() == [300, 90_000, 700_000]
    assert found.symbol == ['"', "[", "]"]
    assert found.aux_note[0].rstrip("\0") == "T1 duration: 4.1"


@pytest.mark.data
@pytest.mark.skipif(not MIRROR.is_dir(), reason="no real recordings beside the checkout")
def test_seizure_annotation_bytes_equal_the_real_ones():
    real = (MIRROR / "reference/chbmit/chb01/chb01_03.edf.seizures").read_bytes()
    assert annotation_bytes(256, [(2996 * 256, ONSET, ""), (3036 * 256, END, "")]) == real


@pytest.mark.parametrize("module", [chbmit, eegmmidb, siena, sleepedf])
def test_edf_files_hold_what_was_meant(module, tmp_path, monkeypatch):
    meant: dict[Path, list[EdfSignal]] = {}

    def spy(path, signals, **header):
        meant[path] = list(signals)
        write_edf(path, signals, **header)

    monkeypatch.setattr(module, "write_edf", spy)
    truth = Truth()
    records = module.write(tmp_path, SCALES["tiny"], 0, truth)
    bad = {key for _, key, kind in truth.broken if kind.startswith(("truncated", "EDF"))}
    for record in [key for key in records if key not in bad][:3]:
        raw = read_edf(tmp_path / record)
        signals = meant[tmp_path / record]
        assert len(raw.ch_names) == len(signals)
        for k, signal in enumerate(signals):
            if signal.rate_hz != raw.info["sfreq"] or signal.unit != "uV":
                continue  # mne resamples those
            step = (signal.physical[1] - signal.physical[0]) / (signal.digital[1] - signal.digital[0])
            inside = np.clip(signal.data, *signal.physical)
            assert np.abs(raw.get_data([k])[0] * 1e6 - inside).max() <= 0.51 * step


# --- the facts of each dataset ------------------------------------------------------------------------------


def test_chbmit_layout(bucket):
    root = bucket / "chbmit/1.0.0"
    summaries = {path.parent.name: path.read_text() for path in root.glob("*/*-summary.txt")}
    assert "\nSeizure Start Time: " in summaries["chb01"]
    assert "\nSeizure 1 Start Time:  " in summaries["chb12"]
    assert "File Start Time" not in summaries["chb24"] and "Seizure 1 Start Time" in summaries["chb24"]
    assert "Channels changed:" in summaries["chb12"] and ": -\n" in summaries["chb12"]
    records = (root / "RECORDS").read_text().split()
    assert "chb02/chb02_16+.edf" in records
    raw = read_edf(root / "chb01/chb01_03.edf")
    assert len(raw.ch_names) == 23 and raw.info["sfreq"] == 256
    x = raw.get_data() * 1e6
    np.testing.assert_array_equal(x[14], x[22])  # T8-P8 twice
    step = 1600 / 4095
    assert np.abs(x[2] + x[18]).max() <= 1.1 * step  # P7-T7 is T7-P7 turned round
    assert np.abs(x[0:4].sum(0) - x[4:8].sum(0)).max() <= 8 * step  # a closed loop, during seizures too
    with (bucket / "truth/chbmit_focal.csv").open() as file:
        focal = list(csv.DictReader(file))
    lead = {row["case"]: row["channels"] for row in focal}
    assert lead["chb21"] == lead["chb01"]  # the same child
    assert len({lead[case] for case in lead if case != "chb21"}) == len(lead) - 1
    assert {f"{row['case']}/{row['file']}" for row in focal} == set(
        (root / "RECORDS-WITH-SEIZURES").read_text().split()
    )


def test_eegmmidb_layout(bucket):
    root = bucket / "eegmmidb/1.0.0"
    raw = read_edf(root / "S001/S001R03.edf")
    assert raw.info["sfreq"] == 160 and raw.ch_names[0] == "Fc5." and raw.ch_names[-1] == "Iz.."
    assert len(raw.ch_names) == 64
    assert set(raw.annotations.description) <= {"T0", "T1", "T2"} and len(raw.annotations) >= 4
    assert read_edf(root / "S088/S088R03.edf").info["sfreq"] == 128
    if MIRROR.is_dir():
        real = read_edf(MIRROR / "eegmmidb/1.0.0/S001/S001R03.edf")
        assert raw.ch_names == real.ch_names


def test_sleep_layout(bucket):
    import mne

    root = bucket / "sleep-edfx/1.0.0"
    for psg in root.glob("*/*-PSG.edf"):
        (hypnogram,) = [p for p in psg.parent.glob(psg.name[:7] + "*Hypnogram.edf")]
        notes = mne.read_annotations(hypnogram)
        assert {"Sleep stage W", "Sleep stage 2", "Sleep stage R"} <= set(notes.description)
        assert notes.description[-1] == "Sleep stage ?"
        raw = read_edf(psg)
        assert notes.onset[-1] == pytest.approx(raw.n_times / raw.info["sfreq"])
        header = psg.read_bytes()[256 : 256 * 9]
        n = len(raw.ch_names)
        rates = [int(header[n * 216 + 8 * k : n * 216 + 8 * k + 8]) / 30 for k in range(n)]
        emg = raw.ch_names.index("EMG submental")
        assert rates[emg] == (1 if "cassette" in str(psg) else 100)
        assert rates[0] == 100


def test_siena_layout(bucket):
    root = bucket / "siena-scalp-eeg/1.0.0"
    with (root / "subject_info.csv").open() as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    assert list(rows[0])[:6] == [
        "patient_id",
        "age_years",
        "gender",
        "seizure",
        "localization",
        "lateralization",
    ]
    assert len({(row["localization"], row["lateralization"]) for row in rows}) == len(rows)
    for row in rows:
        patient = row["patient_id"]
        raw = read_edf(root / patient / f"{patient}-1.edf")
        assert raw.info["sfreq"] == 512 and raw.ch_names[0].upper() == "EEG FP1"
        truth = json.loads((bucket / f"truth/lags/siena/{patient}-1-1.json").read_text())
        side = {"L": "13579", "R": "2468"}[row["lateralization"]]
        assert truth["lead"][-1] in side
        onset = raw.info["meas_date"] + datetime.timedelta(seconds=truth["onset_s"])
        text = (root / patient / f"Seizures-list-{patient}.txt").read_text().replace(":", ".")
        assert f"{onset:%H.%M.%S}" in text


def test_ecg_tables(bucket):
    root = bucket / "ptb-xl/1.0.3"
    with (root / "ptbxl_database.csv").open() as file:
        rows = list(csv.DictReader(file))
    if MIRROR.is_dir():
        for name in ("ptbxl_database.csv", "scp_statements.csv"):
            with (root / name).open() as ours, (MIRROR / "ptb-xl/1.0.3" / name).open() as theirs:
                assert next(csv.reader(ours)) == next(csv.reader(theirs))
    by_patient: dict[str, set[str]] = {}
    for row in rows:
        by_patient.setdefault(row["patient_id"], set()).add(row["strat_fold"])
    assert all(len(folds) == 1 for folds in by_patient.values())
    assert len(by_patient) < len(rows)
    assert {row["strat_fold"] for row in rows} == {str(k) for k in range(1, 11)}
    statements = {row[0] for row in csv.reader((root / "scp_statements.csv").open())}
    assert {code for codes in ecg.CODES.values() for code in codes} < statements
    digital = np.fromfile(root / "records500/00000/00001_hr.dat", "<i2").reshape(-1, 12).T.astype(int)
    lead = dict(zip(ptbxl.STANDARD, digital, strict=True))
    np.testing.assert_array_equal(lead["III"], lead["II"] - lead["I"])
    np.testing.assert_array_equal(2 * lead["AVR"], -(lead["I"] + lead["II"]))
    np.testing.assert_array_equal(2 * lead["AVL"], 2 * lead["I"] - lead["II"])
    np.testing.assert_array_equal(2 * lead["AVF"], 2 * lead["II"] - lead["I"])
    assert np.linalg.matrix_rank(digital.astype(float)) == 8


def test_broken_files_are_as_declared(bucket):
    import wfdb

    kinds = set()
    for row in broken(bucket):
        path, kind = get_dataset(row["dataset"]).folder(bucket) / row["key"], row["kind"]
        kinds.add(kind)
        if kind == "truncated EDF":
            header = path.read_bytes()[:256]
            promised = int(header[184:192]) + int(header[236:244]) * int(header[252:256]) * 256 * 2
            assert path.stat().st_size < promised
        elif kind.startswith("EDF with impossible"):
            content = path.read_bytes()
            n = int(content[252:256])
            assert int(content[256 + 216 * n : 264 + 216 * n]) < 0
        elif kind == "unknown channel names":
            assert not {name.strip(".").upper() for name in read_edf(path).ch_names} & {*TEN_TWENTY, *BANANA}
        elif kind.startswith("WFDB header"):
            with pytest.raises(FileNotFoundError):
                wfdb.rdrecord(str(path.with_suffix("")))
        elif kind.startswith("hypnogram"):
            assert path.is_file() and not list(path.parent.glob(path.name[:7] + "*PSG.edf"))
        elif kind == "every sample missing":
            assert np.isnan(wfdb.rdrecord(str(path)).p_signal).all()
        elif kind.endswith("flat"):
            record = wfdb.rdrecord(str(path).removesuffix(".mat"))
            assert (record.p_signal.std(axis=0) == 0).any()
    assert len(kinds) >= 9
