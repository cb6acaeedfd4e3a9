"""Preprocessing against opening and slicing the file once per window, with mne and wfdb.

    python benchmarks/preprocess.py [--files 4] [--ecgs 4000] [--probe 60] [--write]

Both sides make z-scored windows of 10 s: 18 channels at 160 Hz, 0.5-40 Hz, from EDF files of an hour with 23
channels at 256 Hz; 12 leads at 500 Hz, 0.05-150 Hz, from WFDB records of 10 s. Ours is compared with

- "same windows": per window open the file, read it (EDF with 12 s on both sides, because the filter needs
  them; a WFDB record continued evenly by 40 s, as ours is), sosfiltfilt, resample_poly, cut, z-score. These
  windows must equal ours, so both sides do the same job; less margin gives other windows.
- "library defaults": mne's own crop, filter and resample per window; wfdb's rdrecord and scipy's sosfiltfilt
  as it comes. Less work, but the windows ring at their edges: the last column says by how much.
- "read only": open the file and read the window, nothing else.

Ours contains everything from listing the recordings to the finished index. Ratios are given for wall-clock
and for CPU time (all threads), which other jobs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import mne
import numpy as np
import pandas as pd
import scipy.signal
import wfdb
from report import add_write_option, publish

from cldtrans.config import DatasetConfig
from cldtrans.data import get_dataset
from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.data.miniature.wfdb_writer import write_record
from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.data.preprocess import preprocess_batch
from cldtrans.data.shards import ShardSet, merge_parts

EEG, ECG = (0.5, 40.0), (0.05, 150.0)
EXTRA = ("P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "EKG")
LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
MARGIN_S = 12
BAR = 20


def coloured(rng: np.random.Generator, n_channels: int, n_samples: int, sample_rate: float) -> np.ndarray:
    """Draw [C, T] of unit deviation with a spectrum that falls as 1/f."""
    spectrum = np.fft.rfft(rng.standard_normal((n_channels, n_samples)))
    spectrum /= np.maximum(np.fft.rfftfreq(n_samples, 1 / sample_rate), 0.3)
    x = np.fft.irfft(spectrum, n_samples)
    return x / x.std(axis=1, keepdims=True)


def write_eegs(root: Path, n: int) -> list[Path]:
    """Write a CHB-MIT with n recordings of an hour."""
    labels = (*DOUBLE_BANANA, *EXTRA)
    folder = root / "chbmit/1.0.0/chb01"
    paths = []
    for k in range(n):
        data = 40 * coloured(np.random.default_rng(k), len(labels), 3600 * 256, 256)
        signals = [EdfSignal(label, row, 256, (-800, 800)) for label, row in zip(labels, data, strict=True)]
        paths.append(folder / f"chb01_{k + 1:02d}.edf")
        write_edf(paths[-1], signals)
    lines = [f"File Name: {path.name}\nNumber of Seizures in File: 0\n" for path in paths]
    (folder / "chb01-summary.txt").write_text("\n".join(lines))
    return paths


def write_ecgs(root: Path, n: int) -> list[Path]:
    """Write a MIMIC-IV-ECG with n records."""
    rng = np.random.default_rng(1)
    folder = root / "mimic-iv-ecg/1.0"
    paths = []
    for k in range(n):
        path = folder / f"files/p1000/p1000{k:04d}/s4000{k:04d}/4000{k:04d}"
        write_record(path, np.rint(200 * coloured(rng, 12, 5000, 500)).astype(int), LEADS, 500, 200.0)
        paths.append(path)
    rows = [f"1000{k:04d},4000{k:04d},{p.relative_to(folder)}" for k, p in enumerate(paths)]
    (folder / "record_list.csv").write_text("\n".join(["subject_id,study_id,path", *rows]) + "\n")
    return paths


def ours(name: str, root: Path, out: Path, sample_rate: float, band_hz: tuple[float, float]) -> ShardSet:
    """Run the pipeline's own step, one job."""
    settings = DatasetConfig(
        window_s=10, stride_s=10, rate_hz=sample_rate, band_hz=band_hz, scale="window", dtype="float16",
        shards=1, batches=1, onset_windows=0, subjects=None, records=None, glob=None,
    )  # fmt: skip
    dataset = get_dataset(name)
    preprocess_batch(dataset, root, settings, 0, out, {"status": "ok"}, progress=False)
    merge_parts(dataset, settings, out)
    return ShardSet(out)


def z_score(x: np.ndarray) -> np.ndarray:
    """Standardise each channel over the window [C, T]."""
    return (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)


def eeg_same(path: Path, k: int) -> np.ndarray:
    """Make window k, equal to ours."""
    raw = mne.io.read_raw_edf(path, verbose="error")
    first, last = max(0, (10 * k - MARGIN_S) * 256), min(raw.n_times, (10 * k + 10 + MARGIN_S) * 256)
    x = raw.get_data(picks=list(DOUBLE_BANANA), start=first, stop=last)
    sos = scipy.signal.butter(4, EEG, "bandpass", fs=256, output="sos")
    y = scipy.signal.resample_poly(scipy.signal.sosfiltfilt(sos, x), 5, 8, axis=-1)
    begin = 1600 * k - first * 5 // 8
    return z_score(y[:, begin : begin + 1600])


