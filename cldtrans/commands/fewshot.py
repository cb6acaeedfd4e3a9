"""Score one dataset, method, label budget and seed."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans fewshot`."""
    parser.add_argument("--experiment", default="fewshot", help="or the name of another division of subjects")
    add_cell_args(parser)
    parser.add_argument("--start", type=Path, help="checkpoint of the network that the method starts from")


def add_cell_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a cell of a classifier and what it rests on."""
    parser.add_argument(
        "--config", type=Path, required=True, help="resolved config (results/<run>/config.json)"
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--method", required=True, help="a method of the config or a variant of our model")
    parser.add_argument(
        "--budget", required=True, choices=["0.01", "0.1", "1.0"], help="fraction of the labels"
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--shards", type=Path, required=True, help="the dataset's shard folder")
    parser.add_argument("--split", type=Path, required=True, help="csv: [fold,] subject, split")
    parser.add_argument("--features", type=Path, help="pooled features of a variant (.npz)")
    parser.add_argument("--checkpoint", type=Path, help="stage-1 checkpoint folder of a variant")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)


def run(args: argparse.Namespace) -> None:
    """Score the cell and write its result file."""
    from cldtrans.evaluation.fewshot import run_fewshot

    score(partial(run_fewshot, experiment=args.experiment), args, start=args.start)


def score(experiment: Callable[..., object], args: argparse.Namespace, **more: Path | None) -> None:
    """Hand the arguments to an experiment."""
    from cldtrans import config

    experiment(
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
        **more,
    )
