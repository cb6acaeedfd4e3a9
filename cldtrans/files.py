"""Files that are whole or absent: atomic writes, one writer at a time, and what a file hashes to."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cldtrans.errors import RoomError

SUMS = "SHA256SUMS"
SEAL = "record_sha256"
log = logging.getLogger(__name__)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary sibling of `path`, which is renamed onto it when the block ends without an error.

    Works for files and folders; the suffix is kept, since writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold `folder/lock` while the block runs, so that one process alone writes to the folder.

    A killed run's job may live on. The kernel drops the lock when its owner dies, so it is never stale; on a
    file system without locks a warning takes its place.

    Parameters
    ----------
    folder : Path
        Must exist.
    busy : callable
        Called where another process holds the lock: raises, or returns to wait for it.
    """
    lock = FileLock(folder / "lock", fallback_to_soft=False)  # a soft lock would outlive its owner
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy()
            lock.acquire()
    except OSError as error:
        log.warning("%s: cannot be locked (%s); only one run may use it", folder, error)
    try:
        yield
    finally:
        lock.release()


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON atomically; not-a-number is an error, because JSON has no such thing."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the hash of all else that it says, so that a later change of a byte is told."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    as_read = json.loads(json.dumps(rest, allow_nan=False))  # keys are words then, whatever they were
    text = json.dumps(as_read, sort_keys=True)
    return {**rest, SEAL: hashlib.sha256(text.encode()).hexdigest()}


def seal_holds(content: dict[str, Any]) -> bool:
    """Tell whether a record is as it was sealed; records without a seal pass."""
    return SEAL not in content or sealed(content)[SEAL] == content[SEAL]


def write_sum(path: Path) -> None:
    """Write `<path>.sha256` beside a file, as `sha256sum --check` reads it."""
    with atomic_path(path.with_name(f"{path.name}.sha256")) as temporary:
        temporary.write_text(f"{sha256_file(path)}  {path.name}\n")


def sum_problem(path: Path) -> str | None:
    """Say how a file differs from the sum beside it; None where it does not, or where there is none."""
    beside = path.with_name(f"{path.name}.sha256")
    try:
        expected = beside.read_text()[:64]
    except (OSError, UnicodeDecodeError):
        return None
    found = sha256_file(path)
    return None if found == expected else f"its sha256 is {found[:12]}…, {beside.name} says {expected[:12]}…"


def require_room(folder: Path, n_bytes: float, what: str) -> None:
    """See that a disk has room before hours of work that end without it.

    Parameters
    ----------
    folder : Path
        Where it will be written; need not exist yet.
    n_bytes : float
        How much.
    what : str
        For the message.

    Raises
    ------
    RoomError
        Where there is less.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes:
        raise RoomError(
            f"{folder}: {what} needs {n_bytes / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free; make room and "
            "run again, what is finished is kept"
        )


def project_folder() -> Path:
    """Return the folder of Snakefile, rules, workflow, profiles and configs.

    It lies in a wheel, or is the one around the package.
    """
    packaged = importlib.resources.files("cldtrans") / "_project"
    return Path(str(packaged)) if packaged.is_dir() else Path(__file__).resolve().parents[1]


def sha256_file(path: Path) -> str:
    """Hash a file's content, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path, names: Iterable[str]) -> Path:
    """Write SHA256SUMS of files in a folder, as `sha256sum --check` reads it."""
    path = folder / SUMS
    path.write_text("".join(f"{sha256_file(folder / name)}  {name}\n" for name in names))
    return path


def read_sums(folder: Path) -> dict[str, str]:
    """Return sums by name.

    Raises
    ------
    OSError, ValueError
        Where there are none, or the file is no text.
    """
    return {line[66:]: line[:64] for line in (folder / SUMS).read_text(encoding="utf-8").splitlines()}
