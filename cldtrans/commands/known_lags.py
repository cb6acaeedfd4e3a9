"""Score lags of one set of recordings that physics or clinicians know."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans known-lags`."""
    parser.add_argument(
        "--config", type=Path, required=True, help="resolved config (results/<run>/config.json)"
    )
    parser.add_argument("--dataset", required=True, help="a set of known lags")
    parser.add_argument("--method", required=True, help="a method of the config with an estimator")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Score the set and write the result file."""
    from cldtrans import config
    from cldtrans.evaluation.known_lags import run_known_lags

    run_known_lags(
        config.load(args.config),
        dataset=args.dataset,
        method=args.method,
        seed=args.seed,
        threads=args.threads,
        output=args.output,
    )
