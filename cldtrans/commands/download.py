"""Fetch and verify one dataset."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans download`."""
    parser.add_argument("--config", required=True, type=Path, help="resolved settings (JSON)")
    parser.add_argument("--dataset", required=True, help="name of the dataset's module")
    parser.add_argument("--output", required=True, type=Path, help="JSON file that says what was fetched")
    parser.add_argument(
        "--source", help="s3://bucket, http(s)://host/bucket or a folder, instead of the config's"
    )


def run(args: argparse.Namespace) -> None:
    """Download the dataset and write what was fetched."""
    from cldtrans import config
    from cldtrans.data import chosen_dataset
    from cldtrans.data.base import raw_folder
    from cldtrans.data.fetch.checksums import Selection
    from cldtrans.data.fetch.download import download
    from cldtrans.data.fetch.sources import open_source
    from cldtrans.files import write_json

    settings = config.load(args.config)
    chosen = config.dataset_settings(settings, args.dataset, args.config)
    selection = Selection(chosen.subjects, chosen.records, tuple(chosen.glob) if chosen.glob else None)
    url = args.source or os.environ.get("CLDTRANS_MIRROR") or settings.source.url
    source = open_source(url, settings.source.endpoint)
    dataset = chosen_dataset(args.dataset, settings.dataset_classes)
    write_json(
        args.output,
        download(source, dataset, raw_folder(settings), selection, settings.source.allow_absent),
    )
