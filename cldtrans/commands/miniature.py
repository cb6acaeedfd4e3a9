"""Write the miniature PhysioNet bucket: nine corpora in their real formats, with planted truth."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans miniature`."""
    parser.add_argument("out", type=Path, help="folder that becomes the bucket (a mirror with the same keys)")
    parser.add_argument(
        "--scale", choices=("tiny", "demo", "standard"), default="demo", help="how much to write"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")


def run(args: argparse.Namespace) -> None:
    """Write the bucket unless it is there already."""
    from cldtrans.data.miniature import write_miniature

    written = write_miniature(args.out, args.scale, args.seed)
    print(
        f"{args.out}: {'written' if written else 'already complete'} (scale {args.scale}, seed {args.seed})"
    )
