"""The window that a fit sees: its channels, what is left out, and what does not change it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recordings import RATE, discontinuous, edf, noise

from cldtrans.data.recording import from_array, open_recording
from cldtrans.errors import DataError
from cldtrans.lag.recording import cut_window


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


def test_what_is_no_voltage_enters_no_difference(tmp_path: Path) -> None:
    (tmp_path / "monitor.edf").write_bytes(edf(["F3", "C3", "P3"], noise(3, 20), ["uV", "uV", "mmHg"]))
    recording = open_recording(tmp_path / "monitor.edf")
    assert recording.kinds == ["eeg", "eeg", "other"]
    with pytest.raises(DataError, match="from F3, C3; use"):
        cut_window(tmp_path / "monitor.edf", reference="bipolar")


def test_leads_of_an_ecg_get_its_defaults_beside_an_eeg() -> None:
    among = from_array(noise(5, 20), RATE, ["F3-M2", "C3-M2", "ECG1", "ECG2", "Chin1"])
    assert cut_window(among, channels=["ECG1", "ECG2"]).innovation == "gaussian"
    assert cut_window(among, channels=["F3-M2", "C3-M2"], reference="none").innovation == "laplace"


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
