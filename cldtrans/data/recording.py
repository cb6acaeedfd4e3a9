"""Any recording that mne or wfdb reads, as named channels of one rate that are read piece by piece."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.data.formats import before_mne
from cldtrans.data.formats.channels import distinguishable, of_one_rate
from cldtrans.data.formats.edf_header import BDF_VERSION, EDF_VERSION
from cldtrans.data.formats.units import microvolts
from cldtrans.data.montages.kinds import Kind, kinds_of
from cldtrans.errors import DataError

if TYPE_CHECKING:
    import mne

Read = Callable[[int, int], np.ndarray]
VOLTS = {"eeg", "ecg", "eog", "emg", "seeg", "ecog", "dbs", "bio"}
"""mne's types whose values are volts."""
SPLICES = re.compile(r"(?:bad |edge )?boundary|new segment", re.IGNORECASE)
"""Annotations that stand where a piece of the recording was taken out."""


@dataclass(frozen=True)
class Recording:
    """Channels of one sampling rate.

    Attributes
    ----------
    origin : str
        File or other name that messages begin with.
    names : list of str
        Of the channels, as recorded; repeated ones are told apart by `#2`.
    rate_hz : float
        Samples per second.
    n_samples : int
        Length.
    read : callable
        (first, last + 1) in samples -> array [C, T], float32; NaN where nothing was recorded.
    notes : list of str
        What of the file is not here, one line each.
    units : list of str
        "uV" for every voltage, whatever the file's unit, "mV" where the recording is an ECG; else as written,
        "" where it says nothing.
    kinds : list of str
        What each channel is, see `cldtrans.data.montages.kinds`.
    breaks : list of int
        Samples before which something was taken out: neighbours in the file, but not in time.
    """

    origin: str
    names: list[str]
    rate_hz: float
    n_samples: int
    read: Read
    notes: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.rate_hz


def from_array(
    x: Any, sample_rate: float, names: Sequence[str] | None = None, origin: str = "array"
) -> Recording:
    """Make a recording of arrays in memory.

    Parameters
    ----------
    x : array [C, T]
        numpy or torch, all channels in one unit.
    sample_rate : float
        Hertz.
    names : sequence of str, optional
        Of the channels; they are numbered where they have none.
    origin : str
        What messages begin with.

    Raises
    ------
    DataError
        Where shapes, rate or names do not fit together.
    """
    data = np.asarray(x, dtype=np.float32)
    if data.ndim != 2:
        raise DataError(f"{origin}: shape {data.shape}; expected [channels, samples]")
    if not sample_rate > 0:
        raise DataError(f"{origin}: the sampling rate is {sample_rate} Hz; expected a positive number")
    labels = [str(i) for i in range(len(data))] if names is None else distinguishable(list(names))
    if len(labels) != len(data):
        raise DataError(f"{origin}: {len(labels)} names for {len(data)} channels")
    return _recording(
        origin, labels, float(sample_rate), data.shape[1], lambda first, end: data[:, first:end]
    )


