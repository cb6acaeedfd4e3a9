"""What benchmarks have in common: ways timed in turns, and tables that go into the docs."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

DOCS = Path(__file__).resolve().parent.parent / "docs"
PERFORMANCE = DOCS / "performance.md"
RELIABILITY = DOCS / "reliability.md"


def seconds_in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each way over `rounds` rounds.

    A first round, in which caches fill, does not count. The ways take turns, so that whatever else the
    machine does disturbs all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def add_write_option(parser: argparse.ArgumentParser, page: Path = PERFORMANCE) -> None:
    """Add the option `--write`, for `publish`."""
    parser.add_argument("--write", action="store_true", help=f"put the table into docs/{page.name}")


def timing_options(description: str | None, rounds: int) -> argparse.Namespace:
    """Read `--rounds` and `--write` from the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds)
    add_write_option(parser)
    return parser.parse_args()


def compared(what: str, other: str, seconds: Mapping[str, float], apart: float) -> dict[str, str]:
    """Return the row of a table that sets another library's way beside ours, by `seconds_in_turns`."""
    return {
        "input": what,
        "against": other,
        "its ms": f"{1e3 * seconds[other]:.1f}",
        "ours": f"{1e3 * seconds['ours']:.1f}",
        "ratio": f"{seconds[other] / seconds['ours']:.1f}",
        "largest difference (deviations)": f"{apart:.1g}",
    }


def publish(name: str, table: pd.DataFrame, write: bool, remark: str = "", page: Path = PERFORMANCE) -> None:
    """Print a table with the command and the machine; `write` puts both into the page.

    They replace what stands between `<!-- benchmark:NAME -->` and `<!-- /benchmark -->`.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    options = [option for option in sys.argv[1:] if option != "--write"]
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *options])
    machine = f"{os.cpu_count()} cores shared with other work, load {os.getloadavg()[0]:.1f} at the end"
    rows = table.to_markdown(index=False, tablefmt="github", disable_numparse=True)
    text = f"{rows}\n\n`{command}`; {machine}. {remark}".rstrip()
    print(text)
    if write:
        page.write_text(marked(page.read_text(), name, text))


def marked(page: str, name: str, text: str) -> str:
    """Return a page with `text` between `<!-- benchmark:NAME -->` and `<!-- /benchmark -->`.

    Raises
    ------
    ValueError
        If the page has no such marks.
    """
    marks = re.compile(rf"(<!-- benchmark:{re.escape(name)} -->\n).*?(<!-- /benchmark -->)", re.DOTALL)
    written, found = marks.subn(lambda m: f"{m[1]}{text}\n{m[2]}", page)
    if found != 1:
        raise ValueError(f"expected one mark <!-- benchmark:{name} -->, found {found}")
    return written
