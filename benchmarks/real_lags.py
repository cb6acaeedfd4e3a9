"""Lags found in real recordings, and in real recordings of which they are known.

    python benchmarks/real_lags.py MIRROR [--figure docs/real_lags.png]

MIRROR is a folder laid out like PhysioNet's bucket. Draws the seizure of chb01_03 on the head and one 12-lead
ECG on a circle, and the error of known delays of the same recordings against themselves with noise at 20 dB;
prints edges by reading, seconds and warnings. About five minutes on one core.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cldtrans.files import atomic_path
from cldtrans.lag.recording import Window, cut_window, fit_window
from cldtrans.lag.recording.figures import graph

EEG, ECG = "chbmit/1.0.0/chb01/chb01_03.edf", "ptb-xl/1.0.3/records500/00000/00001_hr"
DELAYED = [(EEG, ["C3-P3", "F3-C3"], "EEG, C3-P3"), (ECG, ["V2", "V3"], "ECG, V2")]
LAGS = (0.12, 0.37, 0.81, 1.43, 2.5, 3.62)
"""Samples."""


def delayed(window: Window, lag: float, seed: int) -> Window:
    """Return the first channel, and the same `lag` samples later with white noise at 20 dB."""
    source = window.x[0] - window.x[0].mean(dtype=float)
    even = np.concatenate([source, source[::-1]])  # no jump where the record wraps
    phase = np.exp(-2j * np.pi * np.fft.rfftfreq(len(even)) * lag)
    moved = np.fft.irfft(np.fft.rfft(even) * phase, len(even))[: len(source)]
    moved += 0.1 * source.std() * np.random.default_rng(seed).standard_normal(len(source))
    return dataclasses.replace(window, x=np.stack([source, moved]), channels=["source", "moved"])


def self_delays(mirror: Path, axes: Axes) -> None:
    """Draw the error of known delays, in samples."""
    for offset, (file, channels, label) in zip((-0.03, 0.03), DELAYED, strict=True):
        window = cut_window(mirror / file, channels=channels)
        found = []
        for lag in LAGS:
            for seed in range(3):
                fit = fit_window(delayed(window, lag, seed), 12 / window.rate_hz).fit
                if fit.support[1, 0]:
                    error, stderr = (
                        fit.tau[1, 0] * window.rate_hz - lag,
                        fit.tau_stderr[1, 0] * window.rate_hz,
                    )
                    found.append((lag, error, 1.96 * stderr))
        lag, error, half = np.array(found).T
        axes.errorbar(lag + offset, error, half, fmt="o", markersize=3, linewidth=0.8, label=label)
        print(
            f"{label}: {len(found)} of {3 * len(LAGS)} delays found, largest error {np.abs(error).max():.4f} "
            f"samples, root mean square {np.sqrt((error**2).mean()):.4f}, "
            f"{100 * (np.abs(error) < half).mean():.0f} % inside their intervals"
        )
    axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel("known delay (samples)")
    axes.set_ylabel("error and 95 % interval (samples)")
    axes.legend(frameon=False, fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Fit both recordings, print what was found and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mirror", type=Path)
    parser.add_argument("--figure", type=Path, default=Path("docs/real_lags.png"))
    args = parser.parse_args()
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, file, start_s, stop_s in ((panels[0], EEG, 10.0, 50.0), (panels[1], ECG, 0.0, 10.0)):
        began = time.monotonic()
        lags = fit_window(cut_window(args.mirror / file, start_s, stop_s))
        counts = lags.table()["reading"].value_counts().to_dict()
        print(f"{file}: {time.monotonic() - began:.0f} s, {counts}", *lags.warnings, sep="\n  ")
        graph(lags, axes)
        axes.set_title(
            f"{Path(file).name}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()), size=8
        )
    self_delays(args.mirror, panels[2])
    panels[2].set_title("Recordings delayed against themselves, noise at 20 dB", size=8)
    with atomic_path(args.figure) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    print(f"{args.figure}: {args.figure.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
