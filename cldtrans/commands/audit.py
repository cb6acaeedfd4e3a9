"""Check a run: persons, budgets, channels, labels, metadata, and what methods claim."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans audit`."""
    parser.add_argument("--config", required=True, type=Path, help="resolved settings (JSON)")
    parser.add_argument("--shards", required=True, type=Path, help="folder of all datasets' shards")
    parser.add_argument("--splits", required=True, type=Path, help="folder of all divisions")
    parser.add_argument("--results", required=True, type=Path, help="folder of the run's results")
    parser.add_argument("--output", required=True, type=Path, help="what was checked (JSON)")


def run(args: argparse.Namespace) -> None:
    """Write and print what was found; a failed check is an error."""
    from cldtrans import config
    from cldtrans.errors import DataError
    from cldtrans.evaluation.audit.audit import audit_run, failures
    from cldtrans.files import write_json

    report = audit_run(
        config.load(args.config),
        shards=args.shards,
        splits=args.splits,
        features=args.results / "features",
        results=sorted(args.results.glob("*/*/*/budget-*/seed-*.json")),
    )
    write_json(args.output, report)
    for one in report["findings"]:
        print(f"{one['status']:11} {one['check']}: {one['of']}: {one['found']} (expected: {one['expected']})")
    found = failures(report)
    if found:
        raise DataError(f"{len(found)} checks failed: {'; '.join(found)}")
