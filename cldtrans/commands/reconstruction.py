"""Rank abnormal windows by reconstruction error, for one dataset, variant and seed."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans reconstruction`."""
    parser.add_argument("--config", type=Path, required=True, help="resolved settings (JSON)")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--method", required=True, help="a variant of our model")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--shards", type=Path, required=True, help="the dataset's shard folder")
    parser.add_argument("--split", type=Path, required=True, help="csv: subject, split")
    parser.add_argument("--checkpoint", type=Path, required=True, help="stage-1 checkpoint folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Score the cell and write its result file."""
    from cldtrans import config
    from cldtrans.evaluation.reconstruction import run_reconstruction

    run_reconstruction(
        config.load(args.config),
        dataset=args.dataset,
        method=args.method,
        seed=args.seed,
        shards=args.shards,
        split=args.split,
        output=args.output,
        checkpoint=args.checkpoint,
        threads=args.threads,
    )
