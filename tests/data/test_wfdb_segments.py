"""WFDB records of segments and of frames: each signal in its own unit, at its own rate, at its own time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys.recordings import noise, segment

from cldtrans.data.formats.wfdb_reader import read_wfdb
from cldtrans.errors import DataError


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


def test_a_gap_of_days_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    segment(tmp_path, "one", noise(2, 2), ["uV"] * 2, 1, ["A", "B"])
    (tmp_path / "days.hea").write_text("days/3 2 250 60000800\none 400\n~ 60000000\none 400\n")
    with pytest.raises(
        DataError, match=r"days: expected gaps that fill at most 400 MB, found 457 MB; "
    ) as error:
        read_wfdb(tmp_path / "days")
    assert "\n" not in str(error.value)
    (tmp_path / "days.hea").write_text("days/3 2 250 10800\none 400\n~ 10000\none 400\n")
    assert np.isnan(read_wfdb(tmp_path / "days").data).sum() == 2 * 10_000


def test_units_are_converted_in_a_copy(tmp_path: Path) -> None:
    segment(tmp_path, "units", noise(3, 2), ["uV", "V", "mV"], 1, ["A", "B", "C"])
    record = read_wfdb(tmp_path / "units")
    before = record.data.copy()
    first, second = record.millivolts(), record.millivolts()
    np.testing.assert_array_equal(record.data, before)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, before * np.array([[1e-3], [1e3], [1]]), rtol=1e-6)
