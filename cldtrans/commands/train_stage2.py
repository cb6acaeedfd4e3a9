"""Fit one head a task on a pretrained model."""

import argparse
import os
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans train-stage2`."""
    parser.add_argument(
        "--config", type=Path, required=True, help="resolved config (results/<run>/config.json)"
    )
    parser.add_argument("--variant", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--shards", type=Path, required=True, help="folder of the datasets' shard folders")
    parser.add_argument("--splits", type=Path, required=True, help="folder of <dataset>/seed-<s>.csv")
    parser.add_argument("--features", type=Path, required=True, help="folder of <dataset>/<variant>/*.npz")
    parser.add_argument("--checkpoint", type=Path, required=True, help="stage-1 checkpoint folder")
    parser.add_argument(
        "--work-dir",
        type=Path,
        help="folder of rolling checkpoints (default: the config's scratch)",
    )
    parser.add_argument("--code", help="hash of the code that trains; keeps the last checkpoint")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU, a process")
    parser.add_argument("--procs", type=int, default=1, help="more than one: start them with torchrun")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint folder to write")


def run(args: argparse.Namespace) -> None:
    """Train the heads, in several processes where asked, and write the checkpoint."""
    from cldtrans import config
    from cldtrans.data.base import scratch_folder
    from cldtrans.training.finished import forget_other_code
    from cldtrans.training.torchrun import relaunch

    settings = config.load(args.config)
    work_dir = args.work_dir or scratch_folder(settings) / "stage2" / args.variant / f"seed-{args.seed}"
    if "LOCAL_RANK" not in os.environ:  # once, before there are several processes
        forget_other_code(work_dir, args.code)
    relaunch(args.procs)
    import torch

    from cldtrans.training.stage2 import train_stage2

    torch.set_num_threads(args.threads)
    train_stage2(
        settings,
        args.variant,
        args.seed,
        args.shards,
        args.splits,
        args.features,
        args.checkpoint,
        args.output,
        work_dir,
        code=args.code,
    )
