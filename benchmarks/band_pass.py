"""The zero-phase band-pass with resampling against scipy and mne, on the same recordings.

    python benchmarks/band_pass.py [--rounds 3] [--write]

An hour of 18 channels from 256 to 160 Hz, 0.5-40 Hz, and 10 s of 12 leads at 500 Hz, 0.05-150 Hz. scipy:
`sosfiltfilt` and `resample_poly`, as users call them, and the same continued evenly as ours is, which is the
same task. mne: `filter_data` with its default FIR filter, and `resample`.
"""

from __future__ import annotations

from functools import partial

import mne
import numpy as np
import pandas as pd
import scipy.signal
from report import compared, publish, seconds_in_turns, timing_options

from cldtrans.data.zero_phase import band_pass, rate_ratio

INPUTS = {
    "EEG, 18 x 1 h": (18, 3600.0, 256.0, 160.0, (0.5, 40.0)),
    "ECG, 12 x 10 s": (12, 10.0, 500.0, 500.0, (0.05, 150.0)),
}
BESIDE_S = 40.0  # of the even continuation


def by_scipy(x: np.ndarray, rate: float, to: float, band: tuple[float, float]) -> np.ndarray:
    """Filter and resample as scipy's functions come."""
    sos = scipy.signal.butter(4, band, "bandpass", fs=rate, output="sos")
    y = scipy.signal.sosfiltfilt(sos, x)
    return y if rate == to else scipy.signal.resample_poly(y, *rate_ratio(rate, to), axis=-1)


def by_scipy_continued(x: np.ndarray, rate: float, to: float, band: tuple[float, float]) -> np.ndarray:
    """Filter and resample a recording continued evenly, forth and back if need be."""
    up, down = rate_ratio(rate, to)
    n, beside = x.shape[1], round(BESIDE_S * rate / down) * down
    at = np.arange(-beside, n + beside) % (2 * n)
    y = by_scipy(x[:, np.minimum(at, 2 * n - 1 - at)], rate, to, band)
    return y[:, beside * up // down :][:, : -(-n * up // down)]


def by_mne(x: np.ndarray, rate: float, to: float, band: tuple[float, float]) -> np.ndarray:
    """Filter and resample by mne's own functions."""
    y = mne.filter.filter_data(x.astype(float), rate, *band, verbose="error")
    return y if rate == to else mne.filter.resample(y, up=to, down=rate, verbose="error")


def main() -> None:
    """Compare all ways on both inputs."""
    args = timing_options(__doc__, rounds=3)
    ways = {"scipy, same task": by_scipy_continued, "scipy's defaults": by_scipy, "mne's defaults": by_mne}
    rows = []
    for label, (channels, seconds, rate, to, band) in INPUTS.items():
        x = np.random.default_rng(0).standard_normal((channels, round(seconds * rate)), dtype=np.float32)
        calls = {name: partial(way, x, rate, to, band) for name, way in {"ours": band_pass, **ways}.items()}
        times = seconds_in_turns(calls, args.rounds)
        ours = band_pass(x, rate, to, band)
        for name, way in ways.items():
            apart = np.abs(way(x, rate, to, band) - ours).max() / ours.std()
            rows.append(compared(label, name, times, apart))
    publish("band-pass", pd.DataFrame(rows), args.write, f"Medians of {args.rounds} rounds in turns.")


if __name__ == "__main__":
    main()
