"""What stage 1 on real waveforms adds to a linear probe: benchmarks/ptbxl_pretraining.py [MIRROR] [--write].

The mirror's PTB-XL records are halved by patient. Stage 1 sees one half without labels; probes train on
that half (a fifth of its patients chooses the penalty) and are tested on the other, which nothing has seen;
then the halves change places. Beside it: the same network with fresh weights, whose codebook starts from
the same half, and stage 1 with parts of it left out. All labels of a half, and a fifth of them in three
draws. Intervals and differences: bootstrap over patients, the same for all.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ptbxl_probe import (
    BATCH,
    DRAWS,
    MIRROR,
    PAGE,
    ROOT,
    Split,
    Windows,
    fresh,
    pooled,
    probed,
    ptbxl,
    resampled,
    row,
)
from report import add_write_option, publish

from cldtrans.config import load_any
from cldtrans.data.montages.places import places
from cldtrans.models import CLDTrans
from cldtrans.training.loop import run_training
from cldtrans.training.stage1 import Objective

WAYS: dict[str, dict[str, float]] = {
    "stage 1": {},
    "fresh weights": {"trained": 0},
    "stage 1 without masked prediction": {"masked": 0.0},
    "stage 1 by masked prediction alone": {"waveform": 0.0, "spectrum": 0.0, "commitment": 0.0},
}
HALVES = 2
VALIDATE = 0.2


class Records:
    """Some of the records, for the training loop."""

    name, modality = "ptbxl", "ecg"

    def __init__(self, windows: Windows, rows: np.ndarray):
        self.x, self.rate_hz = windows.x[rows].astype(np.float32), windows.rate_hz
        self.places = places(windows.channels, "ecg").astype(np.float32)

    def __len__(self) -> int:
        return len(self.x)

    def load(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Gather `x`, `mask` and `places`."""
        there = np.broadcast_to(self.places, (len(rows), *self.places.shape))
        return {"x": self.x[rows], "mask": np.ones((len(rows), self.x.shape[1]), dtype=bool), "places": there}


def halves(windows: Windows) -> list[np.ndarray]:
    """Divide the rows by patient."""
    names = np.random.default_rng(0).permutation(np.unique(windows.groups))
    return [np.flatnonzero(np.isin(windows.groups, part)) for part in np.array_split(names, HALVES)]


def features(way: str, half: int, steps: int, mirror: Path) -> np.ndarray:
    """Pretrain on one half in this way, and read the pooled vectors of all records."""
    torch.set_num_threads(1)
    config = load_any([ROOT / "config" / "standard.yaml"])
    windows = ptbxl(mirror)
    rows = halves(windows)[half]
    own = replace(windows, x=windows.x[rows], y=windows.y[rows], groups=windows.groups[rows])
    settings = dict(WAYS[way])
    torch.manual_seed(half)
    model = CLDTrans(config.model)
    if not settings.pop("trained", 1):
        return pooled(fresh(model, [own]), windows)
    weights = config.stage1.weights | settings
    changes = {"steps": steps, "warmup_steps": steps // 10, "learning_rate": 1e-3}
    run_training(
        model,
        Objective(config.stage1.model_copy(update={"weights": weights, "spans_every": 1})),
        [Records(windows, rows)],
        config.loop.model_copy(update={**changes, "batch_size": BATCH}),
        seed=half,
        step_end=lambda module: module.update_codebooks(),  # type: ignore[operator]
        name=f"{way}, half {half}",
    )
    model.eval().settle()
    return pooled(model, windows)


def splits(windows: Windows, half: int, share: float) -> list[Split]:
    """Train on the half that stage 1 saw, test on the other."""
    rows = halves(windows)
    names = np.random.default_rng([half, 1]).permutation(np.unique(windows.groups[rows[half]]))
    chosen = np.isin(windows.groups[rows[half]], names[: round(VALIDATE * len(names))])
    val, rest = rows[half][chosen], rows[half][~chosen]
    if share == 1:
        return [Split(rest, val, rows[1 - half])]
    draws = (np.random.default_rng([half, draw]).permutation(rest) for draw in range(DRAWS))
    return [Split(np.sort(draw[: round(share * len(rest))]), val, rows[1 - half]) for draw in draws]


def main() -> None:
    """Pretrain, probe, publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mirror", type=Path, nargs="?", default=MIRROR, help="laid out as the bucket")
    parser.add_argument("--steps", type=int, default=300, help="of stage 1, 16 records each (300)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY")
    parser.add_argument("--processes", type=int, default=2)
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    jobs = [(way, half) for way in args.ways for half in range(HALVES)]
    with ProcessPoolExecutor(args.processes) as pool:
        asked = {job: pool.submit(features, *job, args.steps, args.mirror) for job in jobs}
        read = {job: future.result() for job, future in asked.items()}
    windows = ptbxl(args.mirror)
    shares = CLDTrans(load_any([ROOT / "config" / "standard.yaml"]).model).shares("ecg")
    found = []
    for budget, share in (("all", 1.0), ("20 %", 0.2)):
        scored = {
            way: [
                (split.test, probed(read[way, half], windows, split, shares))
                for half in range(HALVES)
                for split in splits(windows, half, share)
            ]
            for way in args.ways
        }
        n = f"{len(windows.y)}, {len(np.unique(windows.groups))} groups"
        found += row("PTB-XL superclasses", budget, resampled(scored, windows), n)
    remark = f"{args.steps} steps of 16 records. AUROC with 95 % intervals, by bootstrap over patients."
    publish("ptbxl-pretraining", pd.DataFrame(found).fillna(""), args.write, remark, PAGE)


if __name__ == "__main__":
    main()
