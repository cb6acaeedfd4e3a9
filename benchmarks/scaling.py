"""How a stage-1 step's time and memory grow with channels, window length and windows a step.

    python benchmarks/scaling.py [--figure docs/scaling.png] [--steps 3]

Runs benchmarks/stage1_step.py for each size, ours and the dense formulation (left out where it would
need more than DENSE_LIMIT values), and draws both: processor time and peak memory a window. About a quarter
of an hour.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

from cldtrans.files import atomic_path
from cldtrans.training.stage1 import SMOOTHNESS_SHARE

STEP = Path(__file__).with_name("stage1_step.py")
SIZES = {
    "channels": (8, 16, 32, 64, 128),
    "samples": (400, 800, 1600, 3200, 6400),
    "batch": (1, 2, 4, 8, 16),
}
LABELS = {"channels": "channels", "samples": "samples a window", "batch": "windows a step"}
BASE = {"channels": 64, "samples": 1600, "batch": 1}
DENSE_LIMIT = 64 * 64 * 1600 * 4  # windows x channels² x samples
WAYS = {"ours": "CLD-Trans", "dense": "every delayed pair at once"}


def measure(way: str, size: dict[str, int], steps: int) -> tuple[float, float]:
    """Return processor seconds and megabytes a window."""
    options = [word for key, value in size.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, str(STEP), *options, "--steps", str(steps), "--measure", way]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    return result["processor_ms"] / 1e3 / size["batch"], result["peak_bytes"] / 1e6 / size["batch"]


def main() -> None:
    """Measure every size, print a table and draw the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    panels = figure.subplots(2, len(SIZES), sharey="row")
    print("| channels | samples | windows a step | way | s a window | MB a window |\n|" + "---|" * 6)
    for column, (what, values) in enumerate(SIZES.items()):
        for way, label in WAYS.items():
            found = []
            for value in values:
                size = {**BASE, what: value}
                if way == "dense" and size["batch"] * size["channels"] ** 2 * size["samples"] > DENSE_LIMIT:
                    continue
                # Not all of our steps are alike: so many have every part in its share.
                cycle = SMOOTHNESS_SHARE // size["batch"] if way == "ours" else 0
                seconds, megabytes = measure(way, size, max(options.steps, cycle))
                found.append((value, seconds, megabytes))
                cells = " | ".join(str(n) for n in size.values())
                print(f"| {cells} | {way} | {seconds:.3f} | {megabytes:.0f} |", flush=True)
            x, *rows = zip(*found, strict=True)
            for panel, y in zip(panels[:, column], rows, strict=True):
                panel.loglog(x, y, "o-", markersize=4, label=label)
        for panel in panels[:, column]:
            panel.set_xticks(values, [str(v) for v in values])
            panel.minorticks_off()
            panel.spines[["top", "right"]].set_visible(False)
        panels[1, column].set_xlabel(LABELS[what])
    panels[0, 0].set_ylabel("processor seconds a window")
    panels[1, 0].set_ylabel("MB a window")
    panels[0, -1].legend(frameon=False, loc="upper right")
    if options.figure:
        with atomic_path(options.figure) as path:
            figure.savefig(path, dpi=150, format="png")


if __name__ == "__main__":
    main()
