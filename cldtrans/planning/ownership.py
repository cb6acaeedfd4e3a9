"""Who runs a config in this folder: a lock that names its owner by process, start time and host.

Parentage says nothing: a run under nohup, setsid, systemd or in a container is a child of process 1 from its
start. The kernel drops the lock when its owner dies, however it dies; where a file system has no locks, and
between hosts whose locks do not meet, the record beside it decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from cldtrans.errors import CldtransError
from cldtrans.files import locked, write_json

RECORD = "owner.json"


class OwnedError(CldtransError):
    """A run that somebody else has under way."""


@dataclass(frozen=True)
class Owner:
    """A process that cannot be taken for another one.

    Attributes
    ----------
    pid : int
        Its number on `host`.
    started : str
        When it started, by a clock that nobody sets: the boot and the ticks since then.
    host : str
        The machine.
    since : str
        When it claimed the run, for people.
    """

    pid: int
    started: str
    host: str
    since: str


def current() -> Owner:
    """Return this process as an owner."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Owner(os.getpid(), start_of(os.getpid()) or "", socket.gethostname(), now)


def start_of(pid: int) -> str | None:
    """Return when a process of this machine started; None where there is none (a zombie is none)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with contextlib.suppress(OSError, IndexError):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            # Field 22 of proc(5), counted behind the name, which may hold anything.
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
            return f"{boot} {ticks}"
        return f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def read_owner(folder: Path) -> Owner | None:
    """Return the last owner of a folder; None where there was none, or the record cannot be read."""
    try:
        return Owner(**json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Owner | None]:
    """Own a folder while the block runs.

    Parameters
    ----------
    folder : Path
        Made where it is missing; only its lock and record are used.

    Yields
    ------
    Owner or None
        The owner that died without letting go; None where the last one did.

    Raises
    ------
    OwnedError
        Where the owner lives, or is on another host, of which nothing can be known from here.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def refuse() -> None:
        raise OwnedError(_told(read_owner(folder)))

    with locked(folder, refuse):
        before = read_owner(folder)
        if before is not None and before.host != socket.gethostname():
            raise OwnedError(
                f"this run was started on {before.host} (process {before.pid}, {before.since}), and "
                f"nobody can tell from here whether it lives; if it does not, delete {folder / RECORD} "
                "and start again"
            )
        if before is not None and start_of(before.pid) == before.started:
            raise OwnedError(_told(before))
        write_json(folder / RECORD, asdict(current()))
        try:
            yield before
        finally:
            (folder / RECORD).unlink(missing_ok=True)


def _told(owner: Owner | None) -> str:
    who = "" if owner is None else f" (process {owner.pid} on {owner.host}, since {owner.since})"
    return f"this run is already under way{who}; wait for it, or end it first"
