"""EDF and BDF: equal to mne where both read, one clear line where the bytes are impossible."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys.paths import MIRROR

from cldtrans.data.formats.edf import read_edf
from cldtrans.errors import DataError

needs_recordings = pytest.mark.skipif(not MIRROR.is_dir(), reason="no real recordings at ../shared/physionet")
VOLTS = {"uV": 1e6, "mV": 1e3}
RECORDINGS = [
    "chbmit/1.0.0/chb01/chb01_03.edf",
    "eegmmidb/1.0.0/S001/S001R01.edf",
    "eegmat/1.0.0/Subject00_1.edf",
    *(
        f"formats/mne/mne-io-edf/{name}"
        for name in (
            "duplicate_channel_labels.edf",
            "test.edf",
            "test.bdf",
            "test_bdf_stim_channel.bdf",
            "test_edf_stim_channel.edf",
            "test_stim_channel.edf",
            "test_uneven_samp.edf",
        )
    ),
    *(
        f"formats/mne/testing-{name}"
        for name in (
            "BDF/multiple_annotation_chans.bdf",
            "EDF/chtypes_edf.edf",
            "EDF/subsecond_starttime.edf",
            "EDF/test_edf_overlapping_annotations.edf",
            "EDF/test_reduced.edf",
            "EDF/test_utf8_annotations.edf",
        )
    ),
]


def edf_bytes(
    digital: list[np.ndarray],
    labels: list[str] | None = None,
    units: str = "uV",
    physical: tuple[str, str] = ("-100", "100"),
    digital_range: tuple[str, str] = ("-32768", "32767"),
    record_s: str = "1",
    n_records: str | None = None,
    reserved: str = "",
    stamps: list[float] | None = None,
) -> bytearray:
    """An EDF file of `digital` [records, samples a record] per channel; stamps add an annotation channel."""
    records = len(digital[0])
    labels = labels or [f"C{i}" for i in range(len(digital))]
    if stamps is not None:
        tal = np.zeros((records, 10), dtype="<i2")
        for k, stamp in enumerate(stamps):
            tal[k] = np.frombuffer(f"+{stamp:.10g}\x14\x14".encode().ljust(20, b"\0"), dtype="<i2")
        digital, labels = [*digital, tal], [*labels, "EDF Annotations"]
    n = len(digital)

    def field(text: object, width: int) -> str:
        return str(text)[:width].ljust(width)

    head = field("0", 8) + field("X X X X", 80) + field("Startdate X X X X", 80) + "02.03.0405.06.07"
    head += (
        field(256 * (n + 1), 8) + field(reserved, 44) + field(records if n_records is None else n_records, 8)
    )
    head += field(record_s, 8) + field(n, 4)
    columns = [labels, [""] * n, [units] * n, [physical[0]] * n, [physical[1]] * n, [digital_range[0]] * n]
    columns += [[digital_range[1]] * n, [""] * n, [x.shape[1] for x in digital], [""] * n]
    for values, width in zip(columns, (16, 80, 8, 8, 8, 8, 8, 80, 8, 32), strict=True):
        head += "".join(field(value, width) for value in values)
    data = np.concatenate(digital, axis=1).astype("<i2")
    return bytearray(head.encode("latin-1") + data.tobytes())


@pytest.fixture
def plain() -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.integers(-32768, 32767, (5, 16)) for _ in range(3)]


def write(path: Path, content: bytes | bytearray) -> Path:
    path.write_bytes(bytes(content))
    return path


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize("name", RECORDINGS)
def test_equals_mne_sample_for_sample(name: str) -> None:
    import mne

    path = MIRROR / name
    recording = read_edf(path)
    read = mne.io.read_raw_bdf if path.suffix == ".bdf" else mne.io.read_raw_edf
    options = {"exclude_after_unique": True, "stim_channel": False, "verbose": "ERROR"}
    names = read(path, **options).ch_names
    assert len(names) == len(recording.labels) == len(set(recording.labels))
    for rate in np.unique(recording.rate_hz):
        rows = np.flatnonzero(recording.rate_hz == rate).tolist()
        raw = read(path, exclude=[n for i, n in enumerate(names) if i not in rows], **options)
        scale = np.array([VOLTS.get(recording.units[i], 1.0) for i in rows])
        ours, theirs = recording.signals(rows), (raw.get_data() * scale[:, None]).astype(np.float32)
        assert raw.info["sfreq"] == pytest.approx(rate)
        np.testing.assert_array_max_ulp(ours, theirs, maxulp=1)
        start, stop = ours.shape[1] // 3, ours.shape[1] // 3 + 300
        np.testing.assert_array_equal(recording.signals(rows, start, stop), ours[:, start:stop])


@needs_recordings
@pytest.mark.data
def test_hypnogram_has_annotations_and_no_signal() -> None:
    recording = read_edf(MIRROR / "sleep-edfx/1.0.0/sleep-cassette/SC4001EC-Hypnogram.edf")
    stages = recording.annotations()
    assert recording.labels == [] and len(stages) == 154
    assert stages[0].text == "Sleep stage W" and stages[0].onset_s == 0 and stages[0].duration_s == 30630
    with pytest.raises(DataError, match="found no channel"):
        recording.signals()


def test_known_samples_scale_to_known_values(tmp_path: Path, plain: list[np.ndarray]) -> None:
    recording = read_edf(write(tmp_path / "a.edf", edf_bytes(plain, units="mV")))
    gain = 200 / 65535
    expected = np.stack([x.reshape(-1) for x in plain]) * gain + (-100 + 32768 * gain)
    np.testing.assert_allclose(recording.signals(), expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(recording.microvolts(["C1"])[0], expected[1] * 1000, rtol=1e-6, atol=1e-2)
    assert recording.start == datetime(2004, 3, 2, 5, 6, 7) and recording.duration_s == 5
    assert recording.rate_hz.tolist() == [16.0] * 3 and recording.n_samples.tolist() == [80] * 3
    assert recording.signals(["C2"], 10, 10).shape == (1, 0)
    np.testing.assert_array_equal(recording.signal("C2", -7), recording.signal(2)[-7:])


def test_repeated_labels_stay_apart_and_other_rates_are_refused(tmp_path: Path) -> None:
    digital = [np.full((3, 8), 1), np.full((3, 8), 2), np.full((3, 4), 3)]
    content = edf_bytes(digital, ["T8-P8", "T8-P8", "Resp"], units="")
    recording = read_edf(write(tmp_path / "a.edf", content))
    assert recording.labels == ["T8-P8", "T8-P8#2", "Resp"]
    assert recording.signal("T8-P8#2")[0] > recording.signal("T8-P8")[0]
    assert recording.signal("Resp").shape == (12,)
    with pytest.raises(DataError, match=r"one sampling rate, found T8-P8 8 Hz.*Resp 4 Hz"):
        recording.signals()
    with pytest.raises(DataError, match=r"expected a channel 'Cz', found T8-P8, T8-P8#2, Resp"):
        recording.signal("Cz")
    with pytest.raises(DataError, match=r"'Resp': expected a unit of .*, found ''"):
        recording.microvolts(["Resp"])


def test_pauses_of_a_discontinuous_file_are_nan(tmp_path: Path, plain: list[np.ndarray]) -> None:
    stamps = [0, 1, 2, 5.5, 6.5]
    content = edf_bytes(plain, reserved="EDF+D", stamps=stamps)
    recording = read_edf(write(tmp_path / "d.edf", content))
    same = read_edf(write(tmp_path / "c.edf", edf_bytes(plain, reserved="EDF+C", stamps=stamps))).signals()
    assert recording.n_samples.tolist() == [120] * 3 and recording.duration_s == 7.5
    line = recording.signals()
    np.testing.assert_array_equal(line[:, :48], same[:, :48])
    assert np.isnan(line[:, 48:88]).all()
    np.testing.assert_array_equal(line[:, 88:], same[:, 48:])
    np.testing.assert_array_equal(recording.signals(None, 40, 90), line[:, 40:90])
    without_pause = edf_bytes(plain, reserved="EDF+D", stamps=[10, 11, 12, 13, 14])
    np.testing.assert_array_equal(read_edf(write(tmp_path / "e.edf", without_pause)).signals(), same)
    for wrong in ([0, 1, 0.5, 3, 4], [0, 1, 2, 3, 9e6]):
        content = edf_bytes(plain, reserved="EDF+D", stamps=wrong)
        with pytest.raises(DataError, match="records in order of time"):
            read_edf(write(tmp_path / "f.edf", content))


def test_file_that_is_still_being_recorded(tmp_path: Path, plain: list[np.ndarray]) -> None:
    path = write(tmp_path / "a.edf", edf_bytes(plain, n_records="-1") + b"\1" * 50)
    assert read_edf(path).n_samples.tolist() == [80] * 3  # whole records only
    empty = edf_bytes([x[:0] for x in plain], n_records="-1")
    with pytest.raises(DataError, match="at least one data record"):
        read_edf(write(tmp_path / "b.edf", empty))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cut": -1},
            r"expected 5 records of 96 bytes, found 479 bytes \(4 whole records\); the file is truncated",
        ),
        ({"cut": 300}, r"expected 1024 header bytes, found 300; the file is truncated"),
        ({"cut": 100}, r"expected an EDF header of 256 bytes or more, found 100; the file is truncated"),
        ({0: b"EDF     "}, r"expected the EDF version '0' in the first 8 bytes"),
        ({252: b"-3  "}, r"number of channels: expected a whole number >= 1, found '-3'"),
        ({252: b"four"}, r"number of channels: expected a number, found 'four'"),
        ({252: b"9999"}, r"expected 2560000 header bytes for 9999 channels, found the number 1024"),
        ({184: b"1025    "}, r"expected 1024 header bytes for 3 channels, found the number 1025"),
        ({236: b"-7      "}, r"number of records: expected a whole number >= -1, found '-7'"),
        ({236: b"99999999"}, r"expected 99999999 records of 96 bytes, found 480 bytes"),
        ({236: b"0       "}, r"expected at least one data record, found none"),
        ({244: b"nan     "}, r"duration of a record: expected a number, found 'nan'"),
        ({244: b"0       "}, r"expected a record duration > 0 s, found 0 with 3 signals"),
        ({244: b"-1      "}, r"expected a record duration >= 0 s, found -1"),
        ({256 + 216 * 3: b"-16     "}, r"samples per record of channel 'C0': expected a whole number >= 1"),
        ({256 + 216 * 3: b"99999999"}, r"expected 5 records of 200000062 bytes, found 480 bytes"),
        (
            {256 + 120 * 3: b"32767   "},
            r"channel 'C0': expected digital maximum > minimum, found 32767 and 32767",
        ),
        ({256 + 104 * 3: b"100     "}, r"channel 'C0': expected a physical range, found 100 for both ends"),
        ({256 + 112 * 3: b"1e999   "}, r"channel 'C0': physical range: expected a number, found '1e999'"),
    ],
)
def test_impossible_headers(change: dict, message: str, tmp_path: Path, plain: list[np.ndarray]) -> None:
    content = edf_bytes(plain)
    for place, text in change.items():
        if place == "cut":
            content = content[:text]
        else:
            content[place : place + len(text)] = text
    path = write(tmp_path / "bad.edf", content)
    with pytest.raises(DataError, match=message) as caught:
        read_edf(path).signals()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["²", "٣", "１", "1_0", "½", "1\u00a00"])
@pytest.mark.parametrize(
    ("place", "width"),
    [(184, 8), (236, 8), (244, 8), (252, 4), *((256 + at * 3, 8) for at in (104, 112, 120, 128, 216))],
)
def test_digits_that_are_not_ascii_are_refused(
    place: int, width: int, text: str, tmp_path: Path, plain: list[np.ndarray]
) -> None:
    for encoding in ("utf-8", "latin-1"):
        content = edf_bytes(plain)
        content[place : place + width] = text.encode(encoding, "replace").ljust(width)
        with pytest.raises(DataError, match=r"bad\.edf: .*expected (a (whole )?number|\d+ header)"):
            read_edf(write(tmp_path / "bad.edf", content)).signals()


def test_nonsense_in_an_unused_channel_costs_nothing(tmp_path: Path, plain: list[np.ndarray]) -> None:
    content = edf_bytes(plain)
    content[256 + 120 * 3 : 256 + 120 * 3 + 8] = b"32767   "
    recording = read_edf(write(tmp_path / "a.edf", content))
    assert recording.signals(["C1", "C2"]).shape == (2, 80)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.edf: cannot be read \(No such file"):
        read_edf(tmp_path / "none.edf")


@pytest.mark.parametrize(("channels", "header"), [(b"9E20", b"2.3E23  "), (b"1E20", b"768     ")])
def test_a_damaged_count_asks_for_no_memory(
    tmp_path: Path, plain: list[np.ndarray], channels: bytes, header: bytes
) -> None:
    content = edf_bytes(plain)
    content[252:256], content[184:192] = channels, header
    with pytest.raises(DataError, match="header bytes"):
        read_edf(write(tmp_path / "fuzz.edf", content))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_a_data_error_or_readable(
    data: st.DataObject, tmp_path: Path, plain: list[np.ndarray]
) -> None:
    content = edf_bytes(plain, reserved="EDF+D", stamps=[0, 1, 2, 3, 4])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(184, 255), st.integers(256 + 104 * 4, len(content) - 1)))
        piece = data.draw(
            st.one_of(st.binary(max_size=8), st.text("-0123456789.eE+ ,naif", max_size=8).map(str.encode))
        )
        content[place : place + len(piece)] = piece[: len(content) - place]
    content = content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    try:
        recording = read_edf(write(tmp_path / "fuzz.edf", content))
        assert recording.signals().dtype == np.float32
    except DataError as error:
        assert "fuzz.edf" in str(error) and "\n" not in str(error)


def test_a_time_stamp_of_hundreds_of_digits_is_refused(tmp_path: Path) -> None:
    tal = ["+" + "9" * 400, "+1"]
    stamps = np.stack([np.frombuffer(f"{t}\x14\x14".encode().ljust(500, b"\0"), "<i2") for t in tal])
    content = edf_bytes([np.zeros((2, 16)), stamps], ["C3", "EDF Annotations"], reserved="EDF+D")
    with pytest.raises(DataError, match="expected time stamps in seconds"):
        read_edf(write(tmp_path / "a.edf", content))
