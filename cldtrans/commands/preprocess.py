"""Turn one batch of recordings into shards."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans preprocess`."""
    parser.add_argument("--config", required=True, type=Path, help="resolved settings (JSON)")
    parser.add_argument("--dataset", required=True, help="name of the dataset's module")
    parser.add_argument("--batch", required=True, type=int, help="which of the dataset's batches, from 0")
    parser.add_argument("--stamp", required=True, type=Path, help="JSON file that the download wrote")
    parser.add_argument("--output-dir", required=True, type=Path, help="folder of the dataset's shards")


def run(args: argparse.Namespace) -> None:
    """Make the shards of the batch."""
    import json

    from cldtrans import config
    from cldtrans.data import chosen_dataset
    from cldtrans.data.base import raw_folder
    from cldtrans.data.preprocess import preprocess_batch
    from cldtrans.errors import DataError

    settings = config.load(args.config)
    chosen = config.dataset_settings(settings, args.dataset, args.config)
    try:
        stamp = json.loads(args.stamp.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{args.stamp}: not a download's record ({error}); run the download again") from None
    preprocess_batch(
        chosen_dataset(args.dataset, settings.dataset_classes),
        raw_folder(settings),
        chosen,
        args.batch,
        args.output_dir,
        stamp,
    )
