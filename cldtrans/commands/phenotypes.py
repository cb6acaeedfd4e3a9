"""Find groups of persons in a checkpoint's embeddings, and say whether they are there beyond chance."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans phenotypes`."""
    parser.add_argument("--shards", type=Path, required=True, help="the dataset's shard folder")
    parser.add_argument("--features", type=Path, required=True, help="pooled features of a variant (.npz)")
    parser.add_argument("--resamples", type=int, default=50, help="bootstrap samples of a clustering (50)")
    parser.add_argument("--most", type=int, default=6, help="largest number of clusters tried (6)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help=".json file; a .png is put beside it")


def run(args: argparse.Namespace) -> None:
    """Cluster, test, write."""
    from cldtrans.evaluation.phenotypes.phenotypes import run_phenotypes
    from cldtrans.machine import limit_threads

    limit_threads(args.threads)
    run_phenotypes(
        args.shards, args.features, args.output, resamples=args.resamples, most=args.most, seed=args.seed
    )
