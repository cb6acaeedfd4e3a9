"""Files as they occur in the world: the right value, or one clear line; never a silent wrong one."""

from __future__ import annotations

import datetime
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.preprocess import build, settings_of

from cldtrans.data import get_dataset
from cldtrans.data.fetch.sources import Retry, S3Source
from cldtrans.data.formats.channels import distinguishable
from cldtrans.data.formats.edf import read_edf
from cldtrans.data.formats.units import microvolts
from cldtrans.data.formats.wfdb_reader import read_wfdb
from cldtrans.data.miniature.edf_writer import EdfSignal, edf_bytes
from cldtrans.data.montages.kinds import kinds_of
from cldtrans.data.recording import from_array, from_raw, open_recording
from cldtrans.errors import DataError
from cldtrans.lag.recording import cut_window

RATE = 200.0


def noise(n_channels: int, seconds: float, seed: int = 0, deviation: float = 50.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return deviation * rng.standard_normal((n_channels, round(seconds * RATE)))


def edf(names: list[str], x: np.ndarray, units: list[str] | None = None) -> bytes:
    units = units or ["uV"] * len(names)
    signals = [
        EdfSignal(name, row, RATE, (-1000, 1000), unit=unit)
        for name, row, unit in zip(names, x, units, strict=True)
    ]
    return edf_bytes(signals)


def discontinuous(whole: bytes, starts_s: list[float], family: str = "EDF") -> bytes:
    """A file of records of one second with a time stamp each, from a plain file of as many records."""
    n = int(whole[252:256])
    header, body = whole[: 256 * (n + 1)], whole[256 * (n + 1) :]
    width = len(body) // len(starts_s)
    stamp_samples = 20
    columns = [
        (16, f"{family} Annotations"),
        (80, ""),
        (8, ""),
        (8, "-1"),
        (8, "1"),
        (8, "-32768"),
        (8, "32767"),
    ]
    columns += [(80, ""), (8, str(stamp_samples)), (32, "")]
    fields, at = header[256:], 0
    lengthened = b""
    for size, value in columns:
        lengthened += fields[at : at + size * n] + value.ljust(size).encode()
        at += size * n
    fixed = bytearray(header[:256])
    fixed[184:192] = str(256 * (n + 2)).ljust(8).encode()
    fixed[192:236] = f"{family}+D".ljust(44).encode()
    fixed[236:244] = str(len(starts_s)).ljust(8).encode()
    fixed[252:256] = str(n + 1).ljust(4).encode()
    records = b""
    sample_bytes = 3 if family == "BDF" else 2
    for k, start_s in enumerate(starts_s):
        samples = body[k * width : (k + 1) * width]
        if family == "BDF":
            fixed[:8] = b"\xffBIOSEMI"
            values = np.frombuffer(samples, "<i2").astype("<i4")
            samples = values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        stamp = f"+{start_s:g}\x14\x14\0".encode().ljust(sample_bytes * stamp_samples, b"\0")
        records += samples + stamp
    return bytes(fixed) + lengthened + records


@pytest.mark.parametrize("family", ["EDF", "BDF"])
def test_a_pause_keeps_its_place_on_the_time_axis(family: str, tmp_path: Path) -> None:
    x = noise(2, 6)
    path = tmp_path / f"pause.{family.lower()}"
    path.write_bytes(discontinuous(edf(["C3", "C4"], x), [0, 1, 2, 12, 13, 14], family))
    recording = open_recording(path)
    assert recording.duration_s == 15
    data = recording.read(0, recording.n_samples)
    np.testing.assert_allclose(data[:, :600], x[:, :600], atol=0.02)
    assert np.isnan(data[:, 600:2400]).all()
    np.testing.assert_allclose(data[:, 2400:], x[:, 600:], atol=0.02)
    np.testing.assert_array_equal(recording.read(500, 2500), data[:, 500:2500])
    with pytest.raises(DataError, match=r"pause\.\w+: channels C3, C4 have gaps between 2 and 13 s"):
        cut_window(path, 2, 13, reference="none")


def test_a_pause_of_days_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "days.edf"
    path.write_bytes(discontinuous(edf(["C3", "C4", "Cz"], noise(3, 2)), [0, 6.9 * 86400.0]))
    recording = read_edf(path)
    assert recording.signals(None, 0, 400).shape == (3, 400)
    with pytest.raises(DataError, match=r"expected pauses that fill at most 400 MB, found \d+ MB"):
        open_recording(path).read(0, int(recording.n_samples[0]))


def test_bdf_holds_24_bits(tmp_path: Path) -> None:
    """Against mne, over the whole range of values."""
    import mne

    x = noise(3, 3)
    x[0, :4] = [-1000, 1000, 0, -0.02]
    path = tmp_path / "plain.bdf"
    path.write_bytes(discontinuous(edf(["C3", "C4", "Cz"], x), [0, 1, 2], "BDF"))
    expected = mne.io.read_raw_bdf(path, verbose="ERROR").get_data(["C3", "C4", "Cz"]) * 1e6
    np.testing.assert_allclose(open_recording(path).read(0, 600), expected, atol=1e-3)


def test_a_file_longer_than_its_header_says_is_read_to_its_end(tmp_path: Path) -> None:
    whole = bytearray(edf(["C3", "C4"], noise(2, 5)))
    whole[236:244] = b"3       "
    (tmp_path / "long.edf").write_bytes(whole)
    recording = open_recording(tmp_path / "long.edf")
    assert recording.duration_s == 5
    assert recording.notes == ["the header announces 3 records, the file holds 5: all of them are read"]


def test_the_content_tells_what_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "night.rec").write_bytes(edf(["Fp1", "F3"], noise(2, 5)))
    assert open_recording(tmp_path / "night.rec").names == ["Fp1", "F3"]
    (tmp_path / "night.hea").write_text(
        "night 2 250 1250\nnight.dat 16 200 16 0 0 0 0 A\nnight.dat 16 200 16 0 0 0 0 B\n"
    )
    np.zeros(2500, "<i2").tofile(tmp_path / "night.dat")
    (tmp_path / "night.edf").write_bytes((tmp_path / "night.rec").read_bytes())
    assert open_recording(tmp_path / "night.edf").names == ["Fp1", "F3"]
    for name in ("night", "night.hea", "night.dat"):
        assert open_recording(tmp_path / name).names == ["A", "B"], name


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("uV", 1),
        ("UV", 1),
        ("µV", 1),
        ("μV", 1),
        ("Âµv", 1),
        ("mv", 1e3),
        ("mV ", 1e3),
        ("V", 1e6),
        ("nV", 1e-3),
    ],
)
def test_voltages_are_understood_however_they_are_spelled(unit: str, factor: float) -> None:
    assert microvolts(unit) == pytest.approx(factor)


