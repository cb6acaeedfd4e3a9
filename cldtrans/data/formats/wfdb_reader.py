"""WFDB records in physical units.

Single-segment records in formats 16 and 212 with one sample a frame and no skew, which is all of PTB-XL and
MIMIC-IV-ECG, are decoded with numpy; samples of everything else come through the wfdb package, one segment at
a time: names, units and the place of segments come from the headers, because each segment has its own.
Formats: https://physionet.org/physiotools/wag/signal-5.htm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from cldtrans.data.formats.bounds import MOST_GAP_BYTES, MOST_SKEW_S, checked_rate
from cldtrans.data.formats.channels import distinguishable, of_one_rate
from cldtrans.data.formats.units import microvolts
from cldtrans.data.formats.wfdb_header import INVALID, Header, Layout, Signal, read_header
from cldtrans.errors import DataError


@dataclass(frozen=True)
class WfdbRecording:
    """A record that has been read.

    Attributes
    ----------
    path : Path
        Without extension.
    names : list of str
        Of the signals, in file order.
    rate_hz : float
        Samples per second, common to all signals here: the rate that most have, the highest of several such.
    units : list of str
        Of the signals, as in the header (mV where it says nothing).
    data : array [C, T] of float32
        In these units, NaN where a sample is marked invalid, or nothing was recorded.
    notes : tuple of str
        What of the record is not here, one line each.
    """

    path: Path
    names: list[str]
    rate_hz: float
    units: list[str]
    data: np.ndarray
    notes: tuple[str, ...] = ()

    def millivolts(self) -> np.ndarray:
        """Return the signals in millivolts, array [C, T], float32.

        Raises
        ------
        DataError
            For a signal that is no voltage.
        """
        out = self.data
        for i, unit in enumerate(self.units):
            factor = microvolts(unit)
            if factor is None:
                raise DataError(
                    f"{self.path}: signal {self.names[i]!r}: expected a unit of uV, mV or V, found {unit!r}; "
                    "this is no voltage, leave the signal out"
                )
            if factor != 1e3:
                out = out.copy() if out is self.data else out
                out[i] *= factor / 1e3
        return out


def read_wfdb(path: str | Path, verify_checksum: bool = False, whole: bool = True) -> WfdbRecording:
    """Read a record.

    Parameters
    ----------
    path : str or Path
        Without extension.
    verify_checksum : bool
        Compare the samples with the 16-bit sums of the header (plain layouts only; files that came
        through `download` have been verified by SHA-256 already).
    whole : bool
        Refuse signal files that are shorter than the header says; else those of plain layouts are read to
        their end, and `notes` say so.

    Raises
    ------
    DataError
        Where the record cannot be read, or a sum is wrong.
    """
    path = Path(path)
    header = read_header(path)
    return _joined(path, header, whole) if header.segments else _single(path, header, verify_checksum, whole)


def _single(path: Path, header: Header, verify_checksum: bool, whole: bool) -> WfdbRecording:
    """Read a record of one segment."""
    if not header.plain:
        return _through_wfdb(path, header)
    groups: dict[str, list[Signal]] = {}
    for signal in header.signals:
        groups.setdefault(signal.file, []).append(signal)
    n_samples, notes = header.n_samples, []
    blocks = []
    for file, signals in groups.items():
        digital, present = _digital(path, file, signals, n_samples, whole)
        if header.n_samples and present != header.n_samples:
            notes.append(_other_length(file, header.n_samples, present))
        if verify_checksum:
            _check_sums(path, signals, digital)
        blocks.append(_physical(digital, tuple(signal.layout for signal in signals)))
        n_samples = digital.shape[1]
    return WfdbRecording(
        path=path,
        names=distinguishable([signal.name for signal in header.signals]),
        rate_hz=header.rate_hz,
        units=[signal.layout.unit for signal in header.signals],
        data=blocks[0] if len(blocks) == 1 else np.concatenate([block[:, :n_samples] for block in blocks]),
        notes=tuple(notes),
    )


def _joined(path: Path, header: Header, whole: bool) -> WfdbRecording:
    """Read a record of segments, each with its own signals, units and scale, on one time axis.

    With a layout (a first segment of length 0) signals are found by name, and what a segment lacks is NaN;
    else all segments hold the same signals in the same order.
    """
    parts = list(header.parts)
    layout = None
    if parts and parts[0][1] == 0 and parts[0][0] != "~":
        layout = read_header(path.parent / parts.pop(0)[0])
    lengths = np.array([length for _, length in parts], dtype=np.int64)
    first_frame = np.concatenate([[0], np.cumsum(lengths)])
    segments: dict[int, WfdbRecording] = {}
    for k, (name, length) in enumerate(parts):
        if name == "~" or length == 0:
            continue
        part = read_header(path.parent / name)
        if part.segments:
            raise DataError(
                f"{path}.hea: expected segments of samples, found {name}, which has segments itself"
            )
        segments[k] = _single(path.parent / name, part, verify_checksum=False, whole=whole)
    if not segments:
        raise DataError(f"{path}: expected at least one segment with samples, found none; fetch it again")
    rates = sorted({segment.rate_hz for segment in segments.values()})
    if len(rates) > 1:
        found = ", ".join(f"{rate:g}" for rate in rates)
        raise DataError(f"{path}: expected segments of one sampling rate, found {found} Hz; read them apart")
    head = next(iter(segments.values()))
    names = head.names if layout is None else distinguishable([signal.name for signal in layout.signals])
    units = head.units if layout is None else [signal.layout.unit for signal in layout.signals]
    a_frame = round(rates[0] / header.rate_hz)  # samples
    if abs(a_frame * header.rate_hz - rates[0]) > 1e-3 * rates[0]:
        raise DataError(
            f"{path}: expected segments of a multiple of {header.rate_hz:g} Hz, found {rates[0]:g} Hz; "
            "fetch the record again"
        )
    held = sum(segment.data.size for segment in segments.values())
    empty_bytes = 4 * (len(names) * a_frame * int(first_frame[-1]) - held)
    if empty_bytes > MOST_GAP_BYTES:
        raise DataError(
            f"{path}: expected gaps that fill at most {MOST_GAP_BYTES >> 20} MB, found "
            f"{empty_bytes >> 20} MB; read its segments apart"
        )
    data = np.full((len(names), a_frame * int(first_frame[-1])), np.nan, dtype=np.float32)
    notes: list[str] = []
    for k, segment in segments.items():
        notes += [note for note in segment.notes if note not in notes]
        begin, room = a_frame * int(first_frame[k]), a_frame * int(lengths[k])
        if segment.data.shape[1] != room:
            notes.append(f"segment {parts[k][0]}: {segment.data.shape[1]} samples, {room} announced")
        rows = _places(path, names, segment, fixed=layout is None)
        for row, line, unit in zip(rows, segment.data[:, :room], segment.units, strict=True):
            factor = _factor(path, parts[k][0], names[row], unit, units[row])
            data[row, begin : begin + line.size] = line if factor == 1.0 else line * np.float32(factor)
    return WfdbRecording(path, list(names), rates[0], list(units), data, tuple(notes))


def _places(path: Path, names: list[str], segment: WfdbRecording, fixed: bool) -> list[int]:
    """Which signals of the record a segment's signals are."""
    if fixed:
        if len(segment.names) != len(names):
            raise DataError(
                f"{path}: expected {len(names)} signals in every segment, found {len(segment.names)} in "
                f"{segment.path.name}"
            )
        return list(range(len(names)))
    unknown = [name for name in segment.names if name not in names]
    if unknown:
        raise DataError(f"{segment.path}: signal {unknown[0]!r} is not in the layout of {path.name}")
    return [names.index(name) for name in segment.names]


