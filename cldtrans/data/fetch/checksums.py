"""`SHA256SUMS.txt`: which files a dataset has and what they must hash to.

MIMIC-IV-ECG's list has 1.6 million lines. It stays on disk in a memory map; a line costs 16 bytes of position
and 16 bytes of size and time stamp, never a Python object that outlives its use.
"""

from __future__ import annotations

import fnmatch
import hashlib
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from cldtrans.errors import SourceError
from cldtrans.files import atomic_path, sha256_file

LINE = re.compile(rb"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(.+?)\r?$")
BLOCK_BYTES = 1 << 20
HOSTILE = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\\\x00-\x1f\x7f]|^[A-Za-z]:")  # ., .., //, /x, \, control, C:
LIST = "SHA256SUMS.txt"
WORK = ".download"  # inside a dataset's folder: parts, lock and the memory of verified files


class KeyedDataset(Protocol):
    """What a download needs to know of a dataset; keys are relative to `<slug>/<version>/`."""

    @property
    def name(self) -> str:
        """Module name."""
        ...

    @property
    def slug(self) -> str:
        """PhysioNet's name."""
        ...

    @property
    def version(self) -> str:
        """Version of the corpus."""
        ...

    def wanted(self, key: str) -> bool:
        """Tell whether the file is used at all (PTB-XL: the 500 Hz records and the tables)."""

    def subject_of(self, key: str) -> str | None:
        """Return whose file it is; None for tables and lists."""

    def record_of(self, key: str) -> str | None:
        """Return which recording the file belongs to (several files may share one).

        None for tables and lists.
        """


@dataclass(frozen=True)
class Selection:
    """Which part of a dataset to fetch; tables and lists always come along."""

    subjects: int | None = None  # the first N in order of their recordings' paths
    records: int | None = None  # the first N of those subjects' recordings by path
    glob: tuple[str, ...] | None = None  # only recordings with a file whose key matches one of these


class Checksums:
    """A checked list of (key, digest), by line.

    Parameters
    ----------
    path : Path
        The list's file.

    Raises
    ------
    SourceError
        Where the list is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size == 0:
            raise SourceError(f"{path}: expected one line a file, found an empty list; fetch it again")
        with path.open("rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        view = np.frombuffer(self._text, dtype=np.uint8)
        breaks = [
            np.flatnonzero(view[first : first + BLOCK_BYTES] == ord("\n")) + first + 1
            for first in range(0, len(view), BLOCK_BYTES)
        ]
        ends = np.concatenate([*breaks, [len(view)]])
        starts = np.concatenate([[0], ends[:-1]])
        filled = ends - starts > 64
        self._starts, self._ends = starts[filled], ends[filled]
        self.digest = hashlib.sha256(self._text).hexdigest()

    def __len__(self) -> int:
        return len(self._starts)

    def line(self, row: int) -> tuple[str, str]:
        """Return (key, digest) of one line.

        Raises
        ------
        SourceError
            Where the line is not one of such a list, or the key must not be written to disk.
        """
        raw = self._text[self._starts[row] : self._ends[row]].rstrip(b"\n")
        match = LINE.match(raw)
        if match is None:
            raise SourceError(f"{self.path}: expected '<sha256>  <file>', found {raw[:100]!r}; check it")
        try:
            key = match[2].decode("utf-8")
        except UnicodeDecodeError:
            raise SourceError(
                f"{self.path}: expected a file name in UTF-8, found {match[2][:80]!r}"
            ) from None
        return safe_key(key, str(self.path)), match[1].decode().lower()

    def key(self, row: int) -> str:
        """Return the key of one line."""
        return self.line(row)[0]

    def fingerprint(self, rows: np.ndarray) -> str:
        """Hash the sorted lines `<digest>  <key>` of these rows by sha256.

        Independent of the list's order.
        """
        total = hashlib.sha256()
        view = np.frombuffer(self._text, dtype=np.uint8)
        first = view[self._starts[rows]] | 0x20  # lower case; digits have that bit set already
        for digit in b"0123456789abcdef":  # a sixteenth of the lines in memory at a time
            lines = sorted(f"{digest}  {key}\n" for key, digest in map(self.line, rows[first == digit]))
            total.update("".join(lines).encode())
        return total.hexdigest()


def write_list(folder: Path, dataset: KeyedDataset, path: Path) -> None:
    """Write the list that a folder lacks, of the files that the dataset uses, as they are found.

    Parameters
    ----------
    folder : Path
        With the dataset's files.
    dataset : KeyedDataset
        Tells which files are used.
    path : Path
        The list.

    Raises
    ------
    SourceError
        Where the folder holds none of them.
    """
    keys = sorted(
        found.relative_to(folder).as_posix()
        for found in folder.rglob("*")
        if found.is_file() and not any(part.startswith(".") for part in found.relative_to(folder).parts)
    )
    wanted = [key for key in keys if key != LIST and dataset.wanted(key)]
    if not wanted:
        raise SourceError(
            f"{folder}: expected files of {dataset.name}, found none that it uses among {len(keys)}"
        )
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{sha256_file(folder / key)}  {key}\n" for key in wanted))


def safe_key(key: str, origin: str) -> str:
    """Return a key as it came, if it is a relative path of plain components.

    `RECORDS`, `SHA256SUMS.txt` and bucket listings are input from outside: a name such as `../x` or `/etc/x`
    would write anywhere.

    Raises
    ------
    SourceError
        For any other name; it says where the name came from, `origin`.
    """
    if HOSTILE.search(key) or len(key) > 1024 or key.startswith(f"{WORK}/"):
        raise SourceError(
            f"{origin}: expected a relative file name, found {key[:200]!r}; it would leave the dataset's "
            "folder, so nothing of this source is used: check where it comes from"
        )
    return key


def select(checksums: Checksums, dataset: KeyedDataset, selection: Selection) -> np.ndarray:
    """Return the rows of the list that are needed, array [files], int64, in the list's order."""
    limited = selection != Selection()
    records = _chosen_records(checksums, dataset, selection) if limited else {}
    subjects = set(records.values())
    rows = []
    for row, key in _wanted(checksums, dataset):
        if limited:
            record = dataset.record_of(key)
            if record is None:
                subject = dataset.subject_of(key)
                if subject is not None and subject not in subjects:
                    continue
            elif record not in records:
                continue
        rows.append(row)
    return np.array(rows, dtype=np.int64)


