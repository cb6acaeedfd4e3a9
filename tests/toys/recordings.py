"""Recordings as they occur: EDF with pauses, mne's, segments of WFDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cldtrans.data.miniature.edf_writer import EdfSignal, annotation_list, edf_bytes

RATE = 200.0


def noise(n_channels: int, seconds: float, seed: int = 0, deviation: float = 50.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return deviation * rng.standard_normal((n_channels, round(seconds * RATE)))


def edf(names: list[str], x: np.ndarray, units: list[str] | None = None) -> bytes:
    units = units or ["uV"] * len(names)
    signals = [
        EdfSignal(name, row, RATE, (-1000, 1000), unit=unit)
        for name, row, unit in zip(names, x, units, strict=True)
    ]
    return edf_bytes(signals)


def discontinuous(
    whole: bytes,
    starts_s: list[float],
    family: str = "EDF",
    events: Sequence[tuple[float, float, str]] = (),
) -> bytes:
    """A file of records of one second with a time stamp each, from a plain file of as many records.

    Events (onset after the header's start, duration, text) stand in the record in which they begin.
    """
    n = int(whole[252:256])
    header, body = whole[: 256 * (n + 1)], whole[256 * (n + 1) :]
    width = len(body) // len(starts_s)
    stamp_samples = 40
    columns = [
        (16, f"{family} Annotations"),
        (80, ""),
        (8, ""),
        (8, "-1"),
        (8, "1"),
        (8, "-32768"),
        (8, "32767"),
    ]
    columns += [(80, ""), (8, str(stamp_samples)), (32, "")]
    fields, at = header[256:], 0
    lengthened = b""
    for size, value in columns:
        lengthened += fields[at : at + size * n] + value.ljust(size).encode()
        at += size * n
    fixed = bytearray(header[:256])
    fixed[184:192] = str(256 * (n + 2)).ljust(8).encode()
    fixed[192:236] = f"{family}+D".ljust(44).encode()
    fixed[236:244] = str(len(starts_s)).ljust(8).encode()
    fixed[252:256] = str(n + 1).ljust(4).encode()
    records = b""
    sample_bytes = 3 if family == "BDF" else 2
    for k, start_s in enumerate(starts_s):
        samples = body[k * width : (k + 1) * width]
        if family == "BDF":
            fixed[:8] = b"\xffBIOSEMI"
            values = np.frombuffer(samples, "<i2").astype("<i4")
            samples = values.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        stamp = f"+{start_s:g}\x14\x14\0".encode()
        for onset_s, duration_s, text in events:
            if start_s <= onset_s < start_s + 1:
                stamp += annotation_list(onset_s, duration_s, text)
        records += samples + stamp.ljust(sample_bytes * stamp_samples, b"\0")
    return bytes(fixed) + lengthened + records


def raw_of(x: np.ndarray, names: list[str], types: str | list[str] = "eeg"):
    import mne

    return mne.io.RawArray(x * 1e-6, mne.create_info(names, RATE, types), verbose="ERROR")


def segment(
    folder: Path,
    name: str,
    x: np.ndarray,
    units: list[str],
    gain: float,
    names: list[str],
    rate_hz: float = 250,
) -> None:
    """A WFDB record in format 16."""
    digital = np.rint(x * gain).astype("<i2")
    lines = [f"{name} {len(x)} {rate_hz:g} {x.shape[1]}"]
    lines += [
        f"{name}.dat 16 {gain:g}/{unit} 16 0 0 0 0 {label}" for unit, label in zip(units, names, strict=True)
    ]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    digital.T.tofile(folder / f"{name}.dat")