def _factor(path: Path, segment: str, name: str, unit: str, wanted: str) -> float:
    """By what a segment's values become those of the record's unit."""
    if unit == wanted:
        return 1.0
    one, other = microvolts(unit), microvolts(wanted)
    if one is None or other is None:
        raise DataError(f"{path}: signal {name!r} is in {wanted!r}, but in {unit!r} in segment {segment}")
    return one / other


def _digital(
    path: Path, file: str, signals: Sequence[Signal], n_samples: int | None, whole: bool
) -> tuple[np.ndarray, int]:
    """[C, T] int16 of the signals that share one file (format 16: a transposed view), and its own length."""
    layouts = {(signal.layout.format, signal.layout.offset) for signal in signals}
    if len(layouts) != 1:
        raise DataError(
            f"{path}.hea: expected one format and byte offset for {file}, found {sorted(layouts)}"
        )
    ((kind, offset),) = layouts
    target = path.parent / file
    try:
        raw = np.fromfile(target, dtype=np.uint8, offset=offset)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path}.hea: expected its signal file {file} in the same folder, found none that can be read "
            f"({reason}); fetch the record again"
        ) from error
    width = len(signals)
    present = (raw.size // 2 if kind == "16" else raw.size * 2 // 3) // width
    if n_samples is None or (not whole and present < n_samples):
        n_samples = present
    if n_samples == 0:
        raise DataError(
            f"{target}: expected at least one sample a signal, found none; fetch the record again"
        )
    total = n_samples * width
    n_bytes = 2 * total if kind == "16" else -(-3 * total // 2)
    if raw.size < n_bytes:
        raise DataError(
            f"{target}: expected {n_bytes + offset} bytes ({width} signals of {n_samples} samples in format "
            f"{kind}), found {raw.size + offset}; the file is truncated, fetch it again"
        )
    flat = raw[:n_bytes].view("<i2") if kind == "16" else _unpack_212(raw[:n_bytes], total)
    padding = kind == "212" and present == n_samples + 1  # of an odd number of samples
    return flat.reshape(n_samples, width).T, n_samples if padding else present


def _other_length(file: str, announced: int, present: int) -> str:
    """Return a note; more samples may be those of other headers, and the sums are over the announced ones."""
    rest = "it was cut short, and is read to its end" if present < announced else "those announced are read"
    return f"the header announces {announced} samples, {file} holds {present}: {rest}"


def _unpack_212(raw: np.ndarray, total: int) -> np.ndarray:
    """[total] int16 from pairs of 12-bit samples in three bytes: b0 b1 b2 -> (b1 & 15, b0), (b1 >> 4, b2)."""
    if raw.size % 3:
        raw = np.append(raw, np.zeros(3 - raw.size % 3, dtype=np.uint8))
    triples = raw.reshape(-1, 3)
    low, middle, high = (triples[:, k].astype(np.uint16) for k in range(3))
    out = np.empty(2 * len(triples), dtype=np.int16)
    # The 12 bits are put at the top of the word, so that shifting back extends the sign.
    out[0::2] = ((middle << 12) | (low << 4)).view(np.int16) >> 4
    out[1::2] = (((middle & 0xF0) << 8) | (high << 4)).view(np.int16) >> 4
    return out[:total]


def _physical(digital: np.ndarray, layouts: tuple[Layout, ...]) -> np.ndarray:
    """[C, T] float32 of `(digital - baseline) / gain`, as wfdb computes it in float64.

    Where gain and difference are exact in float32 a float32 division gives the same bits: its 24-bit operands
    make the detour over 53 bits harmless, and it is twice as fast.
    """
    gain, baseline = _scales(layouts)
    out = np.empty(digital.shape, dtype=np.float32)
    work = out if gain.dtype == np.float32 else np.empty(digital.shape)
    work[:] = digital
    if baseline is not None:
        work -= baseline
    work /= gain
    if work is not out:
        out[:] = work
    invalid = INVALID[layouts[0].format]
    if digital.min() == invalid:
        out[digital == invalid] = np.nan
    return out


@lru_cache(256)
def _scales(layouts: tuple[Layout, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    """(gain, baseline) [C, 1] in the precision that `_physical` computes in; None for no baseline at all."""
    gain = np.array([[layout.gain] for layout in layouts])
    baseline = np.array([[layout.baseline] for layout in layouts])
    exact = bool(np.all(gain.astype(np.float32) == gain) and np.all(np.abs(baseline) < 2**23))
    kind = np.float32 if exact else np.float64
    return gain.astype(kind), baseline.astype(kind) if baseline.any() else None


def _check_sums(path: Path, signals: Sequence[Signal], digital: np.ndarray) -> None:
    for signal, row in zip(signals, digital, strict=True):
        total = int(row.sum(dtype=np.int64))
        if signal.checksum is not None and (total - signal.checksum) % 65536:
            raise DataError(
                f"{path.parent / signal.file}: signal {signal.name!r}: expected checksum {signal.checksum} "
                f"(modulo 65536), found {total % 65536}; fetch the record again"
            )


def _through_wfdb(path: Path, header: Header) -> WfdbRecording:
    """Read frames of several samples, skew, compressed and rarer formats: each signal at its own rate."""
    import wfdb

    longest = max(signal.layout.skew for signal in header.signals) / header.rate_hz
    if longest > MOST_SKEW_S:
        raise DataError(f"{path}.hea: expected a skew of at most {MOST_SKEW_S:g} s, found {longest:g} s")
    try:
        record = wfdb.rdrecord(str(path), physical=True, smooth_frames=False)
    except FileNotFoundError as error:
        missing = Path(error.filename).name if error.filename else error
        raise DataError(
            f"{path}.hea: expected its file {missing} in the same folder, found none; fetch the record again"
        ) from error
    except Exception as error:  # wfdb raises whatever the damaged bytes happen to provoke
        raise DataError(f"{path}: wfdb cannot read it ({error}); fetch the record again") from error
    lines = record.e_p_signal
    if not lines or min(len(line) for line in lines) == 0:
        raise DataError(f"{path}: expected at least one sample, found none; fetch the record again")
    names = distinguishable([signal.name for signal in header.signals])
    rates_hz = [header.rate_hz * signal.layout.frame for signal in header.signals]
    rate_hz, chosen, notes = of_one_rate(names, rates_hz)
    return WfdbRecording(
        path=path,
        names=[names[k] for k in chosen],
        rate_hz=checked_rate(rate_hz, str(path)),
        units=[header.signals[k].layout.unit for k in chosen],
        data=np.stack([np.asarray(lines[k], dtype=np.float32) for k in chosen]),
        notes=tuple(notes),
    )
