"""Export a trained network, measure what it loses and costs, and refuse what loses too much."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans deploy`."""
    parser.add_argument(
        "--config", type=Path, required=True, help="resolved config (results/<run>/config.json)"
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--method", required=True, help="a method whose classifier is a network")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--tolerance", type=float, required=True, help="most that a score may get worse")
    parser.add_argument("--shards", type=Path, required=True, help="the dataset's shard folder")
    parser.add_argument("--split", type=Path, required=True, help="csv: subject, split")
    parser.add_argument("--network", type=Path, required=True, help="its weights, by train-network")
    parser.add_argument("--start", type=Path, help="checkpoint of the network that the method starts from")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")


def run(args: argparse.Namespace) -> None:
    """Write the artefacts and `deploy.json`."""
    from cldtrans import config
    from cldtrans.evaluation.deploy import deploy

    deploy(
        config.load(args.config),
        dataset=args.dataset,
        method=args.method,
        seed=args.seed,
        tolerance=args.tolerance,
        shards=args.shards,
        split=args.split,
        network=args.network,
        start=args.start,
        output=args.output,
    )
