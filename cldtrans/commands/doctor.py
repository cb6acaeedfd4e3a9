"""Check GPU, FFT, adjoint, disk and data source of this machine."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans doctor`."""
    parser.add_argument(
        "--config", nargs="+", type=Path, metavar="FILE",
        help="results/<run>/config.json or YAML overlays: check disk and source too",
    )  # fmt: skip
    parser.add_argument(
        "--source", help="s3://bucket, http(s)://host/bucket or a folder, instead of the config's"
    )


def run(args: argparse.Namespace) -> None:
    """Print the report; an error where a check failed."""
    from cldtrans import config
    from cldtrans.doctor import examine, render
    from cldtrans.errors import CldtransError

    checks = examine(config.load_any(args.config) if args.config else None, args.source)
    print(render(checks), end="")
    failed = [check.name.strip() for check in checks if check.status == "FAIL"]
    if failed:
        raise CldtransError(f"not fit to run: {', '.join(failed)}; see the right-hand column")
