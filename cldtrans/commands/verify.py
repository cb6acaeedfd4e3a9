"""Check every finished file of a run against what was written."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans verify`."""
    parser.add_argument(
        "--config", required=True, nargs="+", type=Path, metavar="FILE",
        help="results/<run>/config.json, or YAML overlays on config/config.yaml",
    )  # fmt: skip
    parser.add_argument("--raw", action="store_true", help="hash the raw recordings, too")


def run(args: argparse.Namespace) -> None:
    """Print what was checked; an error where a file is not what was written."""
    from tabulate import tabulate

    from cldtrans import config
    from cldtrans.errors import DataError
    from cldtrans.verify import verify_run

    found = verify_run(config.load_any(args.config), raw=args.raw)
    rows = [(one.kind, one.checked, one.absent, len(one.problems)) for one in found]
    print(tabulate(rows, headers=["files", "checked", "not there yet", "changed"]))
    problems = [problem for one in found for problem in one.problems]
    for problem in problems:
        print(problem)
    if problems:
        raise DataError(f"{len(problems)} files are not what was written; the lines above say which")
