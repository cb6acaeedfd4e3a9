"""Train a method's network with all labels of a dataset, and keep its weights."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans train-network`."""
    parser.add_argument(
        "--config", type=Path, required=True, help="resolved config (results/<run>/config.json)"
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument(
        "--method", required=True, help="a method of the config whose classifier is a network"
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--shards", type=Path, required=True, help="the dataset's shard folder")
    parser.add_argument("--split", type=Path, required=True, help="csv: subject, split")
    parser.add_argument("--start", type=Path, help="checkpoint of the network that the method starts from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="model.safetensors to write")


def run(args: argparse.Namespace) -> None:
    """Train the network and write its weights."""
    from cldtrans import config
    from cldtrans.evaluation.trained_network import train_network

    train_network(
        config.load(args.config),
        dataset=args.dataset,
        method=args.method,
        seed=args.seed,
        shards=args.shards,
        split=args.split,
        start=args.start,
        output=args.output,
        threads=args.threads,
    )
