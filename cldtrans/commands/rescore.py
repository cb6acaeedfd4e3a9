"""Score kept predictions again: the metrics of few-shot cells, without training."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans rescore`."""
    parser.add_argument("results", type=Path, help="folder of a run's results; or one file of predictions")


def run(args: argparse.Namespace) -> None:
    """Renew the result files whose predictions are kept; tables and figures follow when the workflow runs."""
    from cldtrans.errors import DataError
    from cldtrans.evaluation.rescore import rescore

    found = [args.results] if args.results.is_file() else sorted(args.results.glob("**/seed-*.parquet"))
    if not found:
        raise DataError(f"{args.results}: no predictions (seed-<s>.parquet); run the workflow first")
    changed = sum(rescore(path) for path in found)
    print(f"{len(found)} cells scored again, {changed} of them changed")
