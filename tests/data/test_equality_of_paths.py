"""One file, every path: preprocessing and the window of a fit see what other libraries read.

Shards and windows are compared with those of the same numbers read by pyedflib, mne or wfdb: in values,
units, times and names. Filter and z-score have tests of their own; known differences: docs/formats.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mne
import numpy as np
import pyedflib
import pytest
import wfdb
from foreign_files import write_set, write_vhdr
from toys.paths import MIRROR
from toys.preprocess import build, settings_of
from toys.recordings import RATE, discontinuous, edf, noise, raw_of

from cldtrans.data import get_dataset
from cldtrans.data.base import Dataset
from cldtrans.data.formats.channels import distinguishable
from cldtrans.data.formats.units import microvolts
from cldtrans.data.miniature.edf_writer import EdfSignal, edf_bytes
from cldtrans.data.miniature.wfdb_writer import write_record
from cldtrans.data.montages.montage import DOUBLE_BANANA, apply_recipe, bipolar_recipe
from cldtrans.data.quality import fill_gaps
from cldtrans.data.recording import from_array, open_recording
from cldtrans.data.zero_phase import band_pass
from cldtrans.errors import DataError
from cldtrans.lag.recording import Window, cut_window

RATE_AND_BAND: dict[str, dict[str, Any]] = {
    "eeg": {"rate_hz": 100},
    "ecg": {"rate_hz": 500, "band_hz": (0.05, 150.0)},
}
REAL_EDF = [path for path in sorted(MIRROR.rglob("*.edf")) if "Hypnogram" not in path.name][::6]
REAL_WFDB = sorted(MIRROR.rglob("*.hea"))[::60]
needs_recordings = pytest.mark.skipif(not MIRROR.is_dir(), reason="no real recordings at ../shared/physionet")


def by_pyedflib(path: Path) -> tuple[list[str], float, np.ndarray]:
    """Names, rate and signals [C, T] of the highest rate, voltages in microvolts."""
    with pyedflib.EdfReader(str(path)) as file:
        rates_hz = file.getSampleFrequencies().tolist()
        rate_hz = max(rates_hz)
        names = distinguishable(file.getSignalLabels())
        rows = [k for k, rate in enumerate(rates_hz) if rate == rate_hz]
        x = [(microvolts(file.getPhysicalDimension(k)) or 1.0) * file.readSignal(k) for k in rows]
        return [names[k] for k in rows], rate_hz, np.stack(x)


def by_wfdb(path: Path) -> tuple[list[str], float, np.ndarray]:
    """Names, rate and signals [C, T], voltages in millivolts."""
    record = wfdb.rdrecord(str(path))
    factors = [(microvolts(unit) or 1e3) / 1e3 for unit in record.units]
    return distinguishable(record.sig_name), record.fs, (record.p_signal * factors).T


# Preprocessing


def montage_of(dataset: Dataset, path: Path) -> tuple[np.ndarray, float]:
    """A dataset's channels [C, T] as another library reads them, NaN where they are not there; their rate."""
    names, rate_hz, x = by_wfdb(path) if dataset.modality == "ecg" else by_pyedflib(path)
    if dataset.channels == DOUBLE_BANANA:
        recipe = bipolar_recipe(names, DOUBLE_BANANA)
        absent = np.array([[i < 0] for i, _, _ in recipe])
        return np.where(absent, np.nan, apply_recipe(x.astype(np.float32), recipe)), rate_hz
    place = {name.strip(" .").upper(): row for name, row in zip(names, x, strict=True)}
    return np.stack(
        [place.get(name.upper(), np.full_like(x[0], np.nan)) for name in dataset.channels]
    ), rate_hz


def compare_shards(name: str, root: Path, folder: Path, records: int | None = None) -> None:
    """Every recording as it is read, and each of its windows, filtered and scaled over the valid ones."""
    dataset = get_dataset(name)
    settings = settings_of(records=records, shards=1, **RATE_AND_BAND[dataset.modality])
    shards = build(dataset, root, settings, folder)
    assert len(shards) and shards.channels == dataset.channels
    width = round(settings.window_s * settings.rate_hz)
    rows_of = {row.recording: row for row in dataset.recordings(root).itertuples(index=False)}
    for recording, part in shards.index.groupby("recording"):
        row = rows_of[recording]
        signal, (x, rate_hz) = dataset.read(root, row), montage_of(dataset, root / row.path)
        there = ~np.isnan(x).all(axis=1)
        assert signal.rate_hz == rate_hz and signal.mask[there].all()
        atol = 1e-6 * np.nanmax(np.abs(x))
        np.testing.assert_allclose(signal.data[signal.mask], x[signal.mask], rtol=1e-5, atol=atol)
        y = band_pass(fill_gaps(x[None].astype(np.float32)), rate_hz, settings.rate_hz, settings.band_hz)[0]
        first = np.round(part["start_s"] * settings.rate_hz).astype(int)
        expected = np.stack([y[:, k : k + width] for k in first])
        found, valid = (of(part.index.to_numpy()) for of in (shards.windows, shards.mask))
        assert not valid[:, ~there].any() and not found[~valid].any()
        for channel in np.flatnonzero(valid.any(axis=0)):
            rows = valid[:, channel]
            some = expected[rows, channel]
            scaled = (some - some.mean()) / some.std()
            np.testing.assert_allclose(found[rows, channel], scaled, atol=2e-3, err_msg=recording)


