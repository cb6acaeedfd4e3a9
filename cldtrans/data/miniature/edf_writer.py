"""Plain EDF and EDF+ files, byte by byte as the format's authors define them.

Source: Kemp et al. 1992 (EDF), Kemp and Olivan 2003 (EDF+), https://www.edfplus.info/specs/.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Annotation = tuple[float, float, str]  # onset in seconds, duration in seconds, text


@dataclass(frozen=True)
class EdfSignal:
    """One channel of a recording and the header fields that describe it."""

    label: str
    data: np.ndarray  # [T] physical units
    rate_hz: float
    physical: tuple[float, float]  # range of the header; values outside are clipped, as an amplifier does
    digital: tuple[int, int] = (-32768, 32767)
    unit: str = "uV"
    transducer: str = ""
    prefilter: str = ""

    def to_digital(self) -> np.ndarray:
        """Return the values as the little-endian 16-bit integers of the file, array [T]."""
        low, high = self.digital
        step = (self.physical[1] - self.physical[0]) / (high - low)
        return np.clip(np.rint((self.data - self.physical[0]) / step) + low, low, high).astype("<i2")


def annotation_list(onset_s: float, duration_s: float, text: str) -> bytes:
    """Encode one time-stamped annotation list of EDF+; a duration below zero is left out."""
    duration = f"\x15{duration_s:g}" if duration_s >= 0 else ""
    return f"+{onset_s:.10g}{duration}\x14{text}\x14\0".encode()


def edf_bytes(
    signals: Sequence[EdfSignal],
    record_s: float = 1.0,
    start: datetime.datetime = datetime.datetime(2000, 1, 1),
    patient: str = "X X X X",
    recording: str = "",
    annotations: Sequence[Annotation] | None = None,
    annotation_samples: int = 80,
) -> bytes:
    """Encode a whole EDF file; with `annotations` (a list, maybe empty) a continuous EDF+ file.

    Annotations go, in order, to the data record in which they begin. A file with annotations alone (a
    hypnogram) has one record of duration 0.

    Parameters
    ----------
    signals : sequence of EdfSignal
        Each must fill the same whole number of records.
    record_s : float
        Length of a record in seconds.
    start : datetime
        Local time.
    patient, recording : str
        Fields of the header.
    annotations : sequence of Annotation, optional
        Events of an EDF+ file.
    annotation_samples : int
        The room that a record has for annotations.
    """
    per_record = [round(signal.rate_hz * record_s) for signal in signals]
    counts = {len(signal.data) / size for signal, size in zip(signals, per_record, strict=True)}
    if len(counts) > 1 or any(count % 1 for count in counts):
        raise ValueError(f"signals fill {sorted(counts)} records of {record_s} s, not one whole number")
    records = int(counts.pop()) if counts else 1
    blocks = [
        signal.to_digital().reshape(records, size) for signal, size in zip(signals, per_record, strict=True)
    ]
    header = [
        [signal.label for signal in signals],
        [signal.transducer for signal in signals],
        [signal.unit for signal in signals],
        [f"{signal.physical[0]:g}" for signal in signals],
        [f"{signal.physical[1]:g}" for signal in signals],
        [str(signal.digital[0]) for signal in signals],
        [str(signal.digital[1]) for signal in signals],
        [signal.prefilter for signal in signals],
        [str(size) for size in per_record],
        ["" for _ in signals],
    ]
    if annotations is not None:
        extra = ("EDF Annotations", "", "", "-1", "1", "-32768", "32767", "", str(annotation_samples), "")
        for column, value in zip(header, extra, strict=True):
            column.append(value)
        blocks.append(_annotation_block(annotations, records, record_s, annotation_samples, bool(signals)))
    n_signals = len(header[0])
    fixed = (
        _field("0", 8)
        + _field(patient, 80)
        + _field(recording or f"Startdate {start.strftime('%d-%b-%Y').upper()} X X X", 80)
        + _field(f"{start:%d.%m.%y}", 8)
        + _field(f"{start:%H.%M.%S}", 8)
        + _field(str(256 * (n_signals + 1)), 8)
        + _field("EDF+C" if annotations is not None else "", 44)
        + _field(str(records), 8)
        + _field(f"{record_s:g}" if signals else "0", 8)
        + _field(str(n_signals), 4)
    )
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    columns = b"".join(
        _field(value, width) for column, width in zip(header, widths, strict=True) for value in column
    )
    return fixed + columns + np.concatenate(blocks, axis=1).tobytes()


def write_edf(path: Path, signals: Sequence[EdfSignal], **header: object) -> None:
    """Write `edf_bytes(signals, **header)` to `path`, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(edf_bytes(signals, **header))  # type: ignore[arg-type]


def _field(text: str, width: int) -> bytes:
    encoded = text.encode("latin-1")
    if len(encoded) > width:
        raise ValueError(f"EDF header field {text!r} is longer than {width} characters")
    return encoded.ljust(width)


def _annotation_block(
    annotations: Sequence[Annotation], records: int, record_s: float, samples: int, timed: bool
) -> np.ndarray:
    """Encode the annotation signal, int16 [records, samples].

    Each record starts with its time-keeping list.
    """
    lists = [f"+{k * record_s:.10g}\x14\x14\0".encode() for k in range(records)]
    for onset_s, duration_s, text in sorted(annotations):
        k = min(int(onset_s / record_s), records - 1) if timed else 0
        lists[k] += annotation_list(onset_s, duration_s, text)
    if max(map(len, lists)) > 2 * samples:
        raise ValueError(f"annotations need {max(map(len, lists))} bytes a record, {2 * samples} are there")
    return np.frombuffer(b"".join(item.ljust(2 * samples, b"\0") for item in lists), "<i2").reshape(
        records, -1
    )


def write_bdf(path: Path, signals: Sequence[EdfSignal]) -> None:
    """Write the same as a BDF file, whose samples take 24 bits: another mark, and a byte more a sample.

    Source: https://www.biosemi.com/faq/file_format.htm.
    """
    content = bytearray(edf_bytes(signals))
    begin = 256 * (len(signals) + 1)
    content[:8], content[192:236] = b"\xffBIOSEMI", _field("24BIT", 44)
    wide = np.frombuffer(bytes(content[begin:]), "<i2").astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(content[:begin]) + wide.tobytes())
