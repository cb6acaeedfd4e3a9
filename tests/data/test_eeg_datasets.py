"""Montages, and pitfalls of each EEG dataset, on the miniature bucket and on real files."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.paths import MIRROR
from toys.recordings import edf, noise

from cldtrans.data import get_dataset
from cldtrans.data.chbmit import parse_summary, read_summary, seizure_labels
from cldtrans.data.miniature.edf_writer import EdfSignal, edf_bytes, write_edf
from cldtrans.data.montages.montage import DOUBLE_BANANA, apply_recipe, bipolar_recipe
from cldtrans.data.siena import ListedSeizure, names_file, parse_list, place_seizure, read_clock
from cldtrans.data.sleepedf import read_hypnogram
from cldtrans.errors import DataError

# Montage


def test_direct_reversed_and_derived_channels():
    labels = [
        "-",
        "F7-FP1",
        "T8-P8",
        "FP2-CS2",
        "F4-CS2",
        "EEG Fz",
        "EEG Cz",
        "ECG",
        "T8-P8#2",
        "--0",
        "T3-T5",
    ]
    recipe = dict(zip(DOUBLE_BANANA, bipolar_recipe(labels, DOUBLE_BANANA), strict=True))
    assert recipe["FP1-F7"] == (1, None, -1.0)
    assert recipe["T8-P8"] == (2, None, 1.0)
    assert recipe["FP2-F4"] == (3, 4, 1.0)
    assert recipe["FZ-CZ"] == (5, 6, 1.0)
    assert recipe["T7-P7"] == (10, None, 1.0)
    assert recipe["CZ-PZ"][0] == -1


@given(st.permutations(range(21)), st.sampled_from(["", "-CS2", "-REF"]))
def test_montage_of_any_order_and_reference(order, suffix):
    electrodes = sorted({name for pair in DOUBLE_BANANA for name in pair.split("-")})
    labels = [f"{electrodes[k]}{suffix}" if k < len(electrodes) else f"X{k}" for k in order]
    potential = {name: np.random.default_rng(k).standard_normal(5) for k, name in enumerate(electrodes)}
    data = np.stack([potential.get(label.removesuffix(suffix), np.zeros(5)) for label in labels])
    out = apply_recipe(data.astype(np.float32), bipolar_recipe(labels, DOUBLE_BANANA))
    for row, pair in zip(out, DOUBLE_BANANA, strict=True):
        plus, minus = pair.split("-")
        assert np.allclose(row, potential[plus] - potential[minus], atol=1e-6)


# CHB-MIT

SUMMARY = """Data Sampling Rate: 256 Hz
Channels in EDF Files:
Channel 1: FP1-F7

File Name: chb01_03.edf
File Start Time: 13:43:04
File End Time: 14:43:04
Number of Seizures in File: 1
Seizure Start Time: 2996 seconds
Seizure End Time: 3036 seconds

File Name: chb02_16+.edf
Number of Seizures in File: 2
Seizure 1 Start Time:             10 seconds
Seizure 1 End Time: 20 seconds
Seizure 2 Start Time: 100.5 seconds
Seizure 2 End Time: 120 seconds

