"""Time to hash the code of every job of a plan, which each start of the workflow pays.

python benchmarks/code_hashes.py [--config FILE ...] [--repeat 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from cldtrans.config import load_any
from cldtrans.planning.plan import COMMANDS, Plan

PROJECT = Path(__file__).resolve().parent.parent


def hash_all(plan: Plan) -> int:
    """Hash what every job of the plan executes; return how many different hashes there are."""
    found = {
        plan.code_sha256(COMMANDS[cell.experiment], cell.dataset, cell.method, cell.experiment)
        for cell in plan.cells
    }
    for dataset in plan.config.datasets:
        found |= {plan.code_sha256(name, dataset) for name in ("download", "preprocess", "index", "split")}
    for variant, _ in plan.pretrained:
        found |= {
            plan.code_sha256(name, method=variant) for name in ("train-stage1", "train-stage2", "features")
        }
    return len(found | {plan.script_sha256(path.name) for path in plan.scripts.glob("*.py")})


def main() -> None:
    """Time the hashing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", nargs="+", type=Path, default=[PROJECT / "config/config.yaml"])
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    config = load_any(args.config)
    times = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        number = hash_all(Plan(config, PROJECT / "workflow/scripts"))
        times.append(time.perf_counter() - start)
    print(f"{number} hashes in {statistics.median(times):.2f} s (median of {args.repeat}; bar 2 s)")


if __name__ == "__main__":
    main()