@pytest.mark.parametrize("unit", ["", "mmHg", "%", "degC", "bpm", "uV/Hz", "kV"])
def test_other_units_are_no_voltages(unit: str) -> None:
    assert microvolts(unit) is None


def test_channels_of_several_units_are_brought_to_one(tmp_path: Path) -> None:
    x = noise(3, 5)
    scaled = x * np.array([[1e-3], [1], [1]])
    signals = [
        EdfSignal(name, row, RATE, (-limit, limit), unit=unit)
        for name, row, limit, unit in zip(
            ["Fp1", "F3", "C3"], scaled, [1, 1000, 1000], ["mv", "UV", "uV"], strict=True
        )
    ]
    (tmp_path / "units.edf").write_bytes(edf_bytes(signals))
    recording = open_recording(tmp_path / "units.edf")
    np.testing.assert_allclose(recording.read(0, 1000), x, atol=0.02)
    assert recording.units == ["uV"] * 3


def test_what_is_no_voltage_enters_no_difference(tmp_path: Path) -> None:
    (tmp_path / "monitor.edf").write_bytes(edf(["F3", "C3", "P3"], noise(3, 20), ["uV", "uV", "mmHg"]))
    recording = open_recording(tmp_path / "monitor.edf")
    assert recording.kinds == ["eeg", "eeg", "other"]
    with pytest.raises(DataError, match="from F3, C3; use"):
        cut_window(tmp_path / "monitor.edf", reference="bipolar")


