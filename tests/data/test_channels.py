"""Channels: what they are called, what they are, in which unit they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.recordings import RATE, noise, raw_of

from cldtrans.data.formats.channels import distinguishable
from cldtrans.data.formats.units import microvolts
from cldtrans.data.miniature.edf_writer import EdfSignal, edf_bytes
from cldtrans.data.montages.kinds import kinds_of
from cldtrans.data.recording import from_array, from_raw, open_recording
from cldtrans.lag.recording import cut_window


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


@given(st.lists(st.sampled_from(["a", "b", "a#2", "b#2", "a#3"]), max_size=8))
def test_distinguishable_names_are_distinct_and_first_ones_keep_theirs(names: list[str]) -> None:
    found = distinguishable(names)
    assert len(set(found)) == len(names)
    for k, name in enumerate(names):
        if name not in names[:k]:
            assert found[k] == name


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
