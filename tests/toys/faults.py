"""What fault tests share: a small chain of the workflow, its undisturbed end, and ways to strike in between.

The chain is that of one dataset of the tiny plan, from the miniature to its division: every kind of file that
the workflow makes before it trains. Its undisturbed end is the truth that every fault is compared with.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from toys.paths import PROJECT
from toys.workflow import environment

HOLD = PROJECT / "tests" / "toys" / "hold"
DATASET = "ptbxl"
GOAL = f"data/tiny/splits/{DATASET}/seed-42.csv"
POINTS = int(os.environ.get("CLDTRANS_FAULT_POINTS", "1"))
"""Kill points a fault: `make faults` takes ten."""


def result(folder: Path) -> dict[str, str]:
    """What the chain ends with: hashes of shards, index and division."""
    kept = [*folder.glob(f"data/tiny/shards/{DATASET}/**/*"), folder / GOAL]
    files = [path for path in kept if path.suffix in (".npy", ".parquet", ".csv") and path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit at a share of a file's length."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def launch(
    folder: Path,
    *options: str,
    goal: str = GOAL,
    extra: dict[str, str] | None = None,
    hold: Path | None = None,
) -> subprocess.Popen:
    """Start `cldtrans run` for the chain; what it prints goes to `<folder>/launch.log`, one file a start."""
    words = ["run", "--no-report", "--configfile", "config/tiny.yaml", *options, goal]
    holding = {"PYTHONPATH": str(HOLD), "CLDTRANS_HOLD": str(hold)} if hold else {}
    with (folder / "launch.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "cldtrans", *words],
            cwd=folder,
            env=environment() | (extra or {}) | holding,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(process: subprocess.Popen, folder: Path, code: int = 0) -> str:
    """Wait for the end; what was printed. AssertionError where it ends otherwise."""
    found = process.wait(timeout=600)
    printed = (folder / "launch.log").read_text()
    assert found == code, printed[-5000:]
    return printed


@contextmanager
def held(folder: Path, command: str) -> Iterator[Path]:
    """A folder in which `command` is held while the block runs."""
    place = folder / "hold"
    place.mkdir(exist_ok=True)
    (place / command).touch()
    try:
        yield place
    finally:
        (place / command).unlink(missing_ok=True)


def wait_for_held(place: Path, command: str, seconds: float = 240) -> int:
    """Wait until the command is held; its process."""
    end = time.monotonic() + seconds
    while True:
        for path in place.glob(f"{command}.*"):
            pid = int(path.suffix[1:])
            if psutil.pid_exists(pid):
                return pid
        assert time.monotonic() < end, f"{command} did not start within {seconds:g} s"
        time.sleep(0.1)


def kill_launcher(process: subprocess.Popen, children: bool = True) -> None:
    """Kill a launcher and its Snakemake at once, not its jobs."""
    launcher = psutil.Process(process.pid)
    victims = [launcher, *(launcher.children() if children else [])]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            os.kill(victim.pid, signal.SIGKILL)
    process.wait()


def snakemake_of(process: subprocess.Popen) -> int:
    """The Snakemake of a launcher."""
    return next(p.pid for p in psutil.Process(process.pid).children() if "snakemake" in " ".join(p.cmdline()))
