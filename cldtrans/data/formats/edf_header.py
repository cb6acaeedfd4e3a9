"""Header of an EDF, EDF+ or BDF file, checked before anything is allocated or read.

Layout: Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7, and Kemp & Olivan 2003 (EDF+),
doi:10.1016/S1388-2457(03)00123-8. BDF is the same header with 3-byte samples.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path

from cldtrans.data.formats.bounds import checked_step
from cldtrans.errors import DataError

FIXED_BYTES = 256  # before the channels' fields, and again for each channel
EDF_VERSION = b"0       "
BDF_VERSION = b"\xffBIOSEMI"
NUMBER = re.compile(r"[-+]?\d*[.,]?\d*([eE][-+]?\d+)?$", re.ASCII)  # float reads more: 1_0, nan
ANNOTATION_LABELS = {"EDF Annotations", "BDF Annotations"}


@dataclass(frozen=True)
class EdfChannel:
    """One signal as the header describes it."""

    label: str
    unit: str
    physical: tuple[str, str]  # minimum and maximum as written: parsed when the channel is read, so that
    digital: tuple[str, str]  # nonsense in an unused channel does not cost the recording
    samples_per_record: int
    offset: int  # first sample within a record, in samples

    def scale(self, path: Path) -> tuple[float, float]:
        """Return gain and offset of `physical = gain * digital + offset`, in the header's unit.

        Raises
        ------
        DataError
            Where a range is empty or not a number.
        """
        where = f"{path}: channel {self.label!r}"
        low, high = (_number(text, f"{where}: physical range") for text in self.physical)
        bottom, top = (_number(text, f"{where}: digital range") for text in self.digital)
        if bottom >= top:
            raise DataError(
                f"{where}: expected digital maximum > minimum, found {top:g} and {bottom:g}; "
                "the header is damaged, fetch the file again or leave the recording out"
            )
        if low == high:
            raise DataError(
                f"{where}: expected a physical range, found {low:g} for both ends; "
                "the header is damaged, fetch the file again or leave the recording out"
            )
        gain = checked_step((high - low) / (top - bottom), where)
        return gain, low - bottom * gain


@dataclass(frozen=True)
class EdfHeader:
    """Where the samples lie and what they mean."""

    path: Path
    kind: str  # "EDF", "EDF+C", "EDF+D", "BDF", "BDF+C", "BDF+D"
    start: datetime | None
    header_bytes: int
    n_records: int  # whole records present, also where the header says -1 (still being recorded)
    record_s: float  # 0 in files that hold annotations only
    channels: tuple[EdfChannel, ...]  # without the annotation channels
    annotations: tuple[EdfChannel, ...]
    samples_per_record: int  # over all channels
    sample_bytes: int  # 2, or 3 in BDF
    notes: tuple[str, ...] = ()  # what the header says that the file does not bear out


def read_header(path: Path, whole: bool = True) -> EdfHeader:
    """Parse and check the header against the file's size.

    Parameters
    ----------
    path : Path
        The file.
    whole : bool
        Refuse a file that is shorter than its header says; else its whole records are noted and read.

    Raises
    ------
    DataError
        Names what does not fit.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            fixed = file.read(FIXED_BYTES)
            if len(fixed) < FIXED_BYTES:
                raise DataError(
                    f"{path}: expected an EDF header of {FIXED_BYTES} bytes or more, found {len(fixed)}; "
                    "the file is truncated, fetch it again"
                )
            version = fixed[:8]
            if version not in (EDF_VERSION, BDF_VERSION):
                raise DataError(
                    f"{path}: expected the EDF version '0' in the first 8 bytes, found {version!r}; "
                    "this is no EDF or BDF file"
                )
            n_channels = _count(fixed[252:256], f"{path}: number of channels", least=1)
            expected_header = FIXED_BYTES * (n_channels + 1)
            header_bytes = _count(fixed[184:192], f"{path}: number of header bytes", least=FIXED_BYTES)
            if header_bytes != expected_header:
                raise DataError(
                    f"{path}: expected {expected_header} header bytes for {n_channels} channels, found the "
                    f"number {header_bytes}; the header is damaged, fetch the file again"
                )
            if size < expected_header:  # before reading: a damaged number may ask for any amount of memory
                raise DataError(
                    f"{path}: expected {expected_header} header bytes, found {size}; "
                    "the file is truncated, fetch it again"
                )
            fields = file.read(FIXED_BYTES * n_channels)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check the file and fetch it again"
        ) from error
    record_s = _number(_text(fixed[244:252]), f"{path}: duration of a record")
    if record_s < 0:
        raise DataError(
            f"{path}: expected a record duration >= 0 s, found {record_s:g}; the header is damaged"
        )
    channels = _channels(path, fields, n_channels)
    samples = sum(channel.samples_per_record for channel in channels)
    signals = tuple(channel for channel in channels if channel.label not in ANNOTATION_LABELS)
    if signals and record_s == 0:
        raise DataError(f"{path}: expected a record duration > 0 s, found 0 with {len(signals)} signals")
    reserved = _text(fixed[192:236])
    family = "BDF" if version == BDF_VERSION else "EDF"
    sample_bytes = 3 if family == "BDF" else 2
    n_records, notes = _records(path, fixed[236:244], size - header_bytes, samples * sample_bytes, whole)
    return EdfHeader(
        path=path,
        kind=reserved[:5] if reserved[:5] in (f"{family}+C", f"{family}+D") else family,
        start=_start(fixed),
        header_bytes=header_bytes,
        n_records=n_records,
        record_s=record_s,
        channels=signals,
        annotations=tuple(channel for channel in channels if channel.label in ANNOTATION_LABELS),
        samples_per_record=samples,
        sample_bytes=sample_bytes,
        notes=notes,
    )


