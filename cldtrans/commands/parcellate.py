"""Time series of an atlas's parcels from volumes of fMRI, for `cldtrans lags`."""

import argparse
from pathlib import Path


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans parcellate`."""
    parser.add_argument("bold", type=Path, help="volumes of one run (NIfTI), best of fMRIPrep's derivatives")
    parser.add_argument("atlas", type=Path, help="labels in the same space (NIfTI)")
    parser.add_argument("output", type=Path, help="the table (.tsv); its sidecar is put beside it")
    parser.add_argument("--names", type=Path, help="table of labels and names, without header")
    parser.add_argument(
        "--confounds", choices=("simple", "none"), default="simple",
        help="what is regressed out: nilearn's strategy, of fMRIPrep's confounds, or nothing",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Write table and sidecar."""
    from cldtrans.data.fmri import parcellate

    parcellate(args.bold, args.atlas, args.output, args.names, args.confounds)
    print(f"Written: {args.output}, {args.output.with_suffix('.json').name}")
