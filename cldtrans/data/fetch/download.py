"""Fetching a dataset: selected, verified, resumable."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.data.fetch.checksums import (
    LIST,
    WORK,
    Checksums,
    KeyedDataset,
    Selection,
    Verified,
    select,
    write_list,
)
from cldtrans.data.fetch.sources import Source
from cldtrans.errors import SourceError
from cldtrans.files import locked, sha256_file

WORKERS = 16
SAVE_EVERY_S = 30.0
SPARE = 0.02  # of the needed room, left free for the file system


def download(
    source: Source,
    dataset: KeyedDataset,
    root: str | Path,
    selection: Selection | None = None,
    allow_absent: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Make `<root>/<slug>/<version>/` hold the selected files, each with the right hash.

    Files that are there and right are kept, others are fetched; an interrupted download goes on where it
    stopped, and a file that comes wrong twice is an error.

    Parameters
    ----------
    source : Source
        From `open_source`.
    dataset : KeyedDataset
        Which files there are, and whose.
    root : str or Path
        Folder of raw recordings.
    selection : Selection, optional
        Which part of the dataset; default: all.
    allow_absent : bool
        Whether a dataset or files that the source lacks are noted instead of an error.
    progress : bool
        Whether a bar is shown.

    Returns
    -------
    dict
        What identifies the data, without the source's address: dataset, slug, version, status ("ok" |
        "absent"), reason (why absent, or which listed files the source lacks; None), files, bytes,
        checksums_sha256, selection.

    Raises
    ------
    SourceError
        Where the source fails for good, or a file comes wrong twice.
    """
    selection = selection or Selection()
    prefix = f"{dataset.slug}/{dataset.version}"
    folder = Path(root) / dataset.slug / dataset.version
    work = folder / WORK
    stamp: dict[str, Any] = {
        "dataset": dataset.name,
        "slug": dataset.slug,
        "version": dataset.version,
        "status": "absent",
        "reason": f"the source has no {prefix}/{LIST}",
        "files": 0,
        "bytes": 0,
        "checksums_sha256": None,
        "selection": {**asdict(selection), "glob": list(selection.glob) if selection.glob else None},
    }
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"{work}: cannot be made ({error.strerror}); choose another folder for raw data"
        ) from error
    with locked(work, lambda: print(f"waiting for another download into {folder}", flush=True)):
        fresh, listed, unverified = work / f"{LIST}.part", folder / LIST, None
        if source.read_small(f"{prefix}/{LIST}", fresh):
            fresh.replace(listed)
        elif found := source.folder_of(prefix):
            listed, unverified = work / LIST, f"the folder has no {LIST}: files are as found, not verified"
            print(f"{dataset.name}: {found}: {unverified}", flush=True)
            write_list(found, dataset, listed)
        else:
            if not (folder / LIST).exists():
                _drop(work, folder, Path(root))
            if allow_absent:
                return stamp
            raise SourceError(
                f"{dataset.name}: expected {prefix}/{LIST} at the source, found none; check the address, or "
                "set source.allow_absent to leave the dataset out"
            )
        checksums = Checksums(listed)
        rows = select(checksums, dataset, selection)
        transfer = _Transfer(source, prefix, folder, checksums, progress)
        rows, reason = transfer.run(rows, allow_absent)
        if transfer.verified.renewed:
            _remove_old_links(folder, checksums)
        for part in work.glob("*.part"):
            part.unlink()
    return {
        **stamp,
        "status": "ok",
        "reason": "; ".join(filter(None, (unverified, reason))) or None,
        "files": len(rows),
        "bytes": transfer.n_bytes,
        "checksums_sha256": checksums.fingerprint(rows),
    }


