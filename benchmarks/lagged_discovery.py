"""Methods of lagged causal discovery on the kind of data that their papers simulate.

    python benchmarks/lagged_discovery.py [--world NAME ...] [--method NAME ...] [--seeds 5] [--channels 5]
        [--steps 3000]

Prints one row a world and method: F1 of edges, each lag an edge of its own, with its 95 % t-interval over
worlds; F1 of lagged edges alone and of those now; processor seconds a fit; chance: to name every pair.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from lagged_worlds import World, f1, of_dynotears, of_rhino
from tabulate import tabulate

from cldtrans.baselines import dynotears
from cldtrans.baselines.rhino import Rhino
from cldtrans.scoring.intervals import t_interval

LEAST_NOW, LEAST_LAGGED = 0.3, 0.1  # thresholds on DYNOTEARS' weights


def by_dynotears(x: np.ndarray, order: int, seed: int) -> np.ndarray:
    """Find edges by lag, source and target: the paper's penalties of 0.05."""
    now, lagged = dynotears.fit(x - x.mean(-1, keepdims=True), order, 0.05, 0.05)
    return np.concatenate([np.abs(now)[None] > LEAST_NOW, np.abs(lagged) > LEAST_LAGGED])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--world", nargs="+", default=["dynotears", "rhino", "rhino, lagged alone"])
    parser.add_argument("--method", nargs="+", default=["dynotears", "rhino"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--channels", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3000, help="of Rhino")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    def by_rhino(x: np.ndarray, order: int, seed: int) -> np.ndarray:
        return Rhino(steps=arguments.steps).fit(x, order, seed).probability > 0.5

    channels = arguments.channels
    worlds: dict[str, Callable[[int], World]] = {
        "dynotears": lambda seed: of_dynotears(seed, channels),
        "rhino": lambda seed: of_rhino(seed, channels),
        "rhino, lagged alone": lambda seed: of_rhino(seed, channels, now=False),
    }
    methods = {"dynotears": by_dynotears, "rhino": by_rhino}
    rows = []
    for world in arguments.world:
        for method in arguments.method:
            scores, seconds = [], 0.0
            for seed in range(arguments.seeds):
                edges, x = worlds[world](seed)
                started = time.process_time()
                found = methods[method](x, len(edges) - 1, seed)
                seconds += time.process_time() - started
                density = edges.sum() / (edges.size - channels)
                parts = (f1(edges, found), f1(edges[1:], found[1:]), f1(edges[:1], found[:1]))
                scores.append((*parts, 2 * density / (1 + density)))
            mean = np.mean(scores, axis=0)
            interval = t_interval(np.array([score[0] for score in scores]))
            between = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
            rows.append([world, method, f"{mean[0]:.2f}{between}", *mean[1:], seconds / arguments.seeds])
    names = ["world of", "method", "F1", "lagged", "now", "chance", "CPU s"]
    print(f"{arguments.seeds} worlds of {channels} channels")
    print(tabulate(rows, names, floatfmt=".2f"))


if __name__ == "__main__":
    main()
