"""Compare kept predictions with published ones of the same recordings."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans published`."""
    parser.add_argument("results", type=Path, nargs="+", help="result files, predictions beside them")
    parser.add_argument("--file", type=Path, required=True, help="csv: recording, one column a class")
    parser.add_argument("--name", required=True, help="of the published method")
    parser.add_argument("--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Write a row a cell."""
    from cldtrans.evaluation.published import compare_cells
    from cldtrans.files import write_json

    write_json(args.output, compare_cells(args.results, args.file.expanduser(), args.name))
