"""Score a fitted model on degraded recordings of held-out subjects."""

import argparse

from cldtrans.commands import fewshot


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans robustness`: those of `fewshot`."""
    fewshot.add_args(parser)


def run(args: argparse.Namespace) -> None:
    """Score the cell and write its result file."""
    from cldtrans import config
    from cldtrans.evaluation.robustness import run_robustness

    run_robustness(
        config.load(args.config),
        dataset=args.dataset,
        method=args.method,
        budget=args.budget,
        seed=args.seed,
        shards=args.shards,
        split=args.split,
        output=args.output,
        features=args.features,
        checkpoint=args.checkpoint,
        threads=args.threads,
    )
