"""Who leads a discharge that was planted at one of 64 electrodes, against several references.

    python benchmarks/focal_references.py [MIRROR] [--trials 100] [--write]

Discharges are planted in what was recorded (EEGMMIDB, all 64 electrodes), gains dealt out at random so that
size says nothing, and reach neighbouring electrodes 20-120 ms later a hop. Then everything is measured
against another reference. `--write` puts the table into docs/focal_lead.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from focal_cases import N_SAMPLES, RATE_HZ, Quiet, recordings
from focal_lead import PAGE, SPIKES, posterior, reading_of
from focal_report import share
from report import add_write_option, publish
from tqdm import tqdm

from cldtrans.baselines.gcc_phat import GccPhat
from cldtrans.baselines.line_length import LineLength
from cldtrans.data.montages.electrodes import on_head
from cldtrans.data.montages.reference import rereference
from cldtrans.evaluation.discharges import Discharge, Source, draw_wave
from cldtrans.evaluation.planted import draw_plan
from cldtrans.machine import limit_threads

REFERENCES = {"as recorded": "none", "average": "average", "Laplacian": "laplacian"}
SNR_DB = (10, 5, 0, -5)
REACH = 0.4  # radii of the head between neighbouring electrodes at most: five hops from one end to the other
RIVALS: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "GCC-PHAT": GccPhat(),
    "line length": LineLength(),
}


def derivation(names: tuple[str, ...], reference: str) -> np.ndarray:
    """Return the matrix [C, C] that measures electrodes against another reference."""
    matrix, kept = rereference(np.eye(len(names)), names, reference)  # type: ignore[arg-type]
    assert len(kept) == len(names), "an electrode without a place"
    return matrix.astype(float)


def planted(
    quiet: Quiet, place: int, adjacent: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Plant a discharge at all levels in one window of a recording: array [S, C, T], and its lead."""
    everywhere = np.ones(len(adjacent), dtype=bool)
    plan = draw_plan(adjacent, everywhere, rng)
    source = Source(plan, draw_wave(SPIKES, N_SAMPLES, RATE_HZ, rng))
    alone = Discharge((source,), np.eye(len(adjacent)), 0.0, N_SAMPLES, RATE_HZ, SPIKES).unmixed(source)
    background = quiet.electrodes[place].astype(float)
    signal = background.std(axis=1, keepdims=True) * alone
    return np.stack([background + 10 ** (level / 20) * signal for level in SNR_DB]), plan.lead


def main() -> None:
    """Plant, let everyone name the lead, and publish the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mirror", type=Path, nargs="?", default=Path("../shared/physionet"))
    parser.add_argument("--trials", type=int, default=100)
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    limit_threads(1)
    quiet, rng = recordings(args.mirror), np.random.default_rng(5)
    place = on_head(quiet[0].names)
    assert place is not None and all(one.names == quiet[0].names for one in quiet)
    apart = np.linalg.norm(place[:, None] - place, axis=-1)
    adjacent = (apart <= REACH) & (apart > 0)
    derive = {name: derivation(quiet[0].names, reference) for name, reference in REFERENCES.items()}
    rows = []
    for case in tqdm(range(args.trials), disable=None):
        one = quiet[case % len(quiet)]
        number = int(rng.integers(len(one.electrodes)))
        x, lead = planted(one, number, adjacent, rng)
        others = np.delete(one.electrodes, number, axis=0)
        for name, matrix in derive.items():
            seen = (matrix @ x).astype(np.float32)
            background = np.repeat((matrix @ others)[None], len(x), axis=0).astype(np.float32)
            mask = np.ones(seen.shape[:2], dtype=bool)
            found = {
                "with background": posterior(reading_of(seen[:, None], background)),
                "without": posterior(reading_of(seen[:, None], None)),
                **{rival: readout(seen, mask, RATE_HZ) for rival, readout in RIVALS.items()},
            }
            for method, scores in found.items():
                for level, hit in zip(SNR_DB, scores.argmax(axis=1) == lead, strict=True):
                    rows.append({"reference": name, "dB": level, "method": method, "hit": hit})
    table = []
    for (reference, level), cell in pd.DataFrame(rows).groupby(["reference", "dB"], sort=False):
        hits = {name: share(part["hit"]) for name, part in cell.groupby("method", sort=False)}
        table.append({"reference": reference, "dB": f"{level:g}"} | hits)
    remark = f"n = {args.trials} discharges a row, chance 1/{len(adjacent)}; 95 % intervals by Wilson."
    publish("focal-references", pd.DataFrame(table), args.write, remark, PAGE)


if __name__ == "__main__":
    main()
