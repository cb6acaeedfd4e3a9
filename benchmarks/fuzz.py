"""Damaged and hostile files against everything that opens them: an error of ours in one line, or a result.

    python benchmarks/fuzz.py [--count 1000] [--seed 0] [--kind all] [--first 0] [--write]

Input k of a kind depends on the seed and k alone, so that `--kind KIND --first k --count 1` repeats it. Small
valid files are made by the project's own writers and damaged in one to three places. An input fails where
anything but a `CldtransError` of one line comes out, a second of CPU time passes, the memory grows by
500 MB, a file is written outside the temporary folder or read beside it, a process is started or a connection
is opened.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
from damage import SECRET
from fuzz_inputs import KINDS, Attempt, one_line
from report import RELIABILITY, add_write_option, publish

from cldtrans.errors import CldtransError

SHARE = {"config": 0.3, "table": 0.1, "checkpoint": 0.03}  # of the count: they take longer
LONGEST_S = 1.0
MOST_BYTES = 500_000_000
HANGS_S = 20.0
FAILURES_SHOWN = 10


class Hangs(BaseException):
    """Raised by the alarm; no `except Exception` holds it up."""


class Watch:
    """What the process does beside computing: an audit hook, which cannot be taken off again."""

    def __init__(self) -> None:
        self.folder = Path("/nonexistent")
        self.seen: list[str] = []
        self.enabled = True
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.enabled:
            return
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            path, flags = str(Path(os.fsdecode(args[0])).absolute()), args[2] or 0
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            inside = path.startswith(f"{self.folder}{os.sep}") or path == os.devnull or "__pycache__" in path
            if path.endswith(SECRET) or (writes and not inside):
                self.seen.append(f"opened {path}")
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect"):
            self.seen.append(f"{event} {args[:2]}")


@dataclass
class Tally:
    """What came of the inputs of one kind."""

    inputs: int = 0
    refused: int = 0
    read: int = 0
    worst_s: float = 0.0
    largest_bytes: int = 0
    failures: list[str] = field(default_factory=list)


def explore(kind: str, count: int, seed: int, watch: Watch, first: int = 0) -> Tally:
    """Make, damage and open `count` inputs of one kind.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    count : int
        How many.
    seed : int
        Of the damage.
    watch : Watch
        Of this process.
    first : int
        Number of the first input.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory() as name, quiet():
        outer = Path(name).resolve()
        watch.folder = outer / "inside"
        watch.folder.mkdir()
        (outer / SECRET).write_bytes(bytes(10_000))
        attempt = KINDS[kind](watch.folder)
        peak_bytes(reset=True)
        watch.seen.clear()
        for k in range(first, first + count):
            problem, seconds, refused = outcome(attempt, seed, kind, k)
            if seconds > LONGEST_S:  # the first use of a library takes its time once
                problem, again, refused = outcome(attempt, seed, kind, k)
                seconds = min(seconds, again)
            grown = peak_bytes()
            if seconds > LONGEST_S:
                problem = problem or f"took {seconds:.1f} s"
            if watch.seen:
                problem = problem or "; ".join(watch.seen)
            if grown > MOST_BYTES:
                problem = problem or f"grew by {grown >> 20} MB"
                peak_bytes(reset=True)
            watch.seen.clear()
            tally.inputs += 1
            tally.refused += refused
            tally.read += not refused and problem is None
            tally.worst_s = max(tally.worst_s, seconds)
            tally.largest_bytes = max(tally.largest_bytes, grown)
            if problem is not None:
                tally.failures.append(f"--kind {kind} --seed {seed} --first {k} --count 1: {problem}")
    return tally


def outcome(attempt: Attempt, seed: int, kind: str, k: int) -> tuple[str | None, float, bool]:
    """Return what is wrong with what input k did (None: nothing), its seconds, and whether it was refused."""
    signal.setitimer(signal.ITIMER_REAL, HANGS_S)
    began = time.process_time()
    problem, refused = None, False
    try:
        attempt(Random(f"{seed} {kind} {k}"))
    except CldtransError as error:
        refused = True
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
            causes.append(cause)
        if any(isinstance(cause, MemoryError) for cause in causes):
            problem = f"out of memory: {str(error)[:300]}"
        try:
            one_line(str(error))
        except AssertionError as unclear:
            problem = str(unclear)
    except Hangs:
        problem = "hangs"
    except Exception as error:
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return problem, time.process_time() - began, refused


_base = 0


def peak_bytes(reset: bool = False) -> int:
    """Return by how much the resident memory grew at its largest since the last reset (Linux)."""
    global _base
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    peak = 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]
    _base = peak if reset else _base
    return peak - _base


@contextmanager
def quiet() -> Iterator[None]:
    """Readers warn of whatever they meet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def alarm() -> None:
    """Let the timer interrupt what hangs."""

    def interrupt(*_: Any) -> None:
        raise Hangs

    signal.signal(signal.SIGALRM, interrupt)


def main() -> None:
    """Open damaged inputs of one or all kinds; end with code 1 where one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--count", type=int, default=1000, help="inputs a kind; of all kinds, the slow ones get a share"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    add_write_option(parser, RELIABILITY)
    args = parser.parse_args()
    if args.write and args.kind == "all":
        parser.error("--write needs one --kind: each has a table of its own")
    alarm()
    watch, rows, failures = Watch(), [], []
    for kind in KINDS if args.kind == "all" else [args.kind]:
        count = args.count if args.kind == kind else max(1, round(args.count * SHARE.get(kind, 1.0)))
        tally = explore(kind, count, args.seed, watch, args.first)
        failures += tally.failures
        rows.append(
            {
                "kind": kind,
                "inputs": f"{tally.inputs:,}",
                "refused": f"{tally.refused:,}",
                "read": f"{tally.read:,}",
                "failed": f"{len(tally.failures):,}",
                "worst CPU ms": f"{1e3 * tally.worst_s:.0f}",
                "largest MB": f"{tally.largest_bytes / 1e6:.0f}",
            }
        )
    for failure in failures[:FAILURES_SHOWN]:
        print(failure, file=sys.stderr)
    publish(f"fuzz-{args.kind}", pd.DataFrame(rows), args.write, page=RELIABILITY)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
