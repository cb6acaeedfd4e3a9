"""Run the workflow in the current folder."""

from __future__ import annotations

import argparse


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cldtrans run`."""
    parser.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE",
        help="overlays on the paper's config, or names of shipped ones: demo, tiny, sample, standard, smoke",
    )  # fmt: skip
    parser.add_argument("--no-report", action="store_true", help="skip the HTML report")
    parser.set_defaults(options=[])  # all else goes to Snakemake
    parser.epilog = "All other options and targets go to Snakemake, e.g. --cores 2, -n, --profile PATH."


def run(args: argparse.Namespace) -> None:
    """Run the workflow."""
    from cldtrans.planning.workflow import run_workflow

    run_workflow(args.configfile, args.options, report=not args.no_report)