class _Transfer:
    """One pass over the selected rows of a list."""

    def __init__(
        self, source: Source, prefix: str, folder: Path, checksums: Checksums, progress: bool
    ) -> None:
        self.source, self.prefix, self.folder, self.checksums = source, prefix, folder, checksums
        self.verified = Verified(folder / WORK / "verified.npz", checksums)
        self.n_bytes = 0
        self._unverified_bytes = 0
        self._home = folder.resolve()
        self._progress = progress
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._prepared = lru_cache(maxsize=4096)(self._prepare)

    def run(self, rows: np.ndarray, allow_absent: bool) -> tuple[np.ndarray, str | None]:
        """Verify and fetch; returns the rows that are now in place, and which ones the source lacks."""
        state = np.fromiter((self._state(row) for row in rows), dtype=np.int8, count=len(rows))
        absent = rows[state == 0]
        sizes = np.full(len(rows), -1, dtype=np.int64)
        keys = (self.checksums.key(row) for row in absent)
        sizes[state == 0] = self.source.sizes(self.prefix, keys, len(absent))
        missing = (state == 0) & (sizes < 0)
        reason = self._missing(rows, missing, allow_absent) if missing.any() else None
        needed = int(sizes[(state == 0) & ~missing].sum())
        if self.source.copies:
            self._check_room(needed)
        todo = (state < 2) & ~missing
        self._work(rows[todo], sizes[todo], needed)
        return rows[~missing], reason

    def _state(self, row: int) -> int:
        """2 verified, 1 there but not verified yet, 0 not there."""
        try:
            found = (self.folder / self.checksums.key(row)).stat()
        except OSError:
            return 0
        if not self.verified.holds(row, found.st_size, found.st_mtime_ns):
            self._unverified_bytes += found.st_size
            return 1
        self.n_bytes += found.st_size
        return 2

    def _missing(self, rows: np.ndarray, missing: np.ndarray, allow_absent: bool) -> str:
        example = self.checksums.key(rows[missing][0])
        text = f"{missing.sum()} of {len(rows)} files in {LIST} are not at the source, for example {example}"
        if not allow_absent:
            raise SourceError(
                f"{self.prefix}: {text}; choose another source, or set source.allow_absent to do without them"
            )
        return text

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if needed * (1 + SPARE) > free:
            raise SourceError(
                f"{self.folder}: {_amount(needed)} more are needed, {_amount(free)} are free; make room, "
                "choose another folder for raw data, or fetch less (subjects, records, glob)"
            )

    def _work(self, rows: np.ndarray, sizes: np.ndarray, needed: int) -> None:
        """Bounded concurrency; what has been verified is remembered even when something fails."""
        from tqdm import tqdm

        saved = time.monotonic()
        disable = None if self._progress else True
        with (
            tqdm(
                total=needed + self._unverified_bytes,
                unit="B",
                unit_scale=True,
                desc=self.prefix,
                disable=disable,
            ) as self._bar,
            ThreadPoolExecutor(WORKERS) as pool,
        ):
            pending: set[Future[tuple[int, int, int]]] = set()
            try:
                for row, size in zip(rows.tolist(), sizes.tolist(), strict=True):
                    pending.add(pool.submit(self._obtain, row, size))
                    if len(pending) >= 4 * WORKERS:
                        done, pending = wait(pending, return_when=FIRST_COMPLETED)
                        self._note(done)
                    if time.monotonic() - saved > SAVE_EVERY_S:
                        self.verified.save()
                        saved = time.monotonic()
                while pending:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    self._note(done)
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                for future in pending:
                    if not future.cancelled() and future.exception() is None:
                        self._note({future})
                if len(rows):
                    self.verified.save()

    def _note(self, done: set[Future[tuple[int, int, int]]]) -> None:
        failed = None
        for future in done:
            if future.exception() is not None:
                failed = failed or future.exception()
                continue
            row, size, time_ns = future.result()
            self.verified.add(row, size, time_ns)
            self.n_bytes += size
        if failed is not None:
            raise failed

    def _obtain(self, row: int, size: int) -> tuple[int, int, int]:
        """Verify the file that is there or fetch it; (row, size, modification time)."""
        key, expected = self.checksums.line(row)
        target = self.folder / key
        part = self.folder / WORK / f"{row}-{expected[:16]}.part"
        try:
            self._prepared(target.parent)
            if target.is_file():
                if sha256_file(target) == expected:
                    self._tick(target.stat().st_size)
                    return row, *_identity(target)
                size = int(self.source.sizes(self.prefix, [key], 1)[0])
                if size < 0:
                    raise SourceError(
                        f"{target}: expected sha256 {expected}, found another; the source lacks it: delete it"
                    )
            found = ""
            for _ in range(2):  # a wrong file is fetched once more, from its beginning
                found = self.source.fetch(f"{self.prefix}/{key}", size, part, target, self._tick)
                if found == expected:
                    part.replace(target)
                    return row, *_identity(target)
                part.unlink(missing_ok=True)
        except OSError as error:
            raise SourceError(
                f"{target}: cannot be written ({error.strerror}); make room or check the folder"
            ) from error
        raise SourceError(
            f"{self.prefix}/{key}: expected sha256 {expected}, found {found} twice; the source's file and "
            f"its {LIST} disagree: choose another source or report it there"
        )

    def _tick(self, n: int) -> None:
        if self._stopped.is_set():
            raise SourceError("stopped because another file failed")
        with self._lock:
            self._bar.update(n)

    def _prepare(self, parent: Path) -> None:
        """Make a folder; SourceError where a link inside the dataset's folder leads out of it."""
        real = parent.resolve()
        if not real.is_relative_to(self._home):
            raise SourceError(
                f"{parent}: expected a folder inside {self._home}, found a link to {real}; it is not "
                "followed: remove the link"
            )
        parent.mkdir(parents=True, exist_ok=True)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _drop(work: Path, folder: Path, root: Path) -> None:
    """Remove what was made for a dataset that the source lacks."""
    shutil.rmtree(work, ignore_errors=True)
    for empty in (folder, folder.parent):
        if empty != root:
            with contextlib.suppress(OSError):
                empty.rmdir()


def _remove_old_links(folder: Path, checksums: Checksums) -> None:
    """After a change of the list, drop links to another mirror's files; files of the user's own stay."""
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    if links:
        listed = {hash(checksums.key(row)) for row in range(len(checksums))}
        for link in links:
            if hash(link.relative_to(folder).as_posix()) not in listed:
                link.unlink()


def _amount(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"
