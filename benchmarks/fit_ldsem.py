"""`fit_ldsem` on real recordings and a simulated system, beside the code before it.

    python benchmarks/fit_ldsem.py --previous CHECKOUT [--mirror FOLDER] [--rivers FILE.npz]
        [--case NAME ...] [--limit 900] [--write]

CHECKOUT is a work tree of an earlier commit (`git worktree add CHECKOUT COMMIT`). Each fit is a process of
its own, one thread, the two ways in turns on the same samples; one that takes longer than `--limit` seconds
is stopped, and the table says so. Processor seconds stand beside the wall's: only they can be compared on a
machine that others use. Answers are compared by edges of both, lags in standard errors, log likelihood.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from report import add_write_option, publish

from cldtrans.lag import simulate_ldsem
from cldtrans.lag.recording import cut_window

TEN_TWENTY = [
    *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4"),
    *("P8", "O1", "O2"),
]
REST = "eegmmidb/1.0.0/S001/S001R01.edf"
RECORDINGS = {
    # file, start, stop, channels, reference
    "EEG, 7 x 30 s": (REST, 0.0, 30.0, TEN_TWENTY[4:11], "none"),
    "EEG, 19 x 60 s": (REST, 0.0, 60.0, TEN_TWENTY, "none"),
    "EEG, 64 x 60 s": (REST, 0.0, 60.0, None, "none"),
    "EEG, 16 bipolar x 40 s": ("chbmit/1.0.0/chb01/chb01_03.edf", 10.0, 50.0, None, None),
    "ECG, 12 x 10 s": ("ptb-xl/1.0.3/records500/00000/00001_hr", 0.0, None, None, None),
}
RIVERS, SIMULATED = "rivers, 25 x 19800 days", "simulated, 64 x 300 s"
CASES = [*RECORDINGS, RIVERS, SIMULATED]
TAU_MAX_S, RIVER_DAYS = 0.1, 5.0

FIT = """
import sys, time
import numpy as np
from cldtrans.lag import fit_ldsem
given = np.load(sys.argv[1])
began, used = time.perf_counter(), time.process_time()
fit = fit_ldsem(given["x"], float(given["rate"]), float(given["tau_max"]), str(given["innovation"]))
np.savez(
    sys.argv[2], wall=time.perf_counter() - began, cpu=time.process_time() - used, tau=fit.tau,
    tau_stderr=fit.tau_stderr, support=fit.support, log_likelihood=fit.log_likelihood,
)
"""


def given(case: str, mirror: Path, rivers: Path) -> dict[str, object]:
    """Return what is fitted: x [N, C, T], sampling rate, largest lag, density."""
    if case in RECORDINGS:
        file, start_s, stop_s, channels, reference = RECORDINGS[case]
        window = cut_window(mirror / file, start_s, stop_s, channels, reference)  # type: ignore[arg-type]
        return {
            "x": window.x[None],
            "rate": window.rate_hz,
            "tau_max": TAU_MAX_S,
            "innovation": window.innovation,
        }
    if case == RIVERS:
        x = np.diff(np.log(np.load(rivers)["discharge_m3s"].astype(float)), axis=0).T
        return {
            "x": (x / x.std(1, keepdims=True))[None],
            "rate": 1.0,
            "tau_max": RIVER_DAYS,
            "innovation": "laplace",
        }
    world = simulate_ldsem(
        64, 300.0, 160.0, edges_per_node=3, lag_range_s=(1 / 160, 40 / 160), self_dynamics="ar2",
        innovation="student", degrees_of_freedom=5.0, seed=0,
    )  # fmt: skip
    return {
        "x": world.x,
        "rate": 160.0,
        "tau_max": 41 / 160,
        "innovation": "student",
        "support": world.support,
    }


def fitted(tree: Path, samples: Path, result: Path, limit_s: float) -> dict[str, np.ndarray] | None:
    """Fit with the code of a work tree; None where that takes longer than the limit."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    try:
        subprocess.run(
            [sys.executable, "-c", FIT, str(samples), str(result)],
            check=True,
            timeout=limit_s,
            env=os.environ | one | {"PYTHONPATH": str(tree)},
            cwd=result.parent,
        )
    except subprocess.TimeoutExpired:
        return None
    return dict(np.load(result))


def seconds(fit: dict[str, np.ndarray] | None, limit_s: float) -> tuple[str, str]:
    """Wall and processor seconds as text."""
    if fit is None:
        return f"> {limit_s:.0f}", "-"
    return f"{fit['wall']:.1f}", f"{fit['cpu']:.1f}"


def compared(
    ours: dict[str, np.ndarray] | None, before: dict[str, np.ndarray] | None, truth: np.ndarray | None
) -> dict[str, str]:
    """Edges of both, of each; lags apart; log likelihood ours less before; F1 where the edges are known."""
    row = dict.fromkeys(("edges", "before", "both", "lags apart, stderr", "log likelihood", "F1"), "-")
    if ours is None:
        return row
    row["edges"] = str(ours["support"].sum())
    if truth is not None:
        hits = (ours["support"] & truth).sum()
        row["F1"] = f"{2 * hits / (ours['support'].sum() + truth.sum()):.3f}"
    if before is not None:
        both = ours["support"] & before["support"]
        apart = (np.abs(ours["tau"] - before["tau"]) / before["tau_stderr"])[both]
        row |= {"before": str(before["support"].sum()), "both": str(both.sum())}
        row["lags apart, stderr"] = (
            f"{np.median(apart):.3f}, at most {apart.max():.2f}" if len(apart) else "-"
        )
        row["log likelihood"] = f"{ours['log_likelihood'] - before['log_likelihood']:+.1f}"
    return row


def main() -> None:
    """Fit every case both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--previous", type=Path, required=True)
    parser.add_argument("--mirror", type=Path, default=Path("../shared/physionet"))
    parser.add_argument(
        "--rivers", type=Path, default=Path("../shared/known_lags/danube/danube_right_aligned.npz")
    )
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds a fit (default 900)")
    add_write_option(parser)
    args = parser.parse_args()
    here, rows = Path(__file__).resolve().parent.parent, []
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.npz"
        for case in args.case:
            data = given(case, args.mirror, args.rivers)
            np.savez(samples, **data)  # type: ignore[arg-type]
            ours = fitted(here, samples, Path(folder) / "ours.npz", args.limit)
            before = fitted(args.previous.resolve(), samples, Path(folder) / "before.npz", args.limit)
            wall, cpu = seconds(ours, args.limit)
            wall_before, cpu_before = seconds(before, args.limit)
            row = {"input": case, "s": wall, "of CPU": cpu, "before, s": wall_before, "its CPU": cpu_before}
            rows.append(row | compared(ours, before, data.get("support")))  # type: ignore[arg-type]
            print(rows[-1], flush=True)
    publish("fit-ldsem", pd.DataFrame(rows), args.write, "One thread.")


if __name__ == "__main__":
    main()
