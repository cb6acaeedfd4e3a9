"""Merge a dataset's parts into one index."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans index`."""
    parser.add_argument("--config", required=True, type=Path, help="resolved settings (JSON)")
    parser.add_argument("--dataset", required=True, help="name of the dataset's module")
    parser.add_argument("--output-dir", required=True, type=Path, help="folder of the dataset's shards")


def run(args: argparse.Namespace) -> None:
    """Write index, quarantine and meta.json, and print what they hold."""
    from cldtrans import config
    from cldtrans.data import chosen_dataset
    from cldtrans.data.shards import merge_parts

    settings = config.load(args.config)
    chosen = config.dataset_settings(settings, args.dataset, args.config)
    meta = merge_parts(chosen_dataset(args.dataset, settings.dataset_classes), chosen, args.output_dir)
    print(
        f"{args.dataset}: {meta['n_windows']} windows of {meta['n_recordings']} recordings and "
        f"{meta['n_subjects']} subjects, {meta['n_quarantined']} recordings in quarantine"
        + (f" ({meta['status']}: {meta['reason']})" if meta["reason"] else "")
    )