def _chosen_records(
    checksums: Checksums, dataset: KeyedDataset, selection: Selection
) -> dict[str, str | None]:
    """Chosen recordings with their subjects, in order of path: the order in which recordings are listed."""
    found: dict[str, str | None] = {}
    patterns = [re.compile(fnmatch.translate(pattern)) for pattern in selection.glob or ()]
    example = None
    for _, key in _wanted(checksums, dataset):
        record = dataset.record_of(key)
        if record is None or record in found:
            continue
        example = example or key
        if not patterns or any(pattern.match(key) or pattern.match(record) for pattern in patterns):
            found[record] = dataset.subject_of(key)
    if not found:
        patterns_text = " or ".join(selection.glob or ("*",))
        raise SourceError(
            f"{dataset.name}: expected recordings that match {patterns_text}, found none; "
            f"keys look like {example!r}"
        )
    records = {record: found[record] for record in sorted(found)}
    if selection.subjects is not None:
        named = dict.fromkeys(subject for subject in records.values() if subject is not None)
        # A recording whose subject only a table knows stays: the limit is applied when it is read.
        first = {*islice(named, selection.subjects), None}
        records = {record: subject for record, subject in records.items() if subject in first}
    return dict(islice(records.items(), selection.records))


def _wanted(checksums: Checksums, dataset: KeyedDataset) -> Iterator[tuple[int, str]]:
    for row in range(len(checksums)):
        key = checksums.key(row)
        if key != LIST and dataset.wanted(key):
            yield row, key


class Verified:
    """Size and modification time of every file at the moment its hash was right, by line of the list.

    A later run only compares these, so 1.6 million files are not hashed again. Another list voids it.
    """

    def __init__(self, path: Path, checksums: Checksums) -> None:
        self.path = path
        self._digest = checksums.digest
        self._seen = np.zeros((len(checksums), 2), dtype=np.int64)
        self.renewed = True  # nothing is remembered of this list
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["list"]) == self._digest and stored["seen"].shape == self._seen.shape:
                    self._seen = stored["seen"]
                    self.renewed = False
        except (OSError, ValueError, KeyError, EOFError):
            pass  # absent or half written: everything is hashed once more

    def holds(self, row: int, size: int, time_ns: int) -> bool:
        """Tell whether a line's file had this size and time when its hash was right."""
        return bool(time_ns and self._seen[row, 0] == size and self._seen[row, 1] == time_ns)

    def add(self, row: int, size: int, time_ns: int) -> None:
        """Remember size and time of a line's file, whose hash is right."""
        self._seen[row] = size, time_ns

    def save(self) -> None:
        """Store what is remembered, for the next run."""
        with atomic_path(self.path) as temporary:
            np.savez(temporary, list=np.array(self._digest), seen=self._seen)
