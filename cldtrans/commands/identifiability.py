"""Score lag recovery on one simulated world."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans identifiability`."""
    parser.add_argument(
        "--config", type=Path, required=True, help="resolved config (results/<run>/config.json)"
    )
    parser.add_argument("--world", required=True, help="name under identifiability.worlds")
    parser.add_argument("--method", required=True, help="a method of the config with an estimator")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Score the world and write the result file."""
    from cldtrans import config
    from cldtrans.evaluation.identifiability import run_identifiability

    run_identifiability(
        config.load(args.config),
        world=args.world,
        method=args.method,
        seed=args.seed,
        threads=args.threads,
        output=args.output,
    )
