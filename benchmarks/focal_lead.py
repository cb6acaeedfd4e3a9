"""Who leads a discharge that was planted in real EEG: `focal_lead`, its rivals, and the bound.

    python benchmarks/focal_lead.py [MIRROR] [--quick] [--processes 2] [--write]

MIRROR is a folder laid out like PhysioNet's bucket. A discharge is planted at every signal-to-noise ratio in
the same window; the other windows of the recording are the background. `--quick`: 40 discharges a cell
instead of 200. `--write` puts the tables into docs/focal_lead.md.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import focal_bound
import numpy as np
import pandas as pd
import torch
from focal_cases import (
    CHANNELS,
    N_SAMPLES,
    RATE_HZ,
    SNR_DB,
    TOGETHER,
    Batch,
    Case,
    Quiet,
    draw_cases,
    in_batches,
    recordings,
)
from focal_report import calibration, detection, draw_figure, kinds, rhythms, seizures
from report import DOCS, add_write_option, publish
from timelines import timelines

from cldtrans.baselines.gcc_phat import GccPhat
from cldtrans.baselines.line_length import LineLength
from cldtrans.evaluation.discharges import KINDS, RHYTHMS
from cldtrans.lag.single_source.focal import Reading, evidence_of, log_mixture, read
from cldtrans.machine import limit_threads
from cldtrans.models.lag_inference.covariances import standardise
from cldtrans.models.lag_inference.evidence import pairs
from cldtrans.scoring.leads import aggregate

PAGE = DOCS / "focal_lead.md"
TAU_MAX_S = 0.75
MAX_LAG = round(0.3 * RATE_HZ)  # the network's
SPIKES = next(iter(RHYTHMS))
SEIZURE = 5  # windows
Task = tuple[str, str, tuple[int, ...], int]
"""Kind, rhythm, levels, windows of a seizure."""


def reading_of(x: np.ndarray, background: np.ndarray | None) -> Reading:
    """Read windows [B, N, C, T]."""
    mask = torch.ones(len(x), x.shape[2], dtype=torch.bool)
    with torch.no_grad():
        quiet = None if background is None else torch.from_numpy(background)
        return read(torch.from_numpy(x), RATE_HZ, quiet, mask, TAU_MAX_S)


def posterior(reading: Reading) -> np.ndarray:
    """Return log p(channel is first) as `focal_lead` does, [B, C]."""
    return log_mixture(reading.log_first, reading.valid, reading.log_share).numpy()


def timeline(x: np.ndarray, mask: np.ndarray, sample_rate: float) -> np.ndarray:
    """Score channels by how early they are on the network's timeline, before anything learned, [n, C]."""
    with torch.no_grad():
        windows, alive = standardise(torch.from_numpy(x), torch.from_numpy(mask))
        found = timelines(windows, pairs(alive), MAX_LAG)
        best = found.mass.argmax(-1)
        return -found.later[torch.arange(len(x)), :, :, best].sum(2).numpy()


RIVALS: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "GCC-PHAT": GccPhat(),
    "timeline": timeline,
    "line length": LineLength(),
}


def rows_of(batch: Batch, snr_db: float, rivals: bool) -> list[dict[str, object]]:
    """Let everyone name the lead of a batch: a row for each case and method."""
    x = batch.planted(snr_db)
    known, alone = reading_of(x, batch.background), reading_of(x, None)
    found = {
        "with background": posterior(known),
        "without": posterior(alone),
        "one noise": known.log_first[:, 0].numpy(),
    }
    evidence = {
        "with background": evidence_of(known, True).numpy(),
        "without": evidence_of(alone, False).numpy(),
    }
    if rivals:
        mask = np.ones(x.shape[1:3], dtype=bool)
        for name, readout in RIVALS.items():
            found[name] = np.array([aggregate(readout(one, mask, RATE_HZ), mask) for one in x])
        found["loudest"] = np.log(x.var(axis=(1, 3)) / batch.background.var(axis=(1, 3)))
    rows: list[dict[str, object]] = []
    for k, (number, case) in enumerate(zip(batch.numbers, batch.cases, strict=True)):
        for name, scores in found.items():
            rows.append(
                {
                    "snr_db": snr_db,
                    "case": number,
                    "recording": case.recording,
                    "method": name,
                    "hit": int(scores[k].argmax()) == case.discharges[0].lead,
                    "p": float(np.exp(scores[k].max())),
                    "evidence": float(evidence[name][k]) if name in evidence else math.nan,
                }
            )
    return rows


