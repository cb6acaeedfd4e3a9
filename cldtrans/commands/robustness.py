"""Score a fitted model on degraded recordings of held-out subjects."""

import argparse

from cldtrans.commands import fewshot


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans robustness`: those of a cell of a classifier."""
    fewshot.add_cell_args(parser)


def run(args: argparse.Namespace) -> None:
    """Score the cell and write its result file."""
    from cldtrans.evaluation.robustness import run_robustness

    fewshot.score(run_robustness, args)