File Name: chb01_04.edf
Number of Seizures in File: 0
"""


def test_both_spellings_of_a_seizure():
    assert parse_summary(SUMMARY) == {
        "chb01_03.edf": [(2996.0, 3036.0)],
        "chb02_16+.edf": [(10.0, 20.0), (100.5, 120.0)],
        "chb01_04.edf": [],
    }


def test_a_summary_that_contradicts_itself_is_refused():
    with pytest.raises(DataError, match=r"chb01_03\.edf: 1 seizures announced, 1 start and 0 end"):
        parse_summary(SUMMARY.replace("Seizure End Time: 3036 seconds\n", ""))
    with pytest.raises(DataError, match="ends before it begins"):
        parse_summary(SUMMARY.replace("3036", "2000"))


@given(
    st.lists(st.tuples(st.floats(0, 300), st.floats(2, 60)), max_size=3), st.sampled_from([4.0, 10.0, 30.0])
)
def test_every_seizure_has_a_window_and_far_windows_none(drawn, window_s):
    events = [(onset, onset + length) for onset, length in drawn]
    start_s = np.arange(0, 400, window_s)
    label = seizure_labels(events, start_s, window_s)
    for onset, end in events:
        touching = (start_s < end) & (start_s + window_s > onset)
        assert label[touching].any()
    touched = np.zeros(len(start_s), dtype=bool)
    for onset, end in events:
        touched |= (start_s < end) & (start_s + window_s > onset)
    assert not label[~touched].any()


def test_chb21_is_chb01(bucket):
    table = get_dataset("chbmit").recordings(bucket)
    assert table.set_index("case")["subject"].to_dict()["chb21"] == "chb01"
    assert "chb02_16+" in set(table["recording"])


def test_common_reference_equals_bipolar(bucket):
    dataset = get_dataset("chbmit")
    table = dataset.recordings(bucket).set_index("recording", drop=False)
    signal = dataset.read(bucket, table.loc["chb12_27"])
    assert signal.mask.all()
    from cldtrans.data.formats.edf import read_edf

    recording = read_edf(bucket / table.loc["chb12_27", "path"])
    assert not set(DOUBLE_BANANA) & set(recording.labels)


def test_a_file_listed_with_seizures_but_without_times_is_refused(bucket, tmp_path):
    shutil.copytree(bucket / "chbmit", tmp_path / "chbmit")
    dataset = get_dataset("chbmit")
    table = dataset.recordings(tmp_path)
    row = next(r for r in table.itertuples() if r.recording == "chb01_03")
    summary = tmp_path / "chbmit/1.0.0/chb01/chb01-summary.txt"
    summary.write_text("File Name: chb01_01.edf\nNumber of Seizures in File: 0\n")
    read_summary.cache_clear()
    with pytest.raises(DataError, match="does not say when"):
        dataset.events(tmp_path, row)
    (tmp_path / "chbmit/1.0.0/RECORDS-WITH-SEIZURES").unlink()
    assert dataset.events(tmp_path, row) == []


def test_dummy_and_repeated_channels(tmp_path):
    rng = np.random.default_rng(0)
    labels = ["-", *DOUBLE_BANANA[::-1], "T8-P8", "VNS"]
    signals = [EdfSignal(label, 50 * rng.standard_normal(2560), 256, (-800, 800)) for label in labels]
    write_edf(tmp_path / "chbmit/1.0.0/chb01/chb01_01.edf", signals)
    dataset = get_dataset("chbmit")
    signal = dataset.read(tmp_path, next(dataset.recordings(tmp_path).itertuples()))
    for row, name in zip(signal.data, DOUBLE_BANANA, strict=True):
        assert np.allclose(row, signals[labels.index(name)].data, atol=0.02)


def test_a_seizure_after_the_end_of_its_file_is_no_background(tmp_path: Path) -> None:
    folder = tmp_path / "chbmit/1.0.0/chb99"
    folder.mkdir(parents=True)
    (folder / "chb99_01.edf").write_bytes(edf(["FP1-F7", "F7-T7"], noise(2, 60)))
    (folder / "chb99-summary.txt").write_text(
        "File Name: chb99_01.edf\nNumber of Seizures in File: 1\n"
        "Seizure Start Time: 100 seconds\nSeizure End Time: 120 seconds\n"
    )
    dataset = get_dataset("chbmit")
    row = next(dataset.recordings(tmp_path).itertuples(index=False))
    with pytest.raises(DataError, match=r"chb99_01\.edf: a seizure from 100 to 120 s lies outside"):
        dataset.read(tmp_path, row)


@pytest.mark.data
@pytest.mark.skipif(not (MIRROR / "reference").is_dir(), reason="no real recordings beside the checkout")
def test_official_summaries_equal_the_table_of_seizures():
    table = pd.read_csv(MIRROR / "reference/chbmit/derived/GuigaGit_chb_mit_global_labels.csv")
    for case in ("chb01", "chb02"):
        path = MIRROR / f"reference/chbmit/{case}/{case}-summary.txt"
        if not path.is_file():
            continue
        found = parse_summary(path.read_text(), str(path))
        listed = table[(table["patient"] == case) & (table["label"] == 1)]
        expected = {(r.file_name, float(r.start_sec), float(r.end_sec)) for r in listed.itertuples()}
        assert {(name, *event) for name, events in found.items() for event in events} == expected


@pytest.mark.data
@pytest.mark.skipif(not (MIRROR / "chbmit").is_dir(), reason="no real recordings beside the checkout")
def test_real_clips_have_their_seizures():
    clips = MIRROR / "chbmit/1.0.0/CLIPS.csv"
    if not clips.is_file():
        pytest.skip("another mirror: no list of clips")
    dataset = get_dataset("chbmit")
    table = pd.read_csv(clips).set_index("file")
    for row in dataset.recordings(MIRROR).itertuples():
        listed = table.loc[Path(row.path).name]
        expected = (
            [] if np.isnan(listed.seizure_start_s) else [(listed.seizure_start_s, listed.seizure_end_s)]
        )
        assert dataset.events(MIRROR, row) == expected


# EEGMMIDB


def test_another_rate_is_refused_by_the_header(bucket):
    dataset = get_dataset("eegmmidb")
    row = next(r for r in dataset.recordings(bucket).itertuples() if r.subject == "S088")
    with pytest.raises(DataError, match="sampling rate 128 Hz, expected 160 Hz"):
        dataset.read(bucket, row)


def test_a_missing_electrode_is_masked(tmp_path):
    dataset = get_dataset("eegmmidb")
    kept = [name for name in dataset.channels if name != "Cz"][::-1]
    rng = np.random.default_rng(1)
    signals = [
        EdfSignal(name.title().ljust(4, "."), 40 * rng.standard_normal(1600), 160, (-800, 800))
        for name in kept
    ]
    write_edf(tmp_path / "eegmmidb/1.0.0/S001/S001R01.edf", signals, annotations=[])
    signal = dataset.read(tmp_path, next(dataset.recordings(tmp_path).itertuples()))
    cz = dataset.channels.index("Cz")
    assert signal.mask.sum() == 63 and not signal.mask[cz] and not signal.data[cz].any()
    assert np.allclose(signal.data[dataset.channels.index("FC5")], signals[kept.index("FC5")].data, atol=0.02)


# Sleep-EDF


def test_halves_of_a_night_find_each_other(bucket):
    dataset = get_dataset("sleepedf")
    table = dataset.recordings(bucket).set_index("recording", drop=False)
    row = table.loc["SC4001"]
    assert row.path.endswith("SC4001E0-PSG.edf") and row.hypnogram.endswith("-Hypnogram.edf")
    assert table.loc["SC4011", "subject"] == table.loc["SC4012", "subject"] == "SC401"
    assert table.loc["ST7011", "subject"] == "ST701"
    with pytest.raises(DataError, match="a hypnogram without its PSG"):
        dataset.read(bucket, table.loc["SC4031"])


def test_a_night_without_hypnogram_is_refused(bucket, tmp_path):
    shutil.copytree(bucket / "sleep-edfx", tmp_path / "sleep-edfx")
    next((tmp_path / "sleep-edfx").rglob("SC4001*Hypnogram.edf")).unlink()
    dataset = get_dataset("sleepedf")
    row = next(r for r in dataset.recordings(tmp_path).itertuples() if r.recording == "SC4001")
    with pytest.raises(DataError, match="a PSG without its hypnogram"):
        dataset.read(tmp_path, row)


def test_stages_merged_dropped_and_cropped(monkeypatch, tmp_path):
    events = [
        (0.0, 7200.0, "Sleep stage W"),
        (7200.0, 60.0, "Sleep stage 1"),
        (7260.0, 60.0, "Sleep stage 3"),
        (7320.0, 60.0, "Sleep stage 4"),
        (7380.0, 30.0, "Movement time"),
        (7410.0, 30.0, "Sleep stage ?"),
        (7440.0, 60.0, "Sleep stage R"),
        (7500.0, 7500.0, "Sleep stage W"),
    ]
    path = tmp_path / "sleep-edfx/1.0.0/sleep-cassette/SC4001EC-Hypnogram.edf"
    write_edf(path, [], annotations=events, annotation_samples=400)
    row = SimpleNamespace(hypnogram=path.relative_to(tmp_path).as_posix())
    start_s = np.arange(0, 15000, 30.0)
    found = get_dataset("sleepedf").label_windows(tmp_path, row, start_s, 30.0)
    kept = start_s[found["keep"]]
    assert kept.min() == 7200 - 1800 and kept.max() == 7500 + 1800 - 30
    assert 7380 not in kept and 7410 not in kept
    label = dict(zip(start_s, found["label"], strict=True))
    assert [label[t] for t in (7170, 7200, 7260, 7320, 7380, 7440, 7500)] == [0, 1, 3, 3, -1, 4, 0]


def sleep_files(root: Path, hypnogram_start: datetime.datetime) -> SimpleNamespace:
    folder = root / "sleep-edfx/1.0.0/sleep-cassette"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal")
    signals = [EdfSignal(name, 20 * rng.standard_normal(7200 * 100), 100.0, (-200, 200)) for name in names]
    start = datetime.datetime(1989, 4, 24, 16, 0)
    (folder / "SC4001E0-PSG.edf").write_bytes(edf_bytes(signals, 30.0, start))
    events = [
        (0.0, 1800.0, "Sleep stage W"), (600.0, 0.0, "Lights off"),
        (1800.0, 600.0, "Sleep stage 1"), (2400.0, 3000.0, "Sleep stage 2"),
    ]  # fmt: skip
    hypnogram = edf_bytes([], 0.0, hypnogram_start, annotations=events, annotation_samples=200)
    (folder / "SC4001EC-Hypnogram.edf").write_bytes(hypnogram)
    return next(get_dataset("sleepedf").recordings(root).itertuples(index=False))


@pytest.mark.parametrize("later_min", [-10, 0, 10])
def test_stages_stand_on_the_recordings_clock(later_min: int, tmp_path: Path) -> None:
    start = datetime.datetime(1989, 4, 24, 16, 0) + datetime.timedelta(minutes=later_min)
    row = sleep_files(tmp_path, start)
    start_s = np.arange(0, 7200, 30.0)
    label = get_dataset("sleepedf").label_windows(tmp_path, row, start_s, 30.0)["label"]
    assert start_s[label == 1][0] == 1800 + 60 * later_min
    inside = start_s[(start_s >= 60 * later_min) & (start_s < 1800 + 60 * later_min)]
    assert (label[np.isin(start_s, inside)] == 0).all(), "an event inside a stage does not end it"


def test_a_hypnogram_of_another_night_is_refused(tmp_path: Path) -> None:
    row = sleep_files(tmp_path, datetime.datetime(1989, 4, 25, 16, 0))
    with pytest.raises(DataError, match="begins 86400 s after its recording of 7200 s"):
        get_dataset("sleepedf").read(tmp_path, row)


@pytest.mark.data
@pytest.mark.skipif(not (MIRROR / "sleep-edfx").is_dir(), reason="no real recordings beside the checkout")
def test_a_real_lone_hypnogram():
    dataset = get_dataset("sleepedf")
    path = MIRROR / "sleep-edfx/1.0.0/sleep-cassette/SC4001EC-Hypnogram.edf"
    if not path.is_file() or list(path.parent.glob("SC4001*PSG.edf")):
        pytest.skip("another mirror")
    row = next(dataset.recordings(MIRROR).itertuples())
    with pytest.raises(DataError, match=r"hypnogram without its PSG \(expected SC4001\*-PSG\.edf\)"):
        dataset.read(MIRROR, row)
    _, _, stage = read_hypnogram(str(path))
    labels = dataset.label_windows(MIRROR, row, np.arange(0, 79500, 30.0), 30.0)
    counts = np.bincount(labels["label"][labels["keep"]], minlength=5)
    assert set(stage) == {-1, 0, 1, 2, 3, 4}
    assert counts.tolist() == [188, 58, 250, 220, 125]  # W N1 N2 N3 R of SC4001 as other tools count them


# Siena

LIST = """Seizure n 1
File name: PNO6-1.edf
Registration start time: 04.21.22
Registration end time: 07.12.08
Seizure start time: 05.54.25
Seizure end time: 05.55.29

