"""Divide a dataset's subjects into train, validation and test."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans split`."""
    parser.add_argument("--config", required=True, type=Path, help="resolved settings (JSON)")
    parser.add_argument("--dataset", required=True, help="name of the dataset's module")
    parser.add_argument("--division", help="published_leaky, loso or tenfold; default: the dataset's own")
    parser.add_argument("--seed", required=True, type=int, help="seed of the division")
    parser.add_argument("--shards", required=True, type=Path, help="folder of the dataset's shards")
    parser.add_argument("--output", required=True, type=Path, help="csv: [fold,]subject,split")


def run(args: argparse.Namespace) -> None:
    """Write the division, and print how many subjects each part has."""
    from cldtrans import config
    from cldtrans.data import chosen_dataset
    from cldtrans.data.divisions import divide
    from cldtrans.data.splits import read_index, split_problem, write_split

    settings = config.load(args.config)
    dataset = chosen_dataset(args.dataset, settings.dataset_classes)
    split = divide(dataset, read_index(dataset, args.shards), args.division, args.seed)
    write_split(args.output, split)
    if "fold" in split:
        print(f"{args.dataset}: {split['fold'].nunique()} folds of {split['subject'].nunique()} subjects")
        return
    problem = split_problem(dict(zip(split["subject"], split["split"], strict=True)))
    print(f"{args.dataset}: {split['split'].value_counts().to_dict()}" + (f" ({problem})" if problem else ""))
