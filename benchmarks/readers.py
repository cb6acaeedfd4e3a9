"""The EDF and WFDB readers against mne and wfdb: the same samples of the same files, nothing else.

    python benchmarks/readers.py [--rounds 5] [--write]

An EDF file of an hour with 23 channels at 256 Hz, whole and 10 s of it; and WFDB records of 10 s with 12
leads at 500 Hz. Files are in the page cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import wfdb
from preprocess import write_ecgs, write_eegs
from report import compared, publish, seconds_in_turns, timing_options

from cldtrans.data.formats.edf import read_edf
from cldtrans.data.formats.wfdb_reader import read_wfdb

RECORDS = 50


def edf_ours(path: Path, start: int, stop: int) -> np.ndarray:
    """Read an EDF file, [C, T] in microvolts."""
    recording = read_edf(path)
    return recording.microvolts(range(len(recording.labels)), start, stop)


def edf_mne(path: Path, start: int, stop: int) -> np.ndarray:
    """Read the same by mne, from volts."""
    return 1e6 * mne.io.read_raw_edf(path, verbose="error").get_data(start=start, stop=stop)


def wfdb_ours(paths: list[Path]) -> np.ndarray:
    """Read WFDB records, [records, C, T] in millivolts."""
    return np.stack([read_wfdb(path).millivolts() for path in paths])


def wfdb_wfdb(paths: list[Path]) -> np.ndarray:
    """Read the same by wfdb."""
    return np.stack([wfdb.rdrecord(str(path)).p_signal.T for path in paths])


Reader = Callable[..., np.ndarray]


def main() -> None:
    """Compare the readers on files that are written for it."""
    args = timing_options(__doc__, rounds=5)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (edf,), ecgs = write_eegs(Path(folder), 1), write_ecgs(Path(folder), RECORDS)
        jobs: dict[str, tuple[Reader, Reader, str, tuple]] = {
            "EDF, an hour": (edf_ours, edf_mne, "mne", (edf, 0, 3600 * 256)),
            "EDF, 10 s": (edf_ours, edf_mne, "mne", (edf, 10 * 256, 20 * 256)),
            f"WFDB, {RECORDS} records": (wfdb_ours, wfdb_wfdb, "wfdb", (ecgs,)),
        }
        for what, (ours, theirs, library, where) in jobs.items():
            seconds = seconds_in_turns(
                {"ours": partial(ours, *where), library: partial(theirs, *where)}, args.rounds
            )
            expected = theirs(*where)
            apart = np.abs(ours(*where) - expected).max() / expected.std()
            rows.append(compared(what, library, seconds, apart))
    publish("readers", pd.DataFrame(rows), args.write, f"Medians of {args.rounds} rounds in turns.")


if __name__ == "__main__":
    main()
