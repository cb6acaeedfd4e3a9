"""How much worse the shipped model's reading at once is than `fit_ldsem`, on simulated systems.

    python benchmarks/amortised.py [--worlds 8] [--channels 6 12] [--seconds 60 10]
        [--known FOLDER] [--write]

Both get the same seconds of each system: 90 samples a second, own past of order two, two edges a channel,
lags of 2 to 7 samples. Edges by F1 and by AUROC over all ordered pairs; lags on the true edges that both
find, as median error in samples and as coverage of the 95 % intervals; processor seconds, and intervals of
the difference by bootstrap over systems. With `--known` the model alone reads the sets of
`config/known_lags.yaml` instead, scored as there. `--write` puts the table into docs/lags.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from report import DOCS, add_write_option, publish

from cldtrans.data.known_lags.sets import read_set
from cldtrans.evaluation.known_lags import SCORES, auroc
from cldtrans.lag import fit_ldsem, simulate_ldsem
from cldtrans.lag.pairwise.result import NORMAL95
from cldtrans.lag.simulate import Sample
from cldtrans.machine import limit_threads
from cldtrans.methods.amortised import Amortised
from cldtrans.models.amortised import STANDARD, amortised_lags
from cldtrans.scoring.metrics import Scores

RATE_HZ, TAU_MAX_S = 90.0, 0.1
LAGS_S = (2 / RATE_HZ, 7 / RATE_HZ)
DIFFERENCES, RESAMPLES = ("F1", "AUROC", "lag error"), 2000
SETS = ("microphones", "rivers", "muscle", "electrocorticogram")
PAGE: Path = DOCS / "lags.md"


@dataclass
class Answer:
    """Of one system by one way; arrays [C, C]."""

    tau: np.ndarray
    tau_stderr: np.ndarray
    support: np.ndarray
    score: np.ndarray
    seconds: float


def read(x: np.ndarray) -> Answer:
    """Read at once by the shipped model."""
    began = time.process_time()
    found = amortised_lags(x, RATE_HZ, TAU_MAX_S)
    seconds = time.process_time() - began
    return Answer(found.tau, found.tau_stderr, found.support, found.probability, seconds)


def fitted(x: np.ndarray) -> Answer:
    """Fit."""
    began = time.process_time()
    fit = fit_ldsem(x[None], RATE_HZ, TAU_MAX_S)
    score = -np.log(np.nan_to_num(np.maximum(fit.p_value, 1e-300), nan=1.0))
    return Answer(fit.tau, fit.tau_stderr, fit.support, score, time.process_time() - began)


WAYS: dict[str, Callable[[np.ndarray], Answer]] = {"read at once": read, "fitted": fitted}


def scores(world: Sample, answers: dict[str, Answer]) -> list[dict[str, float]]:
    """Score every way on one system, a row each."""
    truth = np.asarray(world.support)
    both = truth & np.logical_and.reduce([answer.support for answer in answers.values()])
    rows = []
    for answer in answers.values():
        hits = int((answer.support & truth).sum())
        error = np.abs(answer.tau - np.asarray(world.tau))[both]
        rows.append(
            {
                "F1": 2 * hits / max(int(answer.support.sum() + truth.sum()), 1),
                "AUROC": auroc(answer.score, truth),
                "lag error": float(np.median(error)) * RATE_HZ if both.any() else np.nan,
                "coverage": float(np.mean(error <= NORMAL95 * answer.tau_stderr[both]))
                if both.any()
                else np.nan,
                "CPU s": answer.seconds,
            }
        )
    return rows


def known(folder: Path) -> pd.DataFrame:
    """Score the shipped model on recordings whose lags are known, a row a set."""
    rows = []
    for name in SETS:
        found, scored, began = read_set(name, str(folder)), Scores(), time.process_time()
        systems = [system for system in found.systems if not system.aside]
        estimator = Amortised(STANDARD)
        answers = [(one, estimator(one.x, one.sample_rate, one.tau_max_s)) for one in systems]
        seconds = time.process_time() - began
        if answers:
            SCORES[found.truth](scored, answers)
        values = [f"{metric} {value:.3g}" for metric, value in scored.metrics.items() if value is not None]
        rows.append({"set": name, "truth": found.truth, "scores": found.reason or ", ".join(values)})
        rows[-1]["CPU s"] = f"{seconds:.1f}"
    return pd.DataFrame(rows)


def differences(values: list[float]) -> str:
    """Write the mean with its interval."""
    known = np.array(values)[np.isfinite(values)]
    drawn = np.random.default_rng(0).choice(known, (RESAMPLES, len(known)))
    low, high = np.quantile(drawn.mean(1), [0.025, 0.975])
    return f"{known.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def main() -> None:
    """Draw systems, answer both ways, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--worlds", type=int, default=8)
    parser.add_argument("--channels", type=int, nargs="+", default=[6, 12])
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0, 10.0])
    parser.add_argument("--known", type=Path, metavar="FOLDER")
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    limit_threads(1)
    if args.known is not None:
        publish("amortised-known", known(args.known), args.write, "", PAGE)
        return
    read(np.random.default_rng(0).normal(size=(2, 900)))  # loads the model
    rows = []
    for seconds, n_channels in product(args.seconds, args.channels):
        found = []
        for seed in range(args.worlds):
            world = simulate_ldsem(
                n_channels, seconds, RATE_HZ, window_s=seconds, edges_per_node=2.0, lag_range_s=LAGS_S,
                self_dynamics="ar2", seed=seed,
            )  # fmt: skip
            x = np.asarray(world.x)[0]
            found.append(scores(world, {name: way(x) for name, way in WAYS.items()}))
        of = {"seconds": f"{seconds:g}", "channels": str(n_channels)}
        for place, name in enumerate(WAYS):
            mean = pd.DataFrame([one[place] for one in found]).mean()
            rows.append(of | {"way": name} | {key: f"{value:.3f}" for key, value in mean.items()})
        apart = {key: differences([one[0][key] - one[1][key] for one in found]) for key in DIFFERENCES}
        rows.append(of | {"way": "read less fitted"} | apart | {"coverage": "", "CPU s": ""})
        print(rows[-3:], flush=True)
    remark = f"{args.worlds} systems a row, means; 95 % intervals by bootstrap over systems."
    publish("amortised", pd.DataFrame(rows), args.write, remark, PAGE)


if __name__ == "__main__":
    main()
