"""Any recording: its content tells the format, its time axis is the true one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys.recordings import discontinuous, edf, noise, raw_of, segment

from cldtrans.data.formats.edf import read_edf
from cldtrans.data.formats.wfdb_reader import read_wfdb
from cldtrans.data.recording import from_raw, open_recording
from cldtrans.errors import DataError
from cldtrans.lag.recording import cut_window


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


@pytest.mark.parametrize("cut", [1, 799, 800, 801, 1200, 3200])
@pytest.mark.parametrize("family", ["EDF", "EDF+D", "BDF+D"])
def test_a_file_shorter_than_its_header_says_is_read_to_its_last_record(
    cut: int, family: str, tmp_path: Path
) -> None:
    """As mne reads it, which says nothing."""
    import mne

    x, path = noise(2, 5), tmp_path / f"short.{family[:3].lower()}"
    content = edf(["C3", "C4"], x)
    if family != "EDF":
        content = discontinuous(content, [0, 1, 2, 3, 4], family[:3])
    record_bytes = (len(content) - 256 * (content.count(b"uV") + 1 + ("+D" in family))) // 5
    path.write_bytes(content[:-cut])
    left = 5 - -(-cut // record_bytes)
    recording = open_recording(path)
    note = f"the header announces 5 records, the file holds {left}: it was cut short, and is read to its end"
    assert recording.duration_s == left and recording.notes == [note]
    data = recording.read(0, recording.n_samples)
    np.testing.assert_allclose(data, x[:, : 200 * left], atol=0.02)
    reader = mne.io.read_raw_bdf if family == "BDF+D" else mne.io.read_raw_edf
    theirs = reader(path, verbose="ERROR").get_data(["C3", "C4"]) * 1e6
    np.testing.assert_allclose(data, theirs, atol=1e-3)
    with pytest.raises(
        DataError, match=r"expected 5 records of \d+ bytes, found .* truncated, fetch it again"
    ):
        read_edf(path)  # as datasets do: the quarantine is where preprocessing speaks


def test_a_file_without_a_whole_record_is_refused(tmp_path: Path) -> None:
    content = edf(["C3", "C4"], noise(2, 5))
    (tmp_path / "none.edf").write_bytes(content[: 256 * 3 + 799])
    with pytest.raises(DataError, match=r"expected 5 records of 800 bytes, found 799 bytes \(0 whole"):
        open_recording(tmp_path / "none.edf")


@pytest.mark.parametrize(("kind", "sample_bytes"), [("16", 2.0), ("212", 1.5)])
def test_a_wfdb_record_of_another_length_than_its_header_says(
    kind: str, sample_bytes: float, tmp_path: Path
) -> None:
    import wfdb

    digital = np.random.default_rng(0).integers(-2000, 2000, (1001, 2))
    wfdb.wrsamp(
        "r", 250, ["mV"] * 2, ["I", "II"], d_signal=digital, fmt=[kind] * 2, adc_gain=[200.0] * 2,
        baseline=[0] * 2, write_dir=str(tmp_path),
    )  # fmt: skip
    samples, header = (tmp_path / "r.dat").read_bytes(), (tmp_path / "r.hea").read_text()
    (tmp_path / "r.dat").write_bytes(samples[: -round(sample_bytes * 2 * 100) - 1])
    recording = open_recording(tmp_path / "r")
    assert recording.n_samples == 900 and recording.notes == [
        "the header announces 1001 samples, r.dat holds 900: it was cut short, and is read to its end"
    ]
    np.testing.assert_allclose(recording.read(0, 900), digital[:900].T / 200, rtol=1e-6)
    with pytest.raises(DataError, match=r"r\.dat: expected \d+ bytes .*truncated, fetch it again"):
        read_wfdb(tmp_path / "r")
    (tmp_path / "r.dat").write_bytes(samples)
    assert open_recording(tmp_path / "r").notes == []
    (tmp_path / "r.hea").write_text(header.replace(" 1001", " 500"))
    recording = open_recording(tmp_path / "r")
    assert recording.n_samples == 500 and recording.notes == [
        "the header announces 500 samples, r.dat holds 1001: those announced are read"
    ]
    theirs = wfdb.rdrecord(str(tmp_path / "r")).p_signal.T
    np.testing.assert_allclose(recording.read(0, 500), theirs, rtol=1e-6)


def test_a_segment_that_was_cut_short_leaves_the_others_in_place(tmp_path: Path) -> None:
    x = noise(2, 10)
    segment(tmp_path, "one", x[:, :1000], ["uV"] * 2, 100, ["A", "B"])
    segment(tmp_path, "two", x[:, 1000:], ["uV"] * 2, 100, ["A", "B"])
    (tmp_path / "both.hea").write_text("both/2 2 250 2000\none 1000\ntwo 1000\n")
    samples = (tmp_path / "one.dat").read_bytes()
    (tmp_path / "one.dat").write_bytes(samples[:1200])
    recording = open_recording(tmp_path / "both")
    data = recording.read(0, 2000)
    assert np.isnan(data[:, 300:1000]).all() and "one.dat holds 300: it was cut short" in recording.notes[0]
    np.testing.assert_allclose(data[:, :300], x[:, :300], atol=0.01)
    np.testing.assert_allclose(data[:, 1000:], x[:, 1000:], atol=0.01)


def test_a_file_that_breaks_off_is_one_line_wherever_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "short_raw.fif"
    raw_of(noise(3, 60), ["A", "B", "C"]).save(path, verbose="ERROR")
    whole = path.read_bytes()
    path.write_bytes(whole[: 2 * len(whole) // 3])
    with pytest.raises(DataError, match=r"short_raw\.fif") as error:
        cut_window(path)
    assert "\n" not in str(error.value)


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


def test_a_pause_that_mne_fills_with_zeros_is_a_gap() -> None:
    import mne

    raw = raw_of(noise(2, 30), ["A", "B"])
    raw.set_annotations(mne.Annotations([5], [4], ["BAD_ACQ_SKIP"]))
    data = from_raw(raw).read(0, 6000)
    assert np.isnan(data[:, 1000:1800]).all() and np.isfinite(data[:, :1000]).all()
    assert np.isfinite(data[:, 1800:]).all()
    with pytest.raises(DataError, match="have gaps between 0 and 20 s"):
        cut_window(raw, 0, 20)


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