def from_raw(raw: mne.io.BaseRaw, origin: str | None = None) -> Recording:
    """Take an mne recording, loaded or not, without its trigger and bad channels.

    Pauses that mne marks (`BAD_ACQ_SKIP`) are NaN; where a piece was cut out (`boundary`, a further
    `New Segment`) no window can run across.
    """
    if origin is None:
        origin = Path(str(raw.filenames[0])).name if raw.filenames and raw.filenames[0] else "mne recording"
    types = raw.get_channel_types()
    bad = [name for name in raw.ch_names if name in raw.info["bads"]]
    rows = [i for i, name in enumerate(raw.ch_names) if types[i] not in ("stim", "syst") and name not in bad]
    notes = [f"marked as bad in the recording, and left out: {', '.join(sorted(bad))}"] if bad else []
    silent = [name for name, kind in zip(raw.ch_names, types, strict=True) if kind in ("stim", "syst")]
    if silent:
        notes.append(f"triggers, and left out: {', '.join(silent)}")
    gain = np.array([1e6 if types[i] in VOLTS else 1.0 for i in rows])[:, None]
    units = ["uV" if types[i] in VOLTS else "" for i in rows]
    rate_hz, n_samples = float(raw.info["sfreq"]), len(raw.times)
    skips, breaks = _interruptions(raw, notes)

    def read(first: int, end: int) -> np.ndarray:
        data = raw.get_data(picks=rows, start=first, stop=end, verbose="ERROR") * gain
        with np.errstate(over="ignore"):
            data = data.astype(np.float32)
        data[np.isinf(data)] = np.nan  # formats of floating numbers hold anything
        for begin, stop in skips:
            data[:, max(begin - first, 0) : max(stop - first, 0)] = np.nan
        return data

    names = _without_numbers([raw.ch_names[i] for i in rows])
    return _recording(origin, names, rate_hz, n_samples, read, notes, units, [types[i] for i in rows], breaks)


def open_recording(path: str | Path) -> Recording:
    """Open a file: EDF and BDF whatever they are called, WFDB, anything else through mne.

    Parameters
    ----------
    path : str or Path
        Of a WFDB record: its header, a file that the header names, or both without extension.

    Raises
    ------
    DataError
        No such file, or one that its reader cannot read.
    """
    path = Path(path).expanduser()
    if path.is_file() and path.suffix != ".hea":
        version = _first_bytes(path)
        if version in (EDF_VERSION, BDF_VERSION):
            return _edf(path)
        record = path.with_suffix("")
        if _header_names(record, path.name):
            return _wfdb(record)
    else:
        record = path.with_suffix("") if path.suffix == ".hea" else path
        if record.with_name(record.name + ".hea").is_file():
            return _wfdb(record)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() in (".edf", ".bdf"):
        return _edf(path)  # it says what is wrong with the header
    before_mne.check(path)
    import mne

    try:
        raw = mne.io.read_raw(path, preload=False, verbose="ERROR")
        _check_folder(path, raw)
        return from_raw(raw, str(path))
    except DataError:
        raise
    except Exception as error:  # mne raises whatever the bytes happen to provoke
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: neither EDF nor WFDB, and mne cannot read it ({reason})") from error


def _check_folder(path: Path, raw: mne.io.BaseRaw) -> None:
    """Refuse samples that lie in another folder: FIF and EEGLAB files may name any."""
    folders = Path(os.path.normpath(path.absolute())).parent, path.resolve().parent  # it may be a link
    for name in filter(None, raw.filenames):
        file = Path(os.path.normpath(Path(name).absolute()))
        if not any(file.is_relative_to(folder) for folder in folders):
            raise DataError(
                f"{path}: expected its samples in the same folder, found them in {file}; "
                "the header points elsewhere and is not followed"
            )


def _recording(
    origin: str,
    names: list[str],
    sample_rate: float,
    n_samples: int,
    read: Read,
    notes: Sequence[str] = (),
    units: Sequence[str] | None = None,
    types: Sequence[str] | None = None,
    breaks: Sequence[int] = (),
) -> Recording:
    """Tell channels apart by kind, and let the reader raise nothing but DataError."""
    units = [""] * len(names) if units is None else list(units)
    kinds = kinds_of(names, units, types)
    is_ecg = "ecg" in kinds and "eeg" not in kinds  # its voltages are given in millivolts
    scale = np.array([1e-3 if is_ecg and unit == "uV" else 1.0 for unit in units], dtype=np.float32)[:, None]
    units = ["mV" if is_ecg and unit == "uV" else unit for unit in units]

    def guarded(first: int, end: int) -> np.ndarray:
        try:
            data = read(first, end)
        except DataError:
            raise
        except Exception as error:  # readers raise whatever the bytes happen to provoke
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{origin}: samples {first} to {end} cannot be read ({reason}); is the file whole?"
            ) from error
        return data * scale if is_ecg else data

    return Recording(origin, names, sample_rate, n_samples, guarded, list(notes), units, kinds, list(breaks))


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _header_names(record: Path, file: str) -> bool:
    """Whether there is a WFDB header of that name which refers to a file."""
    header = record.with_name(record.name + ".hea")
    if not header.is_file():
        return False
    text = header.read_bytes().decode("latin-1")
    return any(line.split()[:1] == [file] for line in text.splitlines())


