"""Time to hash the code of every job of a plan, which each start of the workflow pays.

python benchmarks/code_hashes.py [--repeat 5] [--write]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import pandas as pd
from report import add_write_option, publish

from cldtrans.config import load_any
from cldtrans.planning.plan import COMMANDS, Plan

PROJECT = Path(__file__).resolve().parent.parent
PLANS = ("config", "demo", "tiny")
BAR_S = 2.0


def hash_all(plan: Plan) -> int:
    """Hash what every job of the plan executes; return how many different hashes there are."""
    found = {
        plan.code_sha256(COMMANDS[cell.experiment], cell.dataset, cell.method, cell.experiment)
        for cell in plan.cells
    }
    for dataset in plan.config.datasets:
        found |= {plan.code_sha256(name, dataset) for name in ("download", "preprocess", "index", "split")}
    for name in ("train-stage1", "train-stage2", "features"):
        found |= {plan.code_sha256(name, method=variant) for variant, _ in plan.pretrained}
    return len(found | {plan.script_sha256(path.name) for path in plan.scripts.glob("*.py")})


def main() -> None:
    """Hash three plans, each time from nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    add_write_option(parser)
    args = parser.parse_args()
    rows = []
    for name in PLANS:
        config = load_any([PROJECT / "config" / f"{name}.yaml"])
        seconds = []
        for _ in range(args.repeat):
            started = time.perf_counter()
            number = hash_all(Plan(config, PROJECT / "workflow/scripts"))
            seconds.append(time.perf_counter() - started)
        middle = statistics.median(seconds)
        met = "yes" if middle < BAR_S else "no"
        rows.append([config.run, f"{sum(Plan(config).jobs().values())}", f"{number}", f"{middle:.2f}", met])
    table = pd.DataFrame(rows, columns=["plan", "jobs", "different hashes", "s", f"< {BAR_S:g} s"])
    publish("code-hashes", table, args.write, f"Medians of {args.repeat}.")


if __name__ == "__main__":
    main()
