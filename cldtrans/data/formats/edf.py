"""EDF, EDF+ and BDF recordings in physical units.

Files are read through a numpy memory map: a channel costs one strided copy. A discontinuous file (EDF+D,
BDF+D) keeps its time axis: what was not recorded is NaN, where mne would splice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from cldtrans.data.formats.bounds import MOST_GAP_BYTES, checked_rate
from cldtrans.data.formats.channels import distinguishable
from cldtrans.data.formats.edf_header import EdfHeader, read_header
from cldtrans.data.formats.units import microvolts
from cldtrans.errors import DataError

LONGEST_GAP_S = 7 * 86400.0  # a longer pause is a damaged time stamp


@dataclass(frozen=True)
class Annotation:
    """One event: onset since the start of the recording, duration, text."""

    onset_s: float
    duration_s: float
    text: str


class EdfRecording:
    """An open recording: the header is checked, samples are read when asked for.

    Attributes
    ----------
    labels : list of str
        Channel names in file order, annotation channels left out; the second channel of one name is
        `NAME#2`, the third `NAME#3`, so that the first keeps the name under which it is looked up.
    raw_labels : list of str
        The same as written in the header.
    rate_hz : array [C] of float64
        Sampling rate of each channel.
    units : list of str
        Of the channels, as written in the header.
    n_samples : array [C] of int64
        Samples on the recording's time axis, pauses of an EDF+D file included.
    start : datetime or None
        Local start time, None where it is blanked out.
    duration_s : float
        Length of the time axis, seconds.
    """

    def __init__(self, header: EdfHeader) -> None:
        self.header = header
        self.path = header.path
        self.raw_labels = [channel.label for channel in header.channels]
        self.labels = distinguishable(self.raw_labels)
        self.units = [channel.unit for channel in header.channels]
        self.start: datetime | None = header.start
        self._per_record = np.array(
            [channel.samples_per_record for channel in header.channels], dtype=np.int64
        )
        self.rate_hz = self._per_record / header.record_s if header.record_s else np.zeros(0)
        for label, rate_hz in zip(self.labels, self.rate_hz, strict=False):  # no rates without signals
            checked_rate(float(rate_hz), f"{self.path}: channel {label!r}")
        self.record_start_s = _record_starts(header, self._memmap) if header.kind.endswith("+D") else None
        if self.record_start_s is None:
            self.n_samples = self._per_record * header.n_records
            self.duration_s = header.n_records * header.record_s
        else:
            last = np.round(self.record_start_s[-1] * self.rate_hz).astype(np.int64)
            self.n_samples = last + self._per_record
            self.duration_s = float(self.record_start_s[-1] + header.record_s)

    def index(self, channel: int | str) -> int:
        """Return the position of a channel given by position or label."""
        if isinstance(channel, str):
            if channel not in self.labels:
                raise DataError(
                    f"{self.path}: expected a channel {channel!r}, found {', '.join(self.labels)}"
                )
            return self.labels.index(channel)
        return int(channel)

    def signal(self, channel: int | str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Read one channel in the header's unit.

        Parameters
        ----------
        channel : int or str
            Position or label.
        start, stop : int
            In samples.

        Returns
        -------
        array [T] of float32
            NaN where nothing was recorded.
        """
        return self.signals([channel], start, stop)[0]

    def signals(
        self, channels: Sequence[int | str] | None = None, start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """Read channels of one common rate, in the units of the header.

        Parameters
        ----------
        channels : sequence of int or str, optional
            Positions or labels; default: all.
        start, stop : int
            In samples.

        Returns
        -------
        array [C, T] of float32
            NaN where nothing was recorded.

        Raises
        ------
        DataError
            Where the channels' rates differ.
        """
        indices = [self.index(c) for c in (range(len(self.labels)) if channels is None else channels)]
        rates = {float(self.rate_hz[i]) for i in indices}
        if len(rates) != 1:
            found = ", ".join(f"{self.labels[i]} {self.rate_hz[i]:g} Hz" for i in indices) or "no channel"
            raise DataError(
                f"{self.path}: expected channels of one sampling rate, found {found}; read them apart"
            )
        length = int(self.n_samples[indices[0]])
        start, stop, _ = slice(start, stop).indices(length)
        stop = max(start, stop)
        self._check_gaps(indices, start, stop)
        out = np.empty((len(indices), stop - start), dtype=np.float32)
        for row, i in zip(out, indices, strict=True):
            self._fill(row, i, start, stop)
        return out

    def microvolts(
        self, channels: Sequence[int | str] | None = None, start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """Read channels as `signals` does, in microvolts whatever the header's unit (nV, uV, mV, V).

        Raises
        ------
        DataError
            Where a unit is no voltage, or the channels' rates differ.
        """
        indices = [self.index(c) for c in (range(len(self.labels)) if channels is None else channels)]
        data = self.signals(indices, start, stop)
        for row, i in zip(data, indices, strict=True):
            factor = microvolts(self.units[i])
            if factor is None:
                raise DataError(
                    f"{self.path}: channel {self.labels[i]!r}: expected a unit of nV, uV, mV or V, "
                    f"found {self.units[i]!r}; this is no voltage, leave the channel out"
                )
            if factor != 1.0:
                row *= factor
        return data

    def annotations(self) -> list[Annotation]:
        """Return the events of the EDF+/BDF+ annotation channels, read by mne, in order of onset."""
        if not self.header.annotations:
            return []
        import mne

        try:
            with mne.utils.use_log_level("ERROR"):
                found = mne.read_annotations(str(self.path))
        except Exception as error:  # mne raises whatever the damaged bytes happen to provoke
            raise DataError(
                f"{self.path}: annotations cannot be read ({error}); fetch the file again"
            ) from error
        return [
            Annotation(float(onset), float(duration), str(text))
            for onset, duration, text in zip(found.onset, found.duration, found.description, strict=True)
        ]

    @cached_property
    def _memmap(self) -> np.ndarray:
        """[records, samples of all channels] int16, or of BDF [..., 3] bytes; not read until touched."""
        header = self.header
        shape: tuple[int, ...] = (header.n_records, header.samples_per_record)
        if header.sample_bytes == 3:
            return np.memmap(
                self.path, dtype=np.uint8, mode="r", offset=header.header_bytes, shape=(*shape, 3)
            )
        return np.memmap(self.path, dtype="<i2", mode="r", offset=header.header_bytes, shape=shape)

    def _digital(self, i: int, first: int, last: int) -> np.ndarray:
        """Return the whole numbers of channel i as they are stored, [records, samples per record]."""
        channel = self.header.channels[i]
        block = self._memmap[first:last, channel.offset : channel.offset + channel.samples_per_record]
        if self.header.sample_bytes == 2:
            return block
        low, middle, high = (block[..., k].astype(np.int32) for k in range(3))
        return ((high << 16 | middle << 8 | low) ^ 0x800000) - 0x800000  # 24 bits with their sign

    def _fill(self, out: np.ndarray, i: int, start: int, stop: int) -> None:
        """Write samples [start, stop) of channel i to `out`: scaled in float64, stored in float32."""
        gain, offset = self.header.channels[i].scale(self.path)
        per_record = int(self._per_record[i])
        if self.record_start_s is None:
            first, last = start // per_record, -(-stop // per_record)
            digital = self._digital(i, first, last).reshape(-1)[start - first * per_record :][: stop - start]
            work = digital.astype(np.float64)
            work *= gain
            work += offset
            out[:] = work
            return
        begins = np.round(self.record_start_s * self.rate_hz[i]).astype(np.int64)
        first, last = np.searchsorted(begins, [start - per_record, stop], side="right")
        last = max(last, first)
        line = self._digital(i, first, last).astype(np.float64) * gain + offset
        place = (begins[first:last, None] + np.arange(per_record)).reshape(-1) - start
        inside = (place >= 0) & (place < stop - start)
        out[:] = np.nan
        out[place[inside]] = line.reshape(-1)[inside]

    def _check_gaps(self, indices: list[int], start: int, stop: int) -> None:
        """Refuse a piece that is mostly pauses before it fills the memory."""
        if self.record_start_s is None or not indices:
            return
        per_record = int(self._per_record[indices[0]])
        begins = np.round(self.record_start_s * self.rate_hz[indices[0]]).astype(np.int64)
        held = np.clip(np.minimum(begins + per_record, stop) - np.maximum(begins, start), 0, None).sum()
        gap_bytes = 4 * len(indices) * int(stop - start - held)
        if gap_bytes > MOST_GAP_BYTES:
            raise DataError(
                f"{self.path}: expected pauses that fill at most {MOST_GAP_BYTES >> 20} MB, found "
                f"{gap_bytes >> 20} MB between {start} and {stop} samples; read a stretch between the pauses"
            )


def read_edf(path: str | Path, whole: bool = True) -> EdfRecording:
    """Open a recording.

    Parameters
    ----------
    path : str or Path
        The file.
    whole : bool
        Refuse a file that is shorter than its header says; else it is read to its last whole record, and
        `header.notes` says so.

    Raises
    ------
    DataError
        Where the header is impossible, or the file too short.
    """
    return EdfRecording(read_header(Path(path), whole))


def _record_starts(header: EdfHeader, records: np.ndarray) -> np.ndarray | None:
    """Return the start of each record in seconds after the first, [records]; None where there is no pause.

    Every record of an EDF+ file begins its first annotation channel with a time stamp `+seconds`.
    """
    if not header.annotations:
        raise DataError(f"{header.path}: expected an annotation channel in an {header.kind} file, found none")
    channel = header.annotations[0]
    width = slice(channel.offset, channel.offset + channel.samples_per_record)
    starts = np.empty(header.n_records)
    for k in range(header.n_records):
        stamp = re.match(rb"[+-]\d+(\.\d*)?(?=[\x14\x15])", records[k, width].tobytes())
        if stamp is None:
            raise DataError(
                f"{header.path}: expected a time stamp in record {k} of an {header.kind} file, found none"
            )
        starts[k] = float(stamp.group())
    if not np.isfinite(starts).all():
        raise DataError(f"{header.path}: expected time stamps in seconds, found one that no number holds")
    starts -= starts[0]
    pauses = np.diff(starts) - header.record_s
    tolerance = 0.5 * header.record_s / max((c.samples_per_record for c in header.channels), default=1)
    if np.all(np.abs(starts - np.arange(header.n_records) * header.record_s) < tolerance):
        return None
    if pauses.min() < -tolerance or pauses.max() > LONGEST_GAP_S:
        raise DataError(
            f"{header.path}: expected records in order of time, pauses of at most {LONGEST_GAP_S:g} s, "
            f"found steps of {np.diff(starts).min():g} to {np.diff(starts).max():g} s; leave it out"
        )
    return starts
