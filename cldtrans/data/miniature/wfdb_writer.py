"""WFDB records in format 16 and WFDB annotation files (.seizures, .event).

Source: the WFDB manual pages header(5), signal(5) and annot(5), https://physionet.org/physiotools/wag/.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

INVALID = -32768  # format 16's marker of a sample that was not measured
NOTE, ONSET, END = 22, 32, 33  # annotation codes: comment, start '[' and end ']' of an episode
_SKIP, _AUX = 59, 63


def write_record(
    path: Path,
    digital: np.ndarray,
    names: Sequence[str],
    sample_rate: int,
    gain: float,
    record_line: str = "",
    comments: Sequence[str] = (),
    dat_name: str | None = None,
) -> None:
    """Write ``path.hea`` and ``path.dat``.

    Parameters
    ----------
    path : Path
        Without extension.
    digital : array [C, T] of int
        The samples as stored.
    names : sequence of str
        Of the C signals.
    sample_rate : int
        Hertz.
    gain : float
        Steps a millivolt.
    record_line : str
        What follows on the header's first line.
    comments : sequence of str
        Lines at the header's end.
    dat_name : str, optional
        The header names this file instead, and no signals are written: a broken record.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.ascontiguousarray(digital.T, dtype="<i2")
    lines = [f"{path.name} {len(names)} {sample_rate} {digital.shape[1]} {record_line}".rstrip()]
    for row, name in zip(digital, names, strict=True):
        checksum = int(row.astype(np.int64).sum()) & 0xFFFF
        lines.append(
            f"{dat_name or path.name + '.dat'} 16 {gain:.1f}(0)/mV 16 0 {int(row[0])} {checksum} 0 {name}"
        )
    lines += [f"# {comment}" for comment in comments]
    path.with_name(path.name + ".hea").write_text("\n".join(lines) + "\n", encoding="ascii")
    if dat_name is None:
        path.with_name(path.name + ".dat").write_bytes(samples.tobytes())


def annotation_bytes(sample_rate: int, events: Sequence[tuple[int, int, str]]) -> bytes:
    """Encode a WFDB annotation file.

    Parameters
    ----------
    sample_rate : int
        Hertz.
    events : sequence of (int, int, str)
        (sample, code, text) in order of time.
    """
    out = [_word(NOTE, 0), _aux(f"## time resolution: {sample_rate}"), _skip(-1), _word(0, 1)]
    last = 0
    for sample, code, text in events:
        step = sample - last
        if step > 1023:
            out += [_skip(step), _word(code, 0)]
        else:
            out.append(_word(code, step))
        if text:
            out.append(_aux(text))
        last = sample
    return b"".join(out) + b"\0\0"


def _word(code: int, step: int) -> bytes:
    return struct.pack("<H", code << 10 | step)


def _skip(step: int) -> bytes:
    """Encode a long time step: the high half of the 32-bit number comes first."""
    return _word(_SKIP, 0) + struct.pack("<HH", step >> 16 & 0xFFFF, step & 0xFFFF)


def _aux(text: str) -> bytes:
    encoded = text.encode("ascii")
    return _word(_AUX, len(encoded)) + encoded + b"\0" * (len(encoded) % 2)