def eeg_default(path: Path, k: int) -> np.ndarray:
    """Make window k as mne's own calls do."""
    raw = mne.io.read_raw_edf(path, verbose="error").pick(list(DOUBLE_BANANA))
    raw.crop(10 * k, 10 * k + 10, include_tmax=False).load_data(verbose="error")
    raw.filter(*EEG, verbose="error").resample(160, verbose="error")
    return z_score(raw.get_data())


def eeg_read(path: Path, k: int) -> np.ndarray:
    """Read window k unprocessed."""
    raw = mne.io.read_raw_edf(path, verbose="error")
    return raw.get_data(start=2560 * k, stop=2560 * (k + 1))


def ecg_same(path: Path) -> np.ndarray:
    """Make a record, equal to ours: the filter sees it continued evenly for 40 s on both sides."""
    x = wfdb.rdrecord(str(path)).p_signal.T
    sos = scipy.signal.butter(4, ECG, "bandpass", fs=500, output="sos")
    padded = np.pad(x, ((0, 0), (20_000, 20_000)), mode="symmetric")
    return z_score(scipy.signal.sosfiltfilt(sos, padded)[:, 20_000:-20_000])


def ecg_default(path: Path) -> np.ndarray:
    """Make a record as scipy's defaults do."""
    x = wfdb.rdrecord(str(path)).p_signal.T
    sos = scipy.signal.butter(4, ECG, "bandpass", fs=500, output="sos")
    return z_score(scipy.signal.sosfiltfilt(sos, x))


def ecg_read(path: Path) -> np.ndarray:
    """Read a record unprocessed."""
    return wfdb.rdrecord(str(path)).p_signal


def cost(function: Callable[[], object]) -> np.ndarray:
    """Return wall-clock and CPU seconds of a call."""
    began = np.array([time.perf_counter(), time.process_time()])
    function()
    return np.array([time.perf_counter(), time.process_time()]) - began


def compare(
    what: str,
    run: Callable[[Path], ShardSet],
    rivals: dict[str, Callable[[int], np.ndarray]],
    probe: int,
    folder: Path,
) -> list[dict[str, str]]:
    """Return rows of the table."""
    shards = run(folder / "kept")
    costs = []
    for _ in range(3):
        costs.append(cost(lambda: run(folder / "again")))
        shutil.rmtree(folder / "again")  # or the system's memory fills with pages to be written
    ours_s = np.min(costs, axis=0) / len(shards)
    table = []
    rows = np.linspace(1, len(shards) - 2, probe).astype(int)
    for name, rival in rivals.items():
        rival(1)
        rival_s = np.median([cost(partial(rival, int(k))) for k in rows], axis=0)
        difference = ""
        if name != "read only":
            worst = [np.abs(rival(int(k)) - shards.windows(np.array([k]))[0]).max() for k in rows[:20]]
            difference = f"{np.median(worst):.3f}"
        wall, cpu = rival_s / ours_s
        verdict = "" if name == "read only" else "yes" if wall >= BAR else "no"
        table.append(
            {
                "input": what,
                "against": name,
                "its windows/s": f"{1 / rival_s[0]:.0f}",
                "ours": f"{1 / ours_s[0]:.0f}",
                "ratio": f"{wall:.1f}",
                "of CPU": f"{cpu:.1f}",
                f">= {BAR}": verdict,
                "largest difference (deviations)": difference,
            }
        )
    return table


def main() -> None:
    """Write both corpora to a temporary folder and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=4, help="number of EDF recordings of an hour")
    parser.add_argument("--ecgs", type=int, default=4000, help="number of WFDB records")
    parser.add_argument("--probe", type=int, default=60, help="windows that the slow side makes")
    add_write_option(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "raw", Path(folder) / "out"
        edfs, ecgs = write_eegs(root, args.files), write_ecgs(root, args.ecgs)
        rows = compare(
            f"EDF, {args.files} h, 23 channels",
            lambda folder: ours("chbmit", root, folder, 160, EEG),
            {
                "same windows": lambda k: eeg_same(edfs[k // 360], k % 360),
                "library defaults": lambda k: eeg_default(edfs[k // 360], k % 360),
                "read only": lambda k: eeg_read(edfs[k // 360], k % 360),
            },
            args.probe,
            out / "eeg",
        )
        rows += compare(
            f"WFDB, {args.ecgs} records of 10 s, 12 leads",
            lambda folder: ours("mimic_ecg", root, folder, 500, ECG),
            {
                "same windows": lambda k: ecg_same(ecgs[k])[[0, 1, 2, 3, 5, 4, *range(6, 12)]],
                "library defaults": lambda k: ecg_default(ecgs[k]),
                "read only": lambda k: ecg_read(ecgs[k]),
            },
            args.probe,
            out / "ecg",
        )
    publish("preprocess", pd.DataFrame(rows), args.write)


if __name__ == "__main__":
    main()