SETS = [
    ("Fp1 F3 C3 ECG EMG1", "eeg eeg eeg ecg emg"),
    ("EEG Fp1-REF,EEG F3-REF,POL E,POL DC10", "eeg eeg other trigger"),
    ("Fp1_REF,F3:M2,C3-LE,A1", "eeg eeg eeg other"),
    (",".join(f"{row}{k}" for row in "ABCDEFGH" for k in range(1, 9)), " ".join(["other"] * 64)),
    ("LA1,LA2,LA3,LA4,LA5,RH1,RH2,RH3,RH4,RH5,C3", " ".join(["other"] * 11)),
    ("R,L,F,C1,C2,C3,C4,C5,C6", " ".join(["ecg"] * 9)),
    ("I,II,III,aVR,aVL,aVF,V1,V6", " ".join(["ecg"] * 8)),
    ("EEG Fpz-Cz,EOG horizontal,EMG submental,Resp oro-nasal,Event marker", "eeg eog emg breath trigger"),
    ("C3,C4,O1,O2,LOC,ROC,Chin1,SpO2,Status", "eeg eeg eeg eeg eog eog emg breath trigger"),
]


@pytest.mark.parametrize(("names", "kinds"), SETS)
def test_names_are_understood_as_a_set(names: str, kinds: str) -> None:
    split = names.split(",") if "," in names else names.split()
    assert kinds_of(split) == kinds.split()


def test_numbered_leads_of_a_cap_are_not_10_20(tmp_path: Path) -> None:
    names = [f"{row}{k}" for row in "ABCDEFGH" for k in range(1, 9)]
    window = cut_window(from_array(noise(64, 20), RATE, names))
    assert window.channels == names and window.reference == "none"


def test_a_recording_in_another_bipolar_montage_stays_as_it_is() -> None:
    names = ["T3-C3", "C3-Cz", "Cz-C4", "C4-T4", "Fz-Cz", "Cz-Pz"]
    assert cut_window(from_array(noise(6, 20), RATE, names)).channels == names


def test_what_a_montage_leaves_out_is_said() -> None:
    names = ["Fp1", "F3", "C3", "P3", "FC5", "ECG", "Status"]
    window = cut_window(from_array(noise(7, 20), RATE, names))
    assert window.channels == ["FP1-F3", "F3-C3", "C3-P3"]
    assert any("FC5" in note for note in window.notes)
    assert any("ECG" in note and "Status" in note for note in window.notes)


def test_leads_of_an_ecg_get_its_defaults_beside_an_eeg() -> None:
    among = from_array(noise(5, 20), RATE, ["F3-M2", "C3-M2", "ECG1", "ECG2", "Chin1"])
    assert cut_window(among, channels=["ECG1", "ECG2"]).innovation == "gaussian"
    assert cut_window(among, channels=["F3-M2", "C3-M2"], reference="none").innovation == "laplace"


def raw_of(x: np.ndarray, names: list[str], types: str | list[str] = "eeg"):
    import mne

    return mne.io.RawArray(x * 1e-6, mne.create_info(names, RATE, types), verbose="ERROR")


@pytest.mark.parametrize("text", ["boundary", "BAD boundary", "EDGE boundary", "New Segment/"])
def test_no_window_runs_over_a_splice(text: str) -> None:
    import mne

    raw = raw_of(noise(2, 30), ["A", "B"])
    raw.set_annotations(mne.Annotations([0, 10], [0, 0], [text, text]))
    recording = from_raw(raw)
    assert recording.breaks == [2000] and any("spliced" in note for note in recording.notes)
    with pytest.raises(DataError, match="spliced at 10 s"):
        cut_window(raw, 5, 15)
    left, right = cut_window(raw, 0, 10), cut_window(raw, 10, 30)
    cut_left, cut_right = (cut_window(raw.copy().crop(*ends)) for ends in ((0, 9.995), (10, None)))
    np.testing.assert_array_equal(left.x, cut_left.x)
    np.testing.assert_array_equal(right.x, cut_right.x)


def test_a_pause_that_mne_fills_with_zeros_is_a_gap() -> None:
    import mne

    raw = raw_of(noise(2, 30), ["A", "B"])
    raw.set_annotations(mne.Annotations([5], [4], ["BAD_ACQ_SKIP"]))
    data = from_raw(raw).read(0, 6000)
    assert np.isnan(data[:, 1000:1800]).all() and np.isfinite(data[:, :1000]).all()
    assert np.isfinite(data[:, 1800:]).all()
    with pytest.raises(DataError, match="have gaps between 0 and 20 s"):
        cut_window(raw, 0, 20)


