"""Score focal-lead localization of one dataset, method and seed."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans focal-lead`."""
    parser.add_argument(
        "--config", type=Path, required=True, help="resolved config (results/<run>/config.json)"
    )
    parser.add_argument("--experiment", required=True, choices=["zeroshot", "planted", "lead_robustness"])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--method", required=True, help="a method of the config or a variant of our model")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--shards", type=Path, help="the dataset's shard folder; an intracranial set has none, and needs none"
    )
    parser.add_argument("--checkpoint", type=Path, help="stage-1 checkpoint folder of a variant")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--details", type=Path, help="also write a csv with one row a seizure or discharge")
    parser.add_argument("--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Score the cell and write its result file."""
    from cldtrans import config
    from cldtrans.evaluation.focal_lead import run_focal_lead

    run_focal_lead(
        config.load(args.config),
        experiment=args.experiment,
        dataset=args.dataset,
        method=args.method,
        seed=args.seed,
        shards=args.shards,
        checkpoint=args.checkpoint,
        threads=args.threads,
        details=args.details,
        output=args.output,
    )
