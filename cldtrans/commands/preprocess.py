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
    from cldtrans.files import require_room

    settings = config.load(args.config)
    chosen = config.dataset_settings(settings, args.dataset, args.config)
    try:
        stamp = json.loads(args.stamp.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{args.stamp}: not a download's record ({error}); run the download again") from None
    # Raw samples take two bytes; channels and samples that are not used make up for half of them.
    itemsize = 2 if chosen.dtype == "float16" else 4
    least = stamp.get("bytes", 0) / 2 * itemsize / 2 / chosen.batches
    require_room(args.output_dir, least, f"batch {args.batch} of {args.dataset}")
    preprocess_batch(
        chosen_dataset(args.dataset, settings.dataset_classes),
        raw_folder(settings),
        chosen,
        args.batch,
        args.output_dir,
        stamp,
    )