Seizure n 2 (in sleep)
File name: PN06-2.edf
Registration start time:1 6.49.25
Registration end time: 02.10.00
Start time: 15.43.53 (CLINICAL ONSET); 15.43.59 (ELECTRIC ONSET)
End time: 16:13.23 opure 16.14.00

Seizure n 3
File name: PN06-2.edf
Seizure start time: 23.59.50
Seizure end time: 00.00.30
"""


def test_hand_written_lists():
    first, second, third = parse_list(LIST)
    assert (first.file, first.registration_s, first.onset_s) == ("PNO6-1.edf", 15682.0, 21265.0)
    assert second.registration_s == 16 * 3600 + 49 * 60 + 25
    assert second.onset_s == 15 * 3600 + 43 * 60 + 59 and second.end_s == 16 * 3600 + 13 * 60 + 23
    assert third.registration_s == second.registration_s  # inherited within a file
    assert (third.end_s - third.onset_s) % 86400 == 40


def test_lists_that_cannot_be_read_are_refused():
    with pytest.raises(DataError, match="no clock time in 'Seizure start time: soon'"):
        parse_list(LIST.replace("05.54.25", "soon"))
    with pytest.raises(DataError, match="has no end time"):
        parse_list("File name: a.edf\nSeizure start time: 01.02.03\n")


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.sampled_from([".", ":", " : "]))
def test_clock_times(hour, minute, second, mark):
    assert (
        read_clock(f" {hour:02d}{mark}{minute:02d}{mark}{second:02d}") == 3600 * hour + 60 * minute + second
    )


@pytest.mark.parametrize(
    ("listed", "file", "same"),
    [
        ("PNO6-1.edf", "PN06-1.edf", True),
        ("PN01.edf", "PN01-1.edf", True),
        ("PN11-.edf", "PN11-1.edf", True),
        ("PN10-4.5.6.edf", "PN10-4.5.6.edf", True),
        ("PN10-1.edf", "PN10-10.edf", False),
        ("PN06-1.edf", "PN06-2.edf", False),
    ],
)
def test_misspelt_file_names(listed, file, same):
    assert names_file(listed, file) is same


def test_seizures_are_placed_by_the_header():
    def at(registration, onset, end):
        return ListedSeizure("f", registration, onset, end)

    hour = 3600.0
    assert place_seizure(at(6 * hour, 17 * hour, 17 * hour + 60), 16 * hour, 8000, "x") == (3600, 3660)
    assert place_seizure(at(None, 100.0, 160.0), 86000.0, 4000, "x") == (500, 560)  # past midnight
    late = at(None, 18.4 * hour, 19.4 * hour + 60)
    assert place_seizure(late, 18 * hour, 2500, "x") == pytest.approx((1440, 1500))  # PN00-3
    assert place_seizure(at(5 * hour, 6 * hour, 6 * hour + 60), 12 * hour, 4000, "x") == (3600, 3660)
    with pytest.raises(DataError, match=r"06:00:00 to 06:01:00 lies outside the recording of 1000 s"):
        place_seizure(at(None, 6 * hour, 6 * hour + 60), 5 * hour, 1000, "x")


def test_lobe_and_side(bucket):
    table = get_dataset("siena").recordings(bucket)
    assert set(table["lobe"]) <= {"temporal", "frontal"} and set(table["side"]) <= {
        "left",
        "right",
        "bilateral",
    }


def test_planted_seizures_are_where_they_were_planted(bucket):
    import json

    for name in ("siena", "chbmit"):
        dataset = get_dataset(name)
        rows = {Path(row.path).name: row for row in dataset.recordings(bucket).itertuples()}
        planted = sorted((bucket / "truth" / "lags" / name).glob("*.json"))
        assert planted
        for path in planted:
            truth = json.loads(path.read_text())
            events = dataset.events(bucket, rows[truth["file"]])
            onset, end = events[truth["seizure"] - 1]
            assert abs(onset - truth["onset_s"]) <= 1 and abs(end - truth["end_s"]) <= 1