def bound_rows(batch: Batch, levels: tuple[int, ...]) -> list[dict[str, object]]:
    """Let the one who knows all but the lead name it, at every level."""
    rows: list[dict[str, object]] = []
    for number, case, windows in zip(batch.numbers, batch.cases, batch.quiet, strict=True):
        scores = focal_bound.scores(windows[0], case.discharges[0], levels)
        for level, one in zip(levels, scores, strict=True):
            hit = int(one.argmax()) == case.discharges[0].lead
            rows.append({"snr_db": level, "case": number, "method": "bound", "hit": hit})
    return rows


def judge(mirror: Path, n_cases: int, task: Task) -> pd.DataFrame:
    """Judge all methods on one kind and rhythm, at some levels, with some windows a seizure."""
    limit_threads(1)
    kind, rhythm, levels, n_windows = task
    if kind == "none":
        found = []
        for first in (0, N_SAMPLES // 2):
            quiet = recordings(mirror, first)
            cases = [
                Case(number, (place,), draw_cases([one], "none", rhythm, 1, 1, 0)[0].discharges)
                for number, one in enumerate(quiet)
                for place in range(len(one.windows))
            ]
            found += [row for batch in in_batches(quiet, cases) for row in rows_of(batch, 0.0, rivals=False)]
    else:
        quiet = recordings(mirror)
        batches = list(in_batches(quiet, draw_cases(quiet, kind, rhythm, n_cases, n_windows, 0)))
        found = [row for batch in batches for level in levels for row in rows_of(batch, level, rivals=True)]
        if n_windows == 1:
            found += [row for batch in batches for row in bound_rows(batch, levels)]
    return pd.DataFrame(found).assign(kind=kind, rhythm=rhythm, windows=n_windows)


def speed(quiet: list[Quiet], rounds: int = 5) -> pd.DataFrame:
    """Measure processor time a window, in batches, on one thread."""
    limit_threads(1)
    rows = []
    one = max(quiet, key=lambda found: len(found.windows))
    for name, windows in (("double banana", one.windows), ("electrodes as recorded", one.electrodes)):
        x = windows[:TOGETHER, None].astype(np.float32)
        background = np.repeat(windows[None].astype(np.float32), len(x), axis=0)
        row = {"montage": name, "channels": str(x.shape[2])}
        for column, quiet_windows in (("with background", background), ("without", None)):
            seconds = []
            for _ in range(rounds + 1):
                began = time.process_time()
                reading_of(x, quiet_windows)
                seconds.append(time.process_time() - began)
            row[f"{column}, ms"] = f"{1e3 * float(np.median(seconds[1:])) / len(x):.0f}"
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Plant, let everyone name the lead, and publish tables and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mirror", type=Path, nargs="?", default=Path("../shared/physionet"))
    parser.add_argument("--quick", action="store_true", help="40 discharges a cell")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--figure", type=Path, default=DOCS / "focal_lead.png")
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    n = 40 if args.quick else 200
    tasks: list[Task] = [(kind, SPIKES, SNR_DB, 1) for kind in KINDS]
    tasks += [("single", rhythm, (5, 0), 1) for rhythm in RHYTHMS if rhythm != SPIKES]
    tasks += [("single", SPIKES, (0, -5), SEIZURE)]
    with ProcessPoolExecutor(args.processes) as pool:
        found = pd.concat(list(pool.map(partial(judge, args.mirror, n), tasks)), ignore_index=True)

    one_window = found[found["windows"] == 1]
    spikes = one_window[one_window["rhythm"] == SPIKES]
    planted, none = spikes[spikes["kind"] != "none"], spikes[spikes["kind"] == "none"]
    show = partial(publish, write=args.write, page=PAGE)
    each = f"n = {n} discharges a row, chance 1/{len(CHANNELS)}; 95 % intervals by Wilson."
    show("focal-kinds", kinds(planted), remark=f"{each} Differences are paired, with bootstrap intervals.")
    show("focal-rhythms", rhythms(one_window[one_window["kind"] == "single"]), remark=each)
    show("focal-seizure", seizures(found[found["windows"] == SEIZURE]), remark=each)
    table, remark = detection(planted, none)
    show("focal-none", table, remark=remark)
    table, remark = calibration(planted)
    show("focal-calibration", table, remark=remark)
    show(
        "focal-speed",
        speed(recordings(args.mirror)),
        remark=f"Batches of {TOGETHER}, processor time, median.",
    )
    draw_figure(planted, args.figure)


if __name__ == "__main__":
    main()