def _interruptions(raw: mne.io.BaseRaw, notes: list[str]) -> tuple[list[tuple[int, int]], list[int]]:
    """Pauses (first, last + 1) in samples, and samples before which something was cut out; both are noted."""
    rate_hz, n_samples = float(raw.info["sfreq"]), len(raw.times)
    skips: list[tuple[int, int]] = []
    breaks: list[int] = []
    for onset, duration, text in zip(
        raw.annotations.onset, raw.annotations.duration, raw.annotations.description, strict=True
    ):
        begin = round((float(onset) - raw.first_time) * rate_hz)
        if str(text).upper() == "BAD_ACQ_SKIP":
            skips.append((max(begin, 0), min(begin + round(float(duration) * rate_hz), n_samples)))
        elif SPLICES.match(str(text)) and 0 < begin < n_samples:
            breaks.append(begin)
    if skips:
        notes.append(
            f"not recorded from {', '.join(f'{a / rate_hz:g} to {b / rate_hz:g} s' for a, b in skips)}"
        )
    if breaks:
        notes.append(
            f"spliced, by boundary marks, at {', '.join(f'{b / rate_hz:g}' for b in sorted(set(breaks)))} s"
        )
    return skips, sorted(set(breaks))


def _without_numbers(names: list[str]) -> list[str]:
    """`T8-P8-0, T8-P8-1` -> `T8-P8, T8-P8#2`: mne numbers repeated names; others keep their digits."""
    stems = Counter(match[1] for match in map(re.compile(r"(.+)-\d+$").match, names) if match)
    repeated = {
        stem for stem, count in stems.items() if count > 1 and f"{stem}-0" in names and stem not in names
    }
    return distinguishable(
        [name.rpartition("-")[0] if name.rpartition("-")[0] in repeated else name for name in names]
    )


def _wfdb(path: Path) -> Recording:
    from cldtrans.data.formats.wfdb_reader import read_wfdb

    record = read_wfdb(path, whole=False)
    gain, units = _to_microvolts(record.units)
    data = record.data
    if (gain != 1).any():
        data *= gain  # in place: the record is read for this alone, and may be large
    return _recording(
        str(path), record.names, record.rate_hz, data.shape[1], lambda first, end: data[:, first:end],
        record.notes, units,
    )  # fmt: skip


def _edf(path: Path) -> Recording:
    from cldtrans.data.formats.edf import read_edf

    file = read_edf(path, whole=False)
    if not file.labels:
        raise DataError(f"{path}: holds annotations only, no signal")
    rate_hz, chosen, notes = of_one_rate(file.labels, file.rate_hz.tolist())
    gain, units = _to_microvolts([file.units[i] for i in chosen])

    def read(first: int, end: int) -> np.ndarray:
        return file.signals(chosen, first, end) * gain

    names, n_samples = [file.labels[i] for i in chosen], int(file.n_samples[chosen[0]])
    return _recording(str(path), names, rate_hz, n_samples, read, [*file.header.notes, *notes], units)


def _to_microvolts(units: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Factors [C, 1] by which voltages become microvolts, and the units then."""
    factors = [microvolts(unit) for unit in units]
    gain = np.array([1.0 if factor is None else factor for factor in factors], dtype=np.float32)[:, None]
    return gain, [unit if factor is None else "uV" for unit, factor in zip(units, factors, strict=True)]
