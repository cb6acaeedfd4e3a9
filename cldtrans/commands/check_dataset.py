"""Check what a dataset promises on its files."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans check-dataset`."""
    parser.add_argument("dataset", help="package.module:Class, or the name of one of ours")
    parser.add_argument("root", type=Path, help="folder of raw recordings, which holds the dataset's own")
    parser.add_argument(
        "--settings", default="{}", metavar="MAPPING",
        help="keyword arguments of the class, as in the config: '{folder: ds1, channels: [C3, C4]}'",
    )  # fmt: skip
    parser.add_argument(
        "--window", type=float, default=10.0, metavar="S", help="length of a window (default 10)"
    )
    parser.add_argument(
        "--most", type=int, default=5, metavar="N", help="recordings that are read (default 5)"
    )
    parser.epilog = "Example: cldtrans check-dataset my_package:MyDataset ~/recordings"


def run(args: argparse.Namespace) -> None:
    """Print a line a promise; fail where one is not kept."""
    import sys

    import yaml

    from cldtrans.data import build_dataset, get_dataset
    from cldtrans.data.contract import check_dataset
    from cldtrans.errors import ConfigError, DataError

    sys.path.append("")  # a module in the current folder, whichever way this was started
    try:
        settings = yaml.safe_load(args.settings)
    except yaml.YAMLError as error:
        raise ConfigError(f"--settings: not a mapping in YAML ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"--settings: expected a mapping such as {{folder: ds1}}, found {args.settings!r}")
    if ":" in args.dataset:
        dataset = build_dataset("own", args.dataset, settings)
    else:
        dataset = get_dataset(args.dataset)
    wrong = 0
    for finding in check_dataset(dataset, args.root.expanduser(), args.most, args.window):
        wrong += bool(finding.problem)
        print(f"{'ok    ' if not finding.problem else 'WRONG '}{finding.what}" + _reason(finding.problem))
    if wrong:
        raise DataError(f"{args.dataset}: {wrong} promises are not kept")
    print(f"{args.dataset}: all promises are kept")


def _reason(problem: str) -> str:
    return f": {problem}" if problem else ""
