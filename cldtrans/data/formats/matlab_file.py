"""Structure of MATLAB 5 files (EEGLAB), checked before scipy reads them.

scipy's reader believes every tag: a type that does not exist ends the process, a size fills the memory.
Format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from math import prod
from pathlib import Path
from typing import NamedTuple

from cldtrans.errors import DataError

HEADER_BYTES = 128
INT8, INT32, UINT32, MATRIX, COMPRESSED, UTF8 = 1, 5, 6, 14, 15, 16
NUMERIC = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, UTF8, 17, 18}  # types of data elements
CELL, STRUCT, OBJECT, CHAR, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 4, 5, 16, 17  # classes of matrices
NUMBERS = range(6, 16)
MOST_DIMENSIONS, DEEPEST = 32, 50
LONGEST_BLANK = 1000  # characters of a text without content
MOST_EXPANSION, LEAST_EXPANDED = 100, 64 << 20  # of compressed elements: EEG shrinks to a half


class Element(NamedTuple):
    """A piece of the file: its type, where its content lies, and where the next one begins."""

    kind: int
    begin: int
    stop: int
    following: int


class _Damaged(Exception):
    """What does not fit."""


def check_matlab_file(path: Path) -> None:
    """Walk through the tags of a MATLAB 5 file, not through its numbers; version 7.3 is HDF5, and left alone.

    Raises
    ------
    DataError
        For any other file, and for one whose tags do not fit together.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
            version = struct.unpack(f"{order}H", head[124:126])[0] if order else 0
            if version == 0x0200:
                return
            if version != 0x0100 or 0 in head[:4]:
                raise _Damaged("no MATLAB 5 or 7.3 header")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _Walk(content, str(order)).variables(HEADER_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (_Damaged, struct.error, zlib.error) as error:
        raise DataError(
            f"{path}: expected a MATLAB file, found {error}; the file is damaged, fetch it again"
        ) from error


class _Walk:
    """One run of bytes, of the file or what a compressed element holds."""

    def __init__(self, content: mmap.mmap | bytes, order: str) -> None:
        self.content, self.order = content, order

    def variables(self, at: int) -> None:
        """Check elements up to the end."""
        while at < len(self.content):
            element = self.element(at, len(self.content))
            if element.kind == COMPRESSED:
                _Walk(self.expanded(element), self.order).variables(0)
            elif element.kind == MATRIX:
                self.matrix(element, 0)
            else:
                raise _Damaged(f"a variable of type {element.kind} at byte {at}")
            at = element.stop

    def expanded(self, element: Element) -> bytes:
        """Return what a compressed element holds."""
        size = element.stop - element.begin
        most = max(MOST_EXPANSION * size, LEAST_EXPANDED)
        unpacking = zlib.decompressobj()
        out = unpacking.decompress(self.content[element.begin : element.stop], most)
        if not unpacking.eof:
            raise _Damaged(f"compressed data that do not end, at byte {element.begin}")
        return out

    def element(self, at: int, end: int) -> Element:
        """Read the tag at a place, of an element that must end before `end`."""
        if end - at < 8:
            raise _Damaged(f"{end - at} bytes for a tag at byte {at}")
        first, size = struct.unpack(f"{self.order}II", self.content[at : at + 8])
        if first >> 16:  # short: type, size and content in eight bytes
            kind, size, begin = first & 0xFFFF, first >> 16, at + 4
            following = at + 8
        else:
            kind, begin = first, at + 8
            following = begin + (size if kind in (MATRIX, COMPRESSED) else -(-size // 8) * 8)
        if begin + size > min(following, end):
            raise _Damaged(f"{size} bytes announced at byte {at}, of which {end - begin} are there")
        return Element(kind, begin, begin + size, following)

    def data(self, at: int, end: int, what: str, kinds: set[int] = NUMERIC) -> Element:
        """Read the tag of numbers or letters."""
        element = self.element(at, end)
        if element.kind not in kinds:
            raise _Damaged(f"type {element.kind} for {what} at byte {at}")
        return element

    def whole(self, element: Element) -> tuple[int, ...]:
        """Return the 32-bit numbers of an element."""
        count, rest = divmod(element.stop - element.begin, 4)
        if rest:
            raise _Damaged(f"{element.stop - element.begin} bytes for whole numbers at byte {element.begin}")
        return struct.unpack(f"{self.order}{count}i", self.content[element.begin : element.stop])

    def matrix(self, outer: Element, depth: int) -> None:
        """Check the elements of a matrix, of which each class has others."""
        end = outer.stop
        if outer.begin == end:
            return  # an empty one
        if depth > DEEPEST:
            raise _Damaged(f"more than {DEEPEST} levels")
        flags = self.data(outer.begin, end, "flags", {UINT32})
        if flags.stop - flags.begin != 8:
            raise _Damaged(f"flags of {flags.stop - flags.begin} bytes at byte {outer.begin}")
        word = self.whole(flags)[0]
        at = flags.following
        if word & 0xFF == OPAQUE:
            while at < end:
                element = self.element(at, end)
                if element.kind == MATRIX:
                    self.matrix(element, depth + 1)
                elif element.kind not in NUMERIC:
                    raise _Damaged(f"type {element.kind} at byte {at}")
                at = element.following
            return
        dimensions = self.data(at, end, "dimensions", {INT32, UINT32})
        shape = self.whole(dimensions)
        if not 1 <= len(shape) <= MOST_DIMENSIONS or min(shape) < 0:
            raise _Damaged(f"impossible dimensions at byte {at}")
        at = self.data(dimensions.following, end, "a name", {INT8, UTF8}).following
        at = self.values(word & 0xFF, bool(word & 0x800), prod(shape), at, end, depth)
        if at < end - 7 or at > end + 7:
            raise _Damaged(f"{end - at} bytes too many after byte {at}")

    def values(self, kind: int, has_imaginary: bool, count: int, at: int, end: int, depth: int) -> int:
        """Check what follows a matrix's name; return where it ends."""
        if kind in NUMBERS:
            for _ in range(1 + has_imaginary):
                at = self.data(at, end, "numbers").following
        elif kind == SPARSE:
            for _ in range(3 + has_imaginary):
                at = self.data(at, end, "numbers").following
        elif kind == CHAR:
            text = self.data(at, end, "text")
            if count > max(text.stop - text.begin, LONGEST_BLANK):
                raise _Damaged(f"{count} letters in {text.stop - text.begin} bytes at byte {at}")
            at = text.following
        elif kind in (CELL, STRUCT, OBJECT, FUNCTION):
            fields = 1
            if kind == OBJECT:
                at = self.data(at, end, "a class's name", {INT8, UTF8}).following
            if kind in (STRUCT, OBJECT):
                width = self.data(at, end, "length of names", {INT32})
                names = self.data(width.following, end, "names", {INT8, UTF8})
                length = (*self.whole(width), 0)[0]
                if length < 1:
                    raise _Damaged(f"names of {length} letters at byte {at}")
                fields, at = (names.stop - names.begin) // length, names.following
            members = 1 if kind == FUNCTION else fields * count
            if 8 * members > end - at:
                raise _Damaged(f"{members} members in {end - at} bytes at byte {at}")
            for _ in range(members):
                member = self.element(at, end)
                if member.kind != MATRIX:
                    raise _Damaged(f"type {member.kind} for a member at byte {at}")
                self.matrix(member, depth + 1)
                at = member.following
        else:
            raise _Damaged(f"a matrix of class {kind} at byte {at}")
        return at
