"""`cldtrans <command>`: a list of command modules, nothing else."""

from __future__ import annotations

import argparse
import errno
import importlib
import sys

import cldtrans
from cldtrans.errors import CldtransError

COMMANDS = {
    "lags": "who leads whom in a recording, by how many milliseconds",
    "run": "the workflow, from raw recordings to the paper, in the current folder",
    "doctor": "check GPU, FFT, adjoint, disk and data source of this machine",
    "estimate": "jobs, hours, bytes and days that a config will cost",
    "verify": "check that every finished file of a run is still what was written",
    "cost": "what a run costs: forecast, limit, and what its jobs have cost",
    "parcellate": "time series of parcels from volumes of fMRI",
    "check-dataset": "check a dataset of your own on its files",
    "completion": "print what makes a shell complete these commands",
    "miniature": "write the miniature PhysioNet bucket",
    "download": "fetch and verify one dataset",
    "preprocess": "turn one batch of recordings into shards",
    "index": "merge a dataset's parts into one index",
    "split": "divide a dataset's subjects into train, validation and test",
    "train-stage1": "pretrain without labels",
    "train-stage2": "fit one head a task on a pretrained model",
    "features": "pooled features of every window from one checkpoint",
    "train-network": "train a method's network with all labels of a dataset, for others to start from",
    "deploy": "export a trained network to files that run without torch, and measure them",
    "fewshot": "score one dataset, method, label budget and seed",
    "focal-lead": "score focal-lead localization of one dataset, method and seed",
    "reconstruction": "rank abnormal windows by reconstruction error",
    "identifiability": "score lag recovery on one simulated world",
    "known-lags": "score lags that physics or clinicians know",
    "robustness": "score a fitted model on degraded input",
    "published": "compare kept predictions with published ones",
    "phenotypes": "find groups of persons in a checkpoint's embeddings",
    "rescore": "score kept predictions again, without training",
    "audit": "check a run: who is on which side, channels, labels, metadata, claims",
}
EXAMPLES = {
    "lags": "cldtrans lags recording.edf --start 2990 --stop 3040",
    "run": "cldtrans run --configfile demo --cores 2",
    "doctor": "cldtrans doctor",
}
"""Of the commands that people need first."""
BESIDE = ("cost", "parcellate", "estimate", "verify", "check-dataset", "completion")
"""Further commands for people; the rest are jobs, which the workflow calls."""
PIPELINE = {"jsonschema", "obstore", "psutil", "snakemake", "tensorboard"}
"""What commands of the workflow import, and the core does without."""


UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG}
"""What a disk answers that is full, or may not be written."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the signal's number."""


def overview() -> str:
    """Say what there is: what people need first with an example each, and the workflow's jobs apart."""
    first = [f"  {name:16}{COMMANDS[name]}\n{'':18}{example}" for name, example in EXAMPLES.items()]
    beside = [f"  {name:16}{COMMANDS[name]}" for name in BESIDE]
    jobs = [f"  {name:16}{text}" for name, text in COMMANDS.items() if name not in {*EXAMPLES, *BESIDE}]
    parts = ["To begin with:", *first, "", "Beside them:", *beside, ""]
    parts += ["Jobs, which the workflow calls:", *jobs, "", "cldtrans <command> --help tells more."]
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : list of str, optional
        What follows `cldtrans` on the command line; default: that of this process.

    Returns
    -------
    int
        The exit code: 2, and a single line on standard error, when the user has to act; 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="cldtrans",
        usage="cldtrans [--version] <command> ...",
        description="Causal-lagged dynamics of biosignals: who leads whom in EEG and ECG.",
        epilog=overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=cldtrans.__version__)
    commands = parser.add_subparsers(
        dest="command", metavar="command", required=True, prog="cldtrans", help=argparse.SUPPRESS
    )
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(name, description=summary)
        if name == chosen:  # only the module that runs is imported: start-up is most of a short job
            module = importlib.import_module(f"cldtrans.commands.{name.replace('-', '_')}")
            module.add_args(subparser)
            subparser.set_defaults(run=module.run)
    args, rest = parser.parse_known_args(argv)
    if hasattr(args, "options"):
        args.options = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        args.run(args)
    except CldtransError as error:
        print(f"cldtrans {args.command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in PIPELINE:
            raise
        what = f"this needs {error.name}: pip install 'cldtrans[pipeline]'"
        print(f"cldtrans {args.command}: {what}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        place = f"{error.filename}: " if error.filename else ""
        advice = "make room or give access, and run it again: what is finished is kept"
        print(f"cldtrans {args.command}: {place}{error.strerror}; {advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(
            f"\ncldtrans {args.command}: {': '.join(['interrupted', *map(str, stop.args)])}", file=sys.stderr
        )
        return INTERRUPTED
    return 0