def _channels(path: Path, fields: bytes, n_channels: int) -> list[EdfChannel]:
    """All channels, annotation channels included, in file order."""

    def column(start: int, width: int) -> list[str]:
        first = start * n_channels
        return [_text(fields[first + i * width : first + (i + 1) * width]) for i in range(n_channels)]

    labels, units = column(0, 16), column(96, 8)
    physical = list(zip(column(104, 8), column(112, 8), strict=True))
    digital = list(zip(column(120, 8), column(128, 8), strict=True))
    channels, offset = [], 0
    for i, text in enumerate(column(216, 8)):
        count = _count(
            text.encode("latin-1"), f"{path}: samples per record of channel {labels[i]!r}", least=1
        )
        channels.append(EdfChannel(labels[i], units[i], physical[i], digital[i], count, offset))
        offset += count
    return channels


def _records(
    path: Path, field: bytes, data_bytes: int, record_bytes: int, whole: bool
) -> tuple[int, tuple[str, ...]]:
    """Whole records to read, as many as there are, and a note where the header says another number.

    -1 says that it does not know: the recording was not ended.
    """
    n_records = _count(field, f"{path}: number of records", least=-1)
    present = data_bytes // record_bytes
    if n_records == -1:
        n_records = present
    if n_records == 0:
        raise DataError(
            f"{path}: expected at least one data record, found none; the recording was never filled"
        )
    if n_records > present and (whole or present == 0):
        raise DataError(
            f"{path}: expected {n_records} records of {record_bytes} bytes, found {data_bytes} bytes "
            f"({present} whole records); the file is truncated, fetch it again"
        )
    if present == n_records:
        return present, ()
    rest = "all of them are read" if present > n_records else "it was cut short, and is read to its end"
    return present, (f"the header announces {n_records} records, the file holds {present}: {rest}",)


def _start(fixed: bytes) -> datetime | None:
    """Start of the recording; None where it is blanked out. Years are clipped at 1985, as EDF says."""
    try:
        day, month, year = (int(part) for part in fixed[168:176].decode("ascii").split("."))
        hour, minute, second = (int(part) for part in fixed[176:184].decode("ascii").split("."))
        return datetime(year + (1900 if year >= 85 else 2000), month, day, hour, minute, second)
    except (ValueError, UnicodeDecodeError):
        return None


def _text(field: bytes) -> str:
    return field.decode("latin-1").split("\x00")[0].strip()


def _number(text: str, what: str) -> float:
    try:
        value = float(text.replace(",", ".") if NUMBER.match(text) else "")  # some write a decimal comma
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise DataError(
            f"{what}: expected a number, found {text!r}; the header is damaged, fetch the file again"
        )
    return value


def _count(field: bytes, what: str, least: int) -> int:
    value = _number(_text(field), what)
    if value != int(value) or value < least:
        raise DataError(
            f"{what}: expected a whole number >= {least}, found {_text(field)!r}; "
            "the header is damaged, fetch the file again"
        )
    return int(value)
