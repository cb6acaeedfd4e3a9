"""Any recording that mne or wfdb reads, as named channels of one rate that are read piece by piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.errors import DataError

if TYPE_CHECKING:
    import mne


@dataclass(frozen=True)
class Recording:
    """Channels of one sampling rate.

    Attributes
    ----------
    origin : str
        File or other name that messages begin with.
    names : list of str
        Of the channels, as recorded.
    rate_hz : float
        Samples per second.
    n_samples : int
        Length in samples.
    read : callable
        (first, last + 1) in samples -> array [C, T], float32, in the recording's units, NaN where nothing
        was recorded.
    notes : list of str
        What of the file is not here, one line each.
    """

    origin: str
    names: list[str]
    rate_hz: float
    n_samples: int
    read: Callable[[int, int], np.ndarray]
    notes: list[str] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.rate_hz


def from_array(
    x: Any, sample_rate: float, names: Sequence[str] | None = None, origin: str = "array"
) -> Recording:
    """Make a recording of an array in memory.

    Parameters
    ----------
    x : array [C, T]
        numpy or torch, in any unit.
    sample_rate : float
        Hertz.
    names : sequence of str, optional
        Of the C channels; default: their numbers.
    origin : str
        Name that messages begin with.

    Raises
    ------
    DataError
        Where the shapes do not fit, or the rate is not positive.
    """
    data = np.asarray(x, dtype=np.float32)
    if data.ndim != 2:
        raise DataError(f"{origin}: shape {data.shape}; expected [channels, samples]")
    if not sample_rate > 0:
        raise DataError(f"{origin}: the sampling rate is {sample_rate} Hz; expected a positive number")
    labels = [str(i) for i in range(len(data))] if names is None else list(names)
    if len(labels) != len(data):
        raise DataError(f"{origin}: {len(labels)} names for {len(data)} channels")
    return Recording(origin, labels, float(sample_rate), data.shape[1], lambda first, end: data[:, first:end])


def from_raw(raw: mne.io.BaseRaw, origin: str | None = None) -> Recording:
    """Make a recording of mne's, loaded or not, without its trigger and bad channels.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        As mne opens it.
    origin : str, optional
        Name that messages begin with; default: the file's.
    """
    bad = set(raw.info["bads"])
    kinds = zip(raw.ch_names, raw.get_channel_types(), strict=True)
    names = [name for name, kind in kinds if kind not in ("stim", "syst") and name not in bad]
    notes = [f"marked as bad in the recording, and left out: {', '.join(sorted(bad))}"] if bad else []
    if origin is None:
        origin = Path(str(raw.filenames[0])).name if raw.filenames and raw.filenames[0] else "mne recording"

    def read(first: int, end: int) -> np.ndarray:
        return raw.get_data(picks=names, start=first, stop=end, verbose="ERROR").astype(np.float32)

    return Recording(origin, names, float(raw.info["sfreq"]), len(raw.times), read, notes)


def open_recording(path: str | Path) -> Recording:
    """Open a file: EDF and BDF, WFDB (path with or without extension), anything else through mne.

    Raises
    ------
    DataError
        No such file, or one that its reader cannot read.
    """
    path = Path(path)
    for record in (path, path.with_suffix("")):
        if record.with_name(record.name + ".hea").is_file():
            return _wfdb(record)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() in (".edf", ".bdf"):
        return _edf(path)
    import mne

    try:
        raw = mne.io.read_raw(path, preload=False, verbose="ERROR")
    except Exception as error:  # mne raises whatever the bytes happen to provoke
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: neither EDF nor WFDB, and mne cannot read it ({reason})") from error
    return from_raw(raw, str(path))


def _wfdb(path: Path) -> Recording:
    from cldtrans.data.formats.wfdb_reader import read_wfdb

    record = read_wfdb(path)
    return from_array(record.data, record.rate_hz, record.names, str(path))


def _edf(path: Path) -> Recording:
    """Open the channels of the rate that most have.

    A file may add a slow thermometer or a fast microphone.
    """
    from cldtrans.data.formats.edf import MICROVOLT, read_edf

    file = read_edf(path)
    if not file.labels:
        raise DataError(f"{path}: holds annotations only, no signal")
    rates = Counter(file.rate_hz.tolist())
    rate_hz = max(rates, key=lambda rate: (rates[rate], rate))
    chosen = np.flatnonzero(file.rate_hz == rate_hz).tolist()
    others = [file.labels[i] for i in range(len(file.labels)) if i not in chosen]
    notes = [f"not sampled at {rate_hz:g} Hz, and left out: {', '.join(others)}"] if others else []
    gain = np.array([MICROVOLT.get(file.units[i], 1.0) for i in chosen], dtype=np.float32)[:, None]

    def read(first: int, end: int) -> np.ndarray:
        return file.signals(chosen, first, end) * gain

    n_samples = int(file.n_samples[chosen[0]])
    return Recording(str(path), [file.labels[i] for i in chosen], rate_hz, n_samples, read, notes)