@pytest.mark.parametrize("name", ["chbmit", "eegmmidb", "siena", "sleepedf", "ptbxl", "mimic_ecg"])
def test_shards_of_the_miniature(name: str, bucket: Path, tmp_path: Path) -> None:
    compare_shards(name, bucket, tmp_path)


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize(("name", "records"), [("chbmit", 6), ("eegmmidb", 2), ("ptbxl", 30)])
def test_shards_of_real_recordings(name: str, records: int, tmp_path: Path) -> None:
    compare_shards(name, MIRROR, tmp_path, records)


# The window of a fit


def assert_same_window(path: Path, names: list[str], rate_hz: float, x: np.ndarray) -> None:
    """The window of a file is that of another reader's numbers, or both are refused for the same reason."""
    outcomes: list[Window | str] = []
    for source in (path, from_array(x, rate_hz, names, open_recording(path).origin)):
        try:
            stop_s = min(8.0, x.shape[1] / rate_hz)
            outcomes.append(cut_window(source, 0.0, stop_s, names, "none", innovation="gaussian"))
        except DataError as error:
            outcomes.append(str(error))
    ours, theirs = outcomes
    if isinstance(ours, str) or isinstance(theirs, str):
        assert ours == theirs
        return
    assert (ours.channels, ours.rate_hz) == (theirs.channels, theirs.rate_hz)
    scale = np.abs(theirs.x).max(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.x / scale, theirs.x / scale, atol=1e-4)


@pytest.mark.parametrize("unit", ["nV", "uV", "mV", "V"])
@pytest.mark.parametrize("rate", [128.0, 200.0, 512.0])
def test_windows_of_own_edf_files(unit: str, rate: float, tmp_path: Path) -> None:
    x = 50 * np.random.default_rng(0).standard_normal((3, round(20 * rate)))
    factor = microvolts(unit) or 0.0
    signals = [
        EdfSignal(name, row / factor, rate, (-500 / factor, 500 / factor), unit=unit)
        for name, row in zip(["C3", "EEG Fp1-REF", "C3"], x, strict=True)
    ]
    (tmp_path / "own.edf").write_bytes(edf_bytes(signals))
    names, rate_hz, by_other = by_pyedflib(tmp_path / "own.edf")
    np.testing.assert_allclose(by_other, x, atol=0.02)
    assert_same_window(tmp_path / "own.edf", names, rate_hz, by_other)


@pytest.mark.parametrize("family", ["EDF", "BDF"])
def test_windows_after_a_pause(family: str, tmp_path: Path) -> None:
    """mne splices the records: what it reads after the pause is what is there, at another time."""
    path = tmp_path / f"pause.{family.lower()}"
    starts = [0.0, 1.0, *np.arange(32.0, 60.0)]
    path.write_bytes(discontinuous(edf(["C3", "C4"], noise(2, 30)), starts, family))
    reader = mne.io.read_raw_bdf if family == "BDF" else mne.io.read_raw_edf
    spliced = reader(path, verbose="ERROR").get_data(["C3", "C4"]) * 1e6
    alone = from_array(spliced[:, round(2 * RATE) :], RATE, ["C3", "C4"])
    ours, theirs = cut_window(path, 46, 54, reference="none"), cut_window(alone, 14, 22, reference="none")
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-2 * theirs.x.std())


@pytest.mark.parametrize("end", ["_raw.fif", ".vhdr", ".set"])
def test_windows_of_what_mne_reads(end: str, tmp_path: Path) -> None:
    x = noise(3, 20)
    raw, path = raw_of(x, ["Fp1", "C3", "EMG left"], ["eeg", "eeg", "emg"]), tmp_path / f"own{end}"
    if end == "_raw.fif":
        raw.save(path, verbose="ERROR")
    elif end == ".set":
        write_set(path, x, raw.ch_names, RATE)
    else:
        write_vhdr(path, x, raw.ch_names, RATE)
    assert open_recording(path).units == ["uV"] * 3
    assert_same_window(path, raw.ch_names, RATE, x)


@pytest.mark.parametrize("gain", [200.0, 6553.7])
def test_windows_of_own_wfdb_records(gain: float, tmp_path: Path) -> None:
    digital = np.random.default_rng(0).integers(-3000, 3000, (3, 5000))
    write_record(tmp_path / "own", digital, ["I", "II", "V1"], 250, gain)
    assert_same_window(tmp_path / "own.hea", *by_wfdb(tmp_path / "own"))


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize("path", REAL_EDF, ids=lambda path: path.name)
def test_windows_of_real_edf_files(path: Path) -> None:
    names, rate_hz, x = by_pyedflib(path)
    recording = open_recording(path)
    if recording.names == names:  # else another rate is the usual one
        is_ecg = "mV" in recording.units
        assert_same_window(path, names, rate_hz, x * (1e-3 if is_ecg else 1.0))


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize("path", REAL_WFDB, ids=lambda path: path.stem)
def test_windows_of_real_wfdb_records(path: Path) -> None:
    assert_same_window(path, *by_wfdb(path.with_suffix("")))
