"""Pooled features of every window from one checkpoint."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans features`."""
    parser.add_argument(
        "--config", type=Path, required=True, help="resolved config (results/<run>/config.json)"
    )
    parser.add_argument("--dataset", required=True, help="for messages; the windows are those of --shards")
    parser.add_argument("--variant", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="stage-1 checkpoint folder")
    parser.add_argument("--shards", type=Path, required=True, help="the dataset's shard folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help=".npz file")


def run(args: argparse.Namespace) -> None:
    """Write the features; those of the random twin beside them where a linear probe is what is scored."""
    from cldtrans import config
    from cldtrans.methods.features import extract_features

    probed = config.load(args.config).stage2.finetune_steps == 0
    twin_seed = args.seed if probed else None
    extract_features(args.checkpoint, args.shards, args.output, args.threads, twin_seed)
