"""WFDB: equal to the wfdb package bit for bit, one clear line where the header is impossible."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys.paths import MIRROR

from cldtrans.data.formats.channels import distinguishable
from cldtrans.data.formats.wfdb_header import read_header
from cldtrans.data.formats.wfdb_reader import read_wfdb
from cldtrans.errors import DataError

needs_recordings = pytest.mark.skipif(not MIRROR.is_dir(), reason="no real recordings at ../shared/physionet")
FORMATS = MIRROR / "formats" / "wfdb"


def write_record(folder: Path, kind: str, digital: np.ndarray, **fields: object) -> Path:
    """A record written by the wfdb package; digital is [T, C]."""
    import wfdb

    n = digital.shape[1]
    options: dict = {
        "fs": 500,
        "units": ["mV"] * n,
        "sig_name": [f"lead {i}" for i in range(n)],
        "d_signal": digital,
        "fmt": [kind] * n,
        "adc_gain": [200.0] * n,
        "baseline": [0] * n,
        "write_dir": str(folder),
    }
    wfdb.wrsamp("r", **{**options, **fields})
    return folder / "r"


def assert_equals_wfdb(path: Path) -> None:
    import wfdb

    ours, theirs = read_wfdb(path), wfdb.rdrecord(str(path), smooth_frames=False)
    names = distinguishable([name or f"signal {k}" for k, name in enumerate(theirs.sig_name)])
    if theirs.e_p_signal is None:  # of segments: wfdb joins them in its own way
        theirs = wfdb.rdrecord(str(path))
        lines = list(theirs.p_signal.T)
    else:
        lines = theirs.e_p_signal
    chosen = [names.index(name) for name in ours.names]
    for row, k in zip(ours.data, chosen, strict=True):
        np.testing.assert_array_equal(row, lines[k].astype(np.float32))
    assert ours.units == [theirs.units[k] for k in chosen]
    frames = theirs.samps_per_frame or [1] * len(names)
    assert {ours.rate_hz} == {theirs.fs * frames[k] for k in chosen}
    others = [name for name in names if name not in ours.names]
    assert bool(others) == bool(ours.notes) and all(name in ours.notes[0] for name in others)


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("100", True),
        ("100-no-len", True),
        ("100_3chan", True),
        ("a103l", True),
        ("a103l-no-len", True),
        ("s0010_re", True),
        ("test01_00s", True),
        ("v102s", True),
        ("multi-segment/s00001/s00001-2896-10-10-00-31n", True),
        ("100skew", False),
        ("03700181", False),
        ("3000003_0003", False),
        ("310derive", False),
        ("binformats", False),
        ("flacformats", False),
        ("test01_00s_frame", False),
        ("multi-segment/041s/041s", False),
        ("multi-segment/fixed1/v102s", False),
    ],
)
def test_equals_wfdb_on_odd_files(name: str, plain: bool) -> None:
    assert read_header(FORMATS / name).plain is plain
    assert_equals_wfdb(FORMATS / name)


@needs_recordings
@pytest.mark.data
def test_equals_wfdb_on_ptbxl() -> None:
    records = sorted((MIRROR / "ptb-xl").rglob("*.hea"))[::40]
    assert records
    for header in records:
        assert_equals_wfdb(header.with_suffix(""))
        assert read_wfdb(header.with_suffix(""), verify_checksum=True).data.shape[0] == 12


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["16", "212"]),
    n_samples=st.integers(1, 40),
    n_signals=st.integers(1, 5),
    gain=st.sampled_from([200.0, 1000.0, 0.1, 6553.7, 3.0]),
    baseline=st.integers(-2000, 2000),
    seed=st.integers(0, 2**16),
)
def test_equals_wfdb_on_any_plain_record(
    kind: str, n_samples: int, n_signals: int, gain: float, baseline: int, seed: int, tmp_path: Path
) -> None:
    low, high = {"16": (-(2**15), 2**15), "212": (-(2**11), 2**11)}[kind]
    digital = np.random.default_rng(seed).integers(low, high, (n_samples, n_signals))
    digital[0, 0] = low  # marked invalid
    path = write_record(tmp_path, kind, digital, adc_gain=[gain] * n_signals, baseline=[baseline] * n_signals)
    assert_equals_wfdb(path)
    assert np.isnan(read_wfdb(path, verify_checksum=True).data[0, 0])


def test_signals_in_several_files_and_units(tmp_path: Path) -> None:
    digital = np.random.default_rng(0).integers(-2000, 2000, (51, 3))
    write_record(tmp_path, "212", digital[:, 1:], units=["mV", "V"])
    lines = (tmp_path / "r.hea").read_text().splitlines()
    (tmp_path / "a.dat").write_bytes(digital[:, 0].astype("<i2").tobytes())
    first = "a.dat 16 200/uV 16 0 0 0 0 first"
    (tmp_path / "r.hea").write_text("\n".join(["r 3 500 51", first, *lines[1:]]) + "\n")
    path = tmp_path / "r"
    assert_equals_wfdb(path)
    record = read_wfdb(path)
    expected = digital.T / 200 * np.array([[1e-3], [1], [1e3]])
    np.testing.assert_allclose(record.millivolts(), expected, rtol=1e-6)
    np.testing.assert_array_equal(read_wfdb(path).data, record.data)  # left as it was


def test_adc_zero_stands_in_for_the_baseline_and_zero_gain_for_200(tmp_path: Path) -> None:
    (tmp_path / "r.dat").write_bytes(np.array([1024, 1224], dtype="<i2").tobytes())
    (tmp_path / "r.hea").write_text("r 1 100 2\nr.dat 16 0 11 1024 0 0 0 lead\n")
    np.testing.assert_array_equal(read_wfdb(tmp_path / "r").data, [[0.0, 1.0]])
    assert_equals_wfdb(tmp_path / "r")
    (tmp_path / "r.hea").write_text("r 1 100 2\nr.dat 16\n")
    assert_equals_wfdb(tmp_path / "r")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "expected a record line"),
        ("r\n", "number of signals: expected a whole number >= 1, found ''"),
        ("r -2 500 4\n", "number of signals: expected a whole number >= 1, found '-2'"),
        ("r 2 500 4\nr.dat 16 200 16 0 0 0 0 I\n", "expected 2 signal lines, found 1"),
        ("r 1 zero 4\nr.dat 16\n", "sampling rate: expected a number, found 'zero'"),
        ("r 1 0 4\nr.dat 16\n", "expected a sampling rate > 0"),
        ("r 1 500 many\nr.dat 16\n", "number of samples: expected a whole number >= 0, found 'many'"),
        ("r 1 500 -4\nr.dat 16\n", "number of samples: expected a whole number >= 0, found '-4'"),
        ("r 1 500 +4\nr.dat 16\n", "number of samples: expected a whole number >= 0, found '.4'"),
        ("r 1 500 1_0\nr.dat 16\n", "number of samples: expected a whole number >= 0, found '1_0'"),
        ("r 1 200 lay 1024\nr.dat 16\n", "number of samples: expected a whole number >= 0, found 'lay'"),
        ("r 1 1e3 4\nr.dat 16\n", "sampling rate: expected a number, found '1e3'"),
        ("r 1 +3 4\nr.dat 16\n", "sampling rate: expected a number, found '.3'"),
        ("r 1 500 4\nr.dat 16 200 5/7 16 0 0 0 I\n", "expected whole numbers after the gain"),
        ("r 1 500 4\nr.dat\n", "signal 0: expected a file name and a format"),
        ("r 1 500 4\nr.dat sixteen\n", "signal 0: expected a format, found 'sixteen'"),
        ("r 1 500 4\nr.dat 16 1.2.3/mV\n", "signal 0: gain: expected a number"),
        ("r 1 500 4\nr.dat 16 /mV\n", r"signal 0: expected gain\(baseline\)/unit"),
        ("r 1 500 5\nr.dat 16 200\n", "r.dat: expected 10 bytes .* found 8; the file is truncated"),
        ("r 1 500 99999999999\nr.dat 16 200\n", "r.dat: expected 199999999998 bytes"),
        ("r 1 500 4\nnone.dat 16 200\n", "expected its signal file none.dat in the same folder, found none"),
        ("r 1 500 4\nnone.dat 80 200\n", "expected its file none.dat in the same folder, found none"),
        ("r 1 500 4\n../r.dat 16 200\n", r"name of a file in the same folder, found '../r.dat'"),
        ("r 1 500 4\n/etc/passwd 80 200\n", "name of a file in the same folder, found '/etc/passwd'"),
        ("r 1 500 4\na\\r.dat 16 200\n", "name of a file in the same folder"),
        ("r/2 1 500 8\n../x 4\nr 4\n", "name of a file in the same folder, found '../x'"),
        ("r 1 500 4\nr.dat 999 200\n", "wfdb cannot read it"),
        ("r 1 500 4\nr.dat 16 200 16 0 0 1 0 I\n", "expected checksum 1 .*, found 10"),
    ],
)
def test_impossible_headers(header: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.dat").write_bytes(np.array([1, 2, 3, 4], dtype="<i2").tobytes())
    (tmp_path / "r.hea").write_text(header)
    with pytest.raises(DataError, match=message) as caught:
        read_wfdb(tmp_path / "r", verify_checksum=True)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


HEADER = "r 1 500 4\nr.dat 16+0 200(2)/mV 16 0 1 12 0 I\n"
NUMBERS = [match.span() for match in re.finditer(r"\d+", HEADER)]


@pytest.mark.parametrize("digits", ["٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９"])  # Arabic-Indic, wide
@pytest.mark.parametrize(("first", "last"), NUMBERS)
def test_digits_of_other_scripts_are_refused(first: int, last: int, digits: str, tmp_path: Path) -> None:
    """Each number of a header: Python would read them, and so would a regular expression."""
    (tmp_path / "r.dat").write_bytes(np.array([1, 2, 3, 4], dtype="<i2").tobytes())
    (tmp_path / "r.hea").write_text(HEADER)
    assert read_wfdb(tmp_path / "r").data.shape == (1, 4)
    text = "".join(digits[int(digit)] for digit in HEADER[first:last])
    (tmp_path / "r.hea").write_text(HEADER[:first] + text + HEADER[last:])
    with pytest.raises(DataError, match=r"r\.hea: .*expected") as caught:
        read_wfdb(tmp_path / "r")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", ["1500", "300"])
def test_segments_of_another_rate_than_the_record_are_refused(rate: str, tmp_path: Path) -> None:
    (tmp_path / "s.dat").write_bytes(bytes(8))
    (tmp_path / "s.hea").write_text("s 1 500 4\ns.dat 16 200\n")
    (tmp_path / "r.hea").write_text(f"r/1 1 {rate} 4\ns 4\n")
    with pytest.raises(DataError, match=f"segments of a multiple of {rate} Hz, found 500 Hz"):
        read_wfdb(tmp_path / "r")


def test_missing_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.hea: cannot be read \(No such file"):
        read_wfdb(tmp_path / "none")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_a_data_error_or_readable(data: st.DataObject, tmp_path: Path) -> None:
    header = bytearray(
        b"r 2 500 4\nr.dat 212 200.0(3)/mV 12 0 1 0 0 I\nr.dat 212 200.0(3)/mV 12 0 1 0 0 II\n# note\n"
    )
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(header) - 1))
        piece = data.draw(
            st.one_of(st.binary(max_size=4), st.text("-0123456789.()/:x+ e\n", max_size=4).map(str.encode))
        )
        header[place : place + len(piece)] = piece
    (tmp_path / "r.dat").write_bytes(bytes(range(12))[: data.draw(st.integers(0, 12))])
    (tmp_path / "r.hea").write_bytes(header)
    try:
        record = read_wfdb(tmp_path / "r")
        assert record.data.ndim == 2 and len(record.names) == len(record.data)
    except DataError as error:
        assert str(tmp_path) in str(error)
