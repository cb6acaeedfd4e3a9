"""Headers of WFDB records: which files hold the samples of which signals, and how.

Whatever a header may not hold raises DataError here, before a sample is read.
Format: https://physionet.org/physiotools/wag/header-5.htm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from cldtrans.data.formats.bounds import MOST_FRAME, checked_rate, checked_step
from cldtrans.errors import DataError

INVALID = {"16": -(2**15), "212": -(2**11)}  # digital value that stands for "no sample"
FORMAT = re.compile(
    r"(?P<format>\d+)(?:x(?P<frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?$", re.ASCII
)
GAIN = re.compile(r"(?P<gain>[-+0-9.eE]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?$", re.ASCII)
MOST_HEADER_BYTES = 1 << 24
WHOLE = re.compile(r"-?\d+$", re.ASCII)  # int and float read more than a header may hold: +3, 1_0, １, 1e3
NUMBERS = re.compile(r"-?\d+( -?\d+)*$", re.ASCII)
REAL = re.compile(r"[-+]?\d*\.?\d*([eE][-+]?\d+)?$", re.ASCII)
DECIMAL = re.compile(r"\d*\.?\d*$", re.ASCII)
ELSEWHERE = re.compile(r"[/\\:\x00-\x1f]")


class Layout(NamedTuple):
    """How a signal's samples are stored: what the lines of a corpus have in common."""

    format: str
    frame: int
    skew: int
    offset: int
    gain: float
    baseline: int
    unit: str


class Signal(NamedTuple):
    """One signal line of a header."""

    file: str
    layout: Layout
    checksum: int | None
    name: str


@dataclass(frozen=True)
class Header:
    """A header: of a record with samples (`signals`), or of one with segments (`parts`)."""

    path: Path
    segments: int
    rate_hz: float
    n_samples: int | None
    signals: list[Signal]
    parts: tuple[tuple[str, int], ...] = ()  # segments: name and length in frames; "~": nothing was recorded

    @property
    def plain(self) -> bool:
        """Whether numpy decodes it here."""
        files: list[str] = []
        for signal in self.signals:
            layout = signal.layout
            if layout.format not in INVALID or layout.frame != 1 or layout.skew:
                return False
            if signal.file in files[:-1]:  # a file's signals must be neighbours
                return False
            if not files or files[-1] != signal.file:
                files.append(signal.file)
        return self.segments == 0


def read_header(path: Path) -> Header:
    """Parse `<path>.hea`; file names that leave the folder are refused before anybody opens them."""
    try:
        with Path(f"{path}.hea").open("rb") as file:
            raw = file.read(MOST_HEADER_BYTES)
    except OSError as error:
        raise DataError(
            f"{path}.hea: cannot be read ({error.strerror or error}); fetch the record again"
        ) from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # older converters write µ so
    try:
        return _parse_header(path, text)
    except DataError as error:
        raise DataError(f"{path}.hea: {error}") from None


def _parse_header(path: Path, text: str) -> Header:
    lines = [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]
    if not lines:
        raise DataError("expected a record line, found an empty header; fetch the record again")
    fields = lines[0].split()
    segments = fields[0].partition("/")[2]
    n_segments = _whole(segments, "number of segments", least=1) if segments else 0
    n_signals = _whole(fields[1] if len(fields) > 1 else "", "number of signals", least=1)
    rate_text = re.split(r"[/(]", fields[2])[0] if len(fields) > 2 else "250"
    rate_hz = _real(rate_text, "sampling rate", DECIMAL)
    if rate_hz <= 0:
        raise DataError(f"expected a sampling rate > 0, found {rate_text!r}; fetch the record again")
    checked_rate(rate_hz, "record line")
    n_samples = _whole(fields[3], "number of samples", least=0) if len(fields) > 3 else None
    body = lines[1:]
    if n_segments:
        if len(body) < n_segments:
            raise DataError(f"expected {n_segments} segment lines, found {len(body)}; fetch the record again")
        parts = [_segment(line, path.name) for line in body[:n_segments]]
        return Header(path, n_segments, rate_hz, n_samples, [], tuple(parts))
    if len(body) < n_signals:
        raise DataError(f"expected {n_signals} signal lines, found {len(body)}; fetch the record again")
    signals = [_signal(line, k) for k, line in enumerate(body[:n_signals])]
    return Header(path, 0, rate_hz, n_samples or None, signals)


