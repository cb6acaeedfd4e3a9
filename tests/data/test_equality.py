"""One file, every reader: values, names, rates and lengths of `open_recording` are those of other libraries.

Real files of the local mirror against mne, edfio, pyedflib and wfdb; files of the project's own writers over
rates, units and formats against the numbers that were written. Known differences stand in docs/formats.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.paths import MIRROR
from toys.recordings import discontinuous, edf

from cldtrans.data.formats.edf import read_edf
from cldtrans.data.formats.wfdb_reader import read_wfdb
from cldtrans.data.miniature.edf_writer import EdfSignal, edf_bytes
from cldtrans.data.miniature.wfdb_writer import write_record
from cldtrans.data.recording import open_recording
from cldtrans.errors import DataError

EDF_FILES = sorted(path for kind in ("edf", "bdf") for path in MIRROR.rglob(f"*.{kind}"))
SETS = sorted(MIRROR.rglob("*.set"))
RECORDS = sorted(MIRROR.rglob("*.hea"))
needs_recordings = pytest.mark.skipif(not MIRROR.is_dir(), reason="no real recordings at ../shared/physionet")

# Files that another reader does not read, or reads as something else.
BY_MNE = {
    "SC4001EC-Hypnogram": "annotations only",
    "test_edfann": "annotations only",
}


def names_of(paths: list[Path]) -> list[str]:
    return [path.relative_to(MIRROR).as_posix() for path in paths]


def ends(recording: Any, seconds: float = 4.0) -> list[tuple[int, int]]:
    """The first and the last few seconds."""
    n = min(recording.n_samples, round(seconds * recording.rate_hz))
    return [(0, n), (recording.n_samples - n, recording.n_samples)]


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize("name", names_of(EDF_FILES))
def test_real_edf_and_bdf_files_against_mne(name: str) -> None:
    import mne

    path = MIRROR / name
    if path.stem in BY_MNE:
        with pytest.raises(DataError, match="annotations only"):
            open_recording(path)
        return
    recording = open_recording(path)
    file = read_edf(path)
    others = [
        label for label, rate in zip(file.raw_labels, file.rate_hz, strict=True) if rate != recording.rate_hz
    ]
    reader = mne.io.read_raw_bdf if path.suffix == ".bdf" else mne.io.read_raw_edf
    raw = reader(path, exclude=others, stim_channel=False, verbose="ERROR")
    assert recording.rate_hz == pytest.approx(raw.info["sfreq"])
    assert recording.n_samples == len(raw.times)
    assert len(recording.names) == len(raw.ch_names)
    for first, last in ends(recording):
        ours = recording.read(first, last)
        theirs = raw.get_data(start=first, stop=last)
        for k, (row, line) in enumerate(zip(ours, theirs, strict=True)):
            unit = {"uV": 1e6, "mV": 1e3}.get(recording.units[k], 1.0)
            atol = 1e-6 * max(1.0, float(np.abs(row).max()))
            np.testing.assert_allclose(row, unit * line, atol=atol, rtol=1e-5, err_msg=recording.names[k])


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize("name", names_of([path for path in EDF_FILES if path.suffix == ".edf"][::5]))
def test_real_edf_files_against_edfio(name: str) -> None:
    import edfio

    path = MIRROR / name
    file = read_edf(path)
    theirs = edfio.read_edf(path, lazy_load_data=True)
    assert file.raw_labels == [signal.label for signal in theirs.signals]
    assert file.rate_hz.tolist() == pytest.approx([signal.sampling_frequency for signal in theirs.signals])
    for k, signal in enumerate(theirs.signals[:4]):
        np.testing.assert_allclose(
            file.signal(k, 0, 500), signal.data[:500], rtol=1e-5, atol=1e-6 * np.abs(signal.data).max()
        )


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize("name", names_of(EDF_FILES[::3]))
def test_real_edf_and_bdf_files_against_pyedflib(name: str) -> None:
    import pyedflib

    path = MIRROR / name
    file = read_edf(path)
    try:
        theirs = pyedflib.EdfReader(str(path))
    except OSError as error:  # it reads what follows the standard to the letter
        assert "not EDF(+) or BDF(+) compliant" in str(error)
        return
    with theirs:
        assert [label.strip() for label in theirs.getSignalLabels()] == file.raw_labels
        assert theirs.getNSamples().tolist() == file.n_samples.tolist()
        assert theirs.getSampleFrequencies() == pytest.approx(file.rate_hz)
        assert theirs.getStartdatetime().replace(microsecond=0) == file.start
        for k in range(min(4, len(file.labels))):
            assert theirs.getPhysicalDimension(k).strip() == file.units[k]
            signal = theirs.readSignal(k)
            atol = 1e-6 * float(np.abs(signal).max())
            np.testing.assert_allclose(file.signal(k), signal, rtol=1e-5, atol=atol)


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize(
    "name", names_of([path for path in EDF_FILES if "mne" in str(path)] + EDF_FILES[24::5])
)
def test_real_annotations_against_edfio_and_pyedflib(name: str) -> None:
    import edfio
    import pyedflib

    path = MIRROR / name
    ours = [(event.onset_s, event.duration_s, event.text) for event in read_edf(path).annotations()]
    reader = edfio.read_bdf if path.suffix == ".bdf" else edfio.read_edf
    by_edfio = reader(path).annotations
    assert_same_events(ours, [(event.onset, event.duration or 0.0, event.text) for event in by_edfio])
    try:
        with pyedflib.EdfReader(str(path)) as theirs:
            onset, duration, text = theirs.readAnnotations()
    except OSError:
        return
    assert_same_events(ours, list(zip(onset, np.maximum(duration, 0.0), text, strict=True)))


def assert_same_events(ours: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]]) -> None:
    ours, theirs = sorted(ours), sorted(theirs)
    assert [event[2] for event in ours] == [event[2] for event in theirs]
    one, other = (np.array([event[:2] for event in events], dtype=float) for events in (ours, theirs))
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    "starts_s", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 12, 13, 14], [0.25, 1.25, 2.25, 9, 10, 11]]
)
def test_own_annotations_stand_on_the_recordings_time_axis(starts_s: list[float], tmp_path: Path) -> None:
    """Of events in their records, through the time axis of the samples, with pauses and without."""
    import edfio

    x = np.zeros((1, 1200))
    x[0, [100, 450, 900]] = 500.0  # half a second, then 2.25 s and 4.5 s of recorded time
    events = [(0.5, 0.0, "one"), (2.25, 1.0, "µ two"), (4.5, 0.5, "three")]
    moved = [(starts_s[int(onset)] + onset % 1, duration, text) for onset, duration, text in events]
    path = tmp_path / "events.edf"
    path.write_bytes(discontinuous(edf(["C3"], x), starts_s, events=moved))
    ours = read_edf(path).annotations()
    recording = open_recording(path)
    peaks_s = np.flatnonzero(recording.read(0, recording.n_samples)[0] > 400) / recording.rate_hz
    np.testing.assert_allclose([event.onset_s for event in ours], peaks_s, atol=1e-9)
    assert [(event.duration_s, event.text) for event in ours] == [event[1:] for event in events]
    by_edfio = edfio.read_edf(path).annotations
    assert_same_events(
        [(event.onset_s, event.duration_s, event.text) for event in ours],
        [(event.onset, event.duration or 0.0, event.text) for event in by_edfio],
    )


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize("name", names_of(SETS))
def test_real_eeglab_files_against_mne(name: str) -> None:
    import mne

    path = MIRROR / name
    try:
        raw = mne.io.read_raw(path, verbose="ERROR")
    except Exception as error:
        with pytest.raises(DataError) as refusal:
            open_recording(path)
        assert "\n" not in str(refusal.value) and path.name in str(refusal.value), error
        return
    recording = open_recording(path)
    assert (recording.rate_hz, recording.n_samples) == (raw.info["sfreq"], len(raw.times))
    assert set(recording.names) <= {name.removesuffix("-0") for name in raw.ch_names}
    first, last = ends(recording)[0]
    np.testing.assert_allclose(
        recording.read(first, last),
        1e6 * raw.get_data(picks=recording.names, start=first, stop=last),
        rtol=1e-5,
    )


@needs_recordings
@pytest.mark.data
@pytest.mark.parametrize("part", range(8))
def test_real_wfdb_records_against_wfdb(part: int) -> None:
    """Every third record: units, rates and values as the header gives them, through both doors."""
    import wfdb

    for header in RECORDS[part::24]:
        path = header.with_suffix("")
        try:
            theirs = wfdb.rdrecord(str(path), smooth_frames=False)
            lines = theirs.e_p_signal if theirs.e_p_signal is not None else list(theirs.p_signal.T)
        except Exception as error:
            with pytest.raises(DataError) as refusal:
                open_recording(path)
            assert "\n" not in str(refusal.value), error
            continue
        if all(np.isnan(line).all() for line in lines):
            with pytest.raises(DataError, match="expected at least one segment with samples"):
                read_wfdb(path)
            continue
        ours, recording = read_wfdb(path), open_recording(path)
        assert ours.names == recording.names and recording.n_samples == ours.data.shape[1]
        names = list(theirs.sig_name)
        for k, name in enumerate(ours.names):
            at = names.index(name) if name in names else k
            np.testing.assert_allclose(
                ours.data[k], lines[at], rtol=1e-5, atol=1e-6, err_msg=f"{path} {name}"
            )
        volts = {"uV": 1e-3, "mV": 1.0}
        scale = [
            volts.get(a, 1.0) / volts.get(b, 1.0) for a, b in zip(ours.units, recording.units, strict=True)
        ]
        np.testing.assert_allclose(
            recording.read(0, recording.n_samples), ours.data * np.array(scale)[:, None], rtol=1e-4
        )


@pytest.mark.parametrize("rate", [100.0, 256.0, 512.0])
@pytest.mark.parametrize(("unit", "factor"), [("uV", 1.0), ("mV", 1e3), ("nV", 1e-3), ("V", 1e6)])
@pytest.mark.parametrize("name", ["C3", "EEG Fp1-REF", "T8-P8"])
def test_own_edf_files_hold_what_was_written(
    rate: float, unit: str, factor: float, name: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    x = 50 * rng.standard_normal((2, round(4 * rate)))
    limit = 500 / factor
    rows = zip((name, "C4"), x, strict=True)
    signals = [EdfSignal(label, row / factor, rate, (-limit, limit), unit=unit) for label, row in rows]
    (tmp_path / "own.edf").write_bytes(edf_bytes(signals))
    recording = open_recording(tmp_path / "own.edf")
    assert recording.names == [name, "C4"] and recording.units == ["uV", "uV"] and recording.rate_hz == rate
    np.testing.assert_allclose(recording.read(0, recording.n_samples), x, atol=500 / 2**15)


@pytest.mark.parametrize("gain", [200.0, 1000.0, 6553.7])
@pytest.mark.parametrize("rate", [250, 500])
def test_own_wfdb_records_hold_what_was_written(gain: float, rate: int, tmp_path: Path) -> None:
    digital = np.random.default_rng(0).integers(-3000, 3000, (3, 4 * rate))
    write_record(tmp_path / "own", digital, ["I", "II", "V1"], rate, gain)
    recording = open_recording(tmp_path / "own.hea")
    assert recording.units == ["mV"] * 3 and recording.kinds == ["ecg"] * 3 and recording.rate_hz == rate
    np.testing.assert_allclose(recording.read(0, 4 * rate), digital / gain, rtol=1e-5)