def test_names_that_mne_numbered_or_that_are_its_words_for_kinds() -> None:
    raw = raw_of(noise(4, 20), ["P4-O2", "T8-P8-0", "T8-P8-1", "F-1"])
    assert from_raw(raw).names == ["P4-O2", "T8-P8", "T8-P8#2", "F-1"]
    kinds = raw_of(noise(3, 20), ["ecg", "eeg", "emg"])
    assert from_raw(kinds).read(0, 10).shape == (3, 10)


def test_triggers_are_left_out_and_named() -> None:
    raw = raw_of(noise(3, 20), ["EMG left", "EMG right", "Status"], ["emg", "emg", "stim"])
    recording = from_raw(raw)
    assert recording.names == ["EMG left", "EMG right"] and "Status" in recording.notes[0]
    window = cut_window(from_array(noise(3, 20), RATE, ["EMG left", "EMG right", "Status"]))
    assert window.channels == ["EMG left", "EMG right"] and "Status" in window.notes[-1]


def test_a_file_that_breaks_off_is_one_line_wherever_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "short_raw.fif"
    raw_of(noise(3, 60), ["A", "B", "C"]).save(path, verbose="ERROR")
    whole = path.read_bytes()
    path.write_bytes(whole[: 2 * len(whole) // 3])
    with pytest.raises(DataError, match=r"short_raw\.fif") as error:
        cut_window(path)
    assert "\n" not in str(error.value)


# WFDB


def segment(folder: Path, name: str, x: np.ndarray, units: list[str], gain: float, names: list[str]) -> None:
    digital = np.rint(x * gain).astype("<i2")
    lines = [f"{name} {len(x)} 250 {x.shape[1]}"]
    lines += [
        f"{name}.dat 16 {gain:g}/{unit} 16 0 0 0 0 {label}" for unit, label in zip(units, names, strict=True)
    ]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    digital.T.tofile(folder / f"{name}.dat")


def test_every_segment_has_its_own_unit(tmp_path: Path) -> None:
    x = noise(2, 10, deviation=1.0)
    segment(tmp_path, "one", x[:, :1000], ["mV", "mV"], 1000, ["I", "II"])
    segment(tmp_path, "two", 1e3 * x[:, 1000:], ["uV", "uV"], 1, ["I", "II"])
    (tmp_path / "both.hea").write_text("both/2 2 250 2000\none 1000\ntwo 1000\n")
    np.testing.assert_allclose(read_wfdb(tmp_path / "both").millivolts(), x, atol=2e-3)


def test_signals_of_a_layout_are_found_by_name_and_gaps_stay_empty(tmp_path: Path) -> None:
    x = noise(2, 10, deviation=1.0)
    segment(tmp_path, "one", x[:, :800], ["mV", "mV"], 1000, ["I", "II"])
    segment(tmp_path, "two", 1e3 * x[[1], 800:], ["uV"], 1, ["II"])
    (tmp_path / "plan.hea").write_text("plan 2 250 0\n~ 0 200/mV 0 0 0 0 0 I\n~ 0 200/mV 0 0 0 0 0 II\n")
    (tmp_path / "all.hea").write_text("all/4 2 250 2500\nplan 0\none 800\n~ 500\ntwo 1200\n")
    data = read_wfdb(tmp_path / "all").millivolts()
    assert data.shape == (2, 2500) and np.isnan(data[:, 800:1300]).all() and np.isnan(data[0, 1300:]).all()
    np.testing.assert_allclose(data[:, :800], x[:, :800], atol=2e-3)
    np.testing.assert_allclose(data[1, 1300:], x[1, 800:], atol=2e-3)


@pytest.mark.parametrize("text", ["self/1 1 250 100\nself 100\n", "self/2 1 250 100\nself 100\n"])
def test_a_record_is_no_segment_of_itself(text: str, tmp_path: Path) -> None:
    (tmp_path / "self.hea").write_text(text)
    with pytest.raises(DataError, match=r"self\.hea: .*"):
        read_wfdb(tmp_path / "self")


def test_several_samples_a_frame_are_all_read(tmp_path: Path) -> None:
    x = np.rint(noise(2, 4)).astype("<i2")
    frames = x.reshape(2, -1, 4).transpose(1, 0, 2)  # [frames, signals, 4]
    frames.tofile(tmp_path / "frames.dat")
    lines = ["frames 2 125 200", *(f"frames.dat 16x4 1/uV 16 0 0 0 0 {name}" for name in ("A", "B"))]
    (tmp_path / "frames.hea").write_text("\n".join(lines) + "\n")
    record = read_wfdb(tmp_path / "frames")
    assert record.rate_hz == 500 and record.notes == ()
    np.testing.assert_array_equal(record.data, x)


def test_signals_at_other_rates_are_left_out_and_named(tmp_path: Path) -> None:
    fast, slow = np.arange(800, dtype="<i2"), np.arange(200, dtype="<i2")
    np.concatenate([fast.reshape(-1, 4), slow[:, None]], axis=1).tofile(tmp_path / "mixed.dat")
    (tmp_path / "mixed.hea").write_text(
        "mixed 2 125 200\nmixed.dat 16x4 1/uV 16 0 0 0 0 ECG\nmixed.dat 16 1/mmHg 16 0 0 0 0 ABP\n"
    )
    record = read_wfdb(tmp_path / "mixed")
    assert record.names == ["ECG"] and record.rate_hz == 500 and "ABP" in record.notes[0]
    np.testing.assert_array_equal(record.data[0], fast)


def test_a_header_in_latin_1(tmp_path: Path) -> None:
    segment(tmp_path, "latin", noise(1, 4), ["uV"], 1, ["I"])
    text = (tmp_path / "latin.hea").read_text().replace("/uV", "/µV")
    (tmp_path / "latin.hea").write_bytes(text.encode("latin-1"))
    assert read_wfdb(tmp_path / "latin").millivolts().std() == pytest.approx(0.05, rel=0.1)


def test_signals_of_one_name_are_told_apart(tmp_path: Path) -> None:
    segment(tmp_path, "names", noise(3, 4), ["uV"] * 3, 1, ["ECG", "PPG", "ECG"])
    assert read_wfdb(tmp_path / "names").names == ["ECG", "PPG", "ECG#2"]


@given(st.lists(st.sampled_from(["a", "b", "a#2", "b#2", "a#3"]), max_size=8))
def test_distinguishable_names_are_distinct_and_first_ones_keep_theirs(names: list[str]) -> None:
    found = distinguishable(names)
    assert len(set(found)) == len(names)
    for k, name in enumerate(names):
        if name not in names[:k]:
            assert found[k] == name


# What does not change the lags


@given(st.permutations(range(4)), st.floats(0.01, 1e4), st.integers(0, 3))
def test_order_scale_and_names_of_channels_change_no_window(order, factor: float, scaled: int) -> None:
    x = noise(4, 8).astype(np.float32)
    plain = cut_window(from_array(x, RATE, ["A", "B", "C", "D"]))
    changed = x.copy()
    changed[scaled] *= np.float32(factor)
    names = ["first", "second", "third", "fourth"]
    other = cut_window(from_array(changed[list(order)], RATE, [names[k] for k in order]))
    assert other.channels == [names[k] for k in order]
    for row, k in enumerate(order):
        scale = factor if k == scaled else 1.0
        np.testing.assert_allclose(other.x[row], scale * plain.x[k], rtol=1e-4, atol=1e-3 * scale)


def test_a_pause_before_a_window_only_moves_it(tmp_path: Path) -> None:
    whole = edf(["C3", "C4"], noise(2, 40))
    starts = [float(k) for k in range(40)]
    (tmp_path / "plain.edf").write_bytes(discontinuous(whole, starts))
    (tmp_path / "moved.edf").write_bytes(discontinuous(whole, [*starts[:5], *(s + 100 for s in starts[5:])]))
    one = cut_window(tmp_path / "plain.edf", 20, 30, reference="none")
    two = cut_window(tmp_path / "moved.edf", 120, 130, reference="none")
    np.testing.assert_allclose(one.x, two.x, atol=0.05)


# Transfers


def test_a_server_that_ignores_ranges_is_asked_again_from_the_start(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(100_000)

    class Whole(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in (("Content-Length", str(len(content))), ("ETag", '"x"')):
                self.send_header(name, value)
            self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Whole)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        source = S3Source(
            "bucket", "", f"http://127.0.0.1:{server.server_port}", Retry(attempts=2, first_s=0.01)
        )
        part = tmp_path / "part"
        part.write_bytes(content[:30_000])
        came: list[int] = []
        source.fetch("a.edf", len(content), part, tmp_path / "a.edf", came.append)
        assert part.read_bytes() == content and sum(came) == len(content) - 30_000
    finally:
        server.shutdown()


# Tables and companion files


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
    table.to_csv(file, index=False)
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