def _segment(line: str, record: str) -> tuple[str, int]:
    """`name n_frames`."""
    fields = line.split()
    name = _plain_name(fields[0])
    if name == record:
        raise DataError(f"segment {name!r} is the record itself; fetch the record again")
    return name, _whole(fields[1] if len(fields) > 1 else "", f"length of segment {name}", least=0)


def _signal(line: str, k: int) -> Signal:
    """`file format gain(baseline)/unit resolution zero first checksum block name`, all but two optional."""
    fields = line.split(None, 8)
    n = len(fields)
    try:
        if n < 2:
            raise DataError(f"expected a file name and a format, found {line!r}; fetch the record again")
        if n > 3 and not NUMBERS.match(" ".join(fields[3:8])):  # a field left out would move the others
            raise DataError(f"expected whole numbers after the gain, found {line!r}; fetch the record again")
        return Signal(
            file=_plain_name(fields[0]),
            layout=_layout(fields[1], fields[2] if n > 2 else None, fields[4] if n > 4 else "0"),
            checksum=_whole(fields[6], "checksum") if n > 6 else None,
            name=fields[8] if n > 8 else f"signal {k}",
        )
    except DataError as error:
        raise DataError(f"signal {k}: {error}") from None


@lru_cache(1024)
def _layout(format_text: str, gain_text: str | None, zero_text: str) -> Layout:
    """Return the fields that the records of a corpus repeat, parsed once for all of them."""
    layout = FORMAT.match(format_text)
    if layout is None:
        raise DataError(f"expected a format, found {format_text!r}; fetch the record again")
    scale = GAIN.match(gain_text) if gain_text is not None else None
    if gain_text is not None and scale is None:
        raise DataError(f"expected gain(baseline)/unit, found {gain_text!r}; fetch the record again")
    gain = _real(scale["gain"], "gain") if scale else 0.0
    zero = _whole(zero_text, "ADC zero")
    gain = gain or 200.0  # 0 or absent: "uncalibrated", by convention 200 units per millivolt
    checked_step(1.0 / gain, "gain")
    frame = _whole(layout["frame"] or "1", "samples a frame", least=1)
    skew = _whole(layout["skew"] or "0", "skew", least=0)
    if frame > MOST_FRAME or skew > MOST_FRAME:
        raise DataError(
            f"expected at most {MOST_FRAME} samples a frame and of skew, found {frame} and {skew}"
        )
    return Layout(
        format=layout["format"],
        frame=frame,
        skew=skew,
        offset=_whole(layout["offset"] or "0", "byte offset", least=0),
        gain=gain,
        baseline=_whole(scale["baseline"], "baseline") if scale and scale["baseline"] else zero,
        unit=(scale["unit"] if scale else None) or "mV",
    )


@lru_cache(64)  # all signals of a record lie in one file, as a rule
def _plain_name(name: str) -> str:
    """Return a file in the header's own folder: no separator, no parent, no control character."""
    if name in (".", "..", "-") or ELSEWHERE.search(name):
        raise DataError(
            f"expected the name of a file in the same folder, found {name!r}; "
            "the header points elsewhere and is not followed"
        )
    return name


def _whole(text: str, what: str, least: int | None = None) -> int:
    try:
        value = int(text) if WHOLE.match(text) else None
    except ValueError:  # of thousands of digits
        value = None
    if value is None or abs(value) > 2**53 or (least is not None and value < least):
        bound = "" if least is None else f" >= {least}"
        raise DataError(f"{what}: expected a whole number{bound}, found {text!r}; fetch the record again")
    return value


def _real(text: str, what: str, form: re.Pattern[str] = REAL) -> float:
    try:
        value = float(text if form.match(text) else "")
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise DataError(f"{what}: expected a number, found {text!r}; fetch the record again")
    return value
