"""What is checked of a file before mne reads it: sizes that it believes, names that it follows."""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path

from cldtrans.data.formats.matlab_file import check_matlab_file
from cldtrans.errors import DataError

TAG = struct.Struct(">iiii")  # of FIF: kind, type, size, place of the next one (0: right behind, -1: none)
DIRECTORY, DIRECTORY_POINTER = 102, 101
CHANNELS = re.compile(rb"^\s*NumberOfChannels\s*=\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)
FILES = re.compile(rb"^\s*(?:Data|Marker)File\s*=\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)


def check(path: Path) -> None:
    """Check EEGLAB, FIF and BrainVision files; others are left to mne.

    Raises
    ------
    DataError
        Where sizes do not fit the file.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".set":
            check_matlab_file(path)
        elif suffix == ".fif":
            _check_fif(path)
        elif suffix == ".vhdr":
            _check_brainvision(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _check_fif(path: Path) -> None:
    """Follow the tags to the last one, which lie inside the file, and are those of its directory."""
    problem = f"{path}: expected a FIF file of tags one behind the other, found"
    end = path.stat().st_size
    if end < TAG.size:
        raise DataError(f"{problem} {end} bytes; fetch it again")
    tags: dict[int, tuple[int, int, int]] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at, following = 0, 0
        while following != -1 and at < end:
            kind, type_, size, following = TAG.unpack_from(content, at) if at <= end - TAG.size else (0,) * 4
            behind = at + TAG.size + size
            if at > end - TAG.size or not 0 <= size <= end - at - TAG.size or following < -1 or at in tags:
                raise DataError(f"{problem} one of {size} bytes at byte {at} of {end}; fetch it again")
            tags[at] = kind, type_, size
            at = following or behind
        for place, (kind, _, size) in tags.items():
            begin = place + TAG.size
            if kind == DIRECTORY_POINTER and size == 4:
                (target,) = struct.unpack_from(">i", content, begin)
                if target > 0 and tags.get(target, (0,))[0] != DIRECTORY:
                    raise DataError(f"{problem} no directory at byte {target}; fetch it again")
            elif kind == DIRECTORY:
                for *entry, target in TAG.iter_unpack(content[begin : begin + size // TAG.size * TAG.size]):
                    if target >= 0 and tags.get(target) != tuple(entry):
                        raise DataError(f"{problem} another one than listed at byte {target}; fetch it again")


def _check_brainvision(path: Path) -> None:
    """Compare the number of channels with the lines that describe them; names are of the same folder."""
    text = path.read_bytes()
    for found in CHANNELS.findall(text):
        count = found.decode("latin-1")
        if not re.fullmatch(r"\d{1,9}", count, re.ASCII) or int(count) > text.count(b"\n"):
            raise DataError(
                f"{path}: NumberOfChannels: expected a number of channels that the header describes, found "
                f"{count!r}; the header is damaged, fetch it again"
            )
    for found in FILES.findall(text):
        name = found.decode("utf-8", "replace")
        if re.search(r"[/\\\x00]", name) or name == "..":
            raise DataError(
                f"{path}: expected names of files in the same folder, found {name!r}; "
                "the header points elsewhere and is not followed"
            )
