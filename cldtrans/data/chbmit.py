"""CHB-MIT Scalp EEG Database 1.0.0: seizures of 22 children and young adults.

Source: https://physionet.org/content/chbmit/1.0.0/, doi 10.13026/C2K01R, Open Data Commons Attribution 1.0.
Montage: bipolar, 256 Hz; here the 18 channels of the double banana. Files differ within a case: dummy
channels named `-`, `T8-P8` twice, ECG and VNS, and a few files (chb12) against a common reference, from which
bipolar channels are derived; what cannot be formed is masked.
Labels: seizure or not, from the onset and end times in `<case>-summary.txt`, which writes
`Seizure Start Time:` where a file has one seizure and `Seizure 1 Start Time:` elsewhere. A window is a
seizure's if it holds at least half of the window's length or half of the seizure, so that every seizure has a
window.
Split: by person. Case chb21 is the girl of chb01, 1.5 years later: one subject.
PhysioNet's RECORDS-WITH-SEIZURES names chb07_18 where the seizure is in chb07_19: the summaries are right.
chb24's summary has no clock times and lists only files with seizures.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.data.base import Dataset, Published, Signal, Task, inside_recording, recording_table
from cldtrans.data.montages.montage import DOUBLE_BANANA, apply_recipe, bipolar_recipe
from cldtrans.errors import DataError, listing

if TYPE_CHECKING:
    import pandas as pd

SEIZURE = Task("seizure", "binary", ("background", "seizure"))
_FILE = re.compile(r"File Name:\s*(\S+)", re.IGNORECASE)
_COUNT = re.compile(r"Number of Seizures in File:\s*(\d+)", re.IGNORECASE)
_TIME = re.compile(r"Seizure\s*\d*\s*(Start|End)\s*Time\s*:\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_SAME_PERSON = {"chb21": "chb01"}


class ChbMit(Dataset):
    """Seizures of children, bipolar."""

    name = "chbmit"
    title = "CHB-MIT"
    slug = "chbmit"
    version = "1.0.0"
    doi = "10.13026/C2K01R"
    licence = "ODC-By 1.0"
    modality = "eeg"
    channels = DOUBLE_BANANA
    task = SEIZURE
    extra_columns = ("case",)
    has_events = True
    published = Published(
        686, 23, 983.0, 42.6, 256.0, "landing page; 23 channels x 256 Hz x 16 bit x 983 h is 39 GiB"
    )

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row an EDF file, with its case."""
        files = self.edf_files(root, "chb*/chb*.edf")
        cases = [path.parent.name for path in files]
        return recording_table(
            {
                "recording": [path.stem for path in files],
                "subject": [_SAME_PERSON.get(case, case) for case in cases],
                "path": [path.relative_to(root).as_posix() for path in files],
                "case": cases,
            }
        )

    def read(self, root: Path, row: Any) -> Signal:
        """Read the 18 bipolar channels, in microvolts."""
        signal = read_double_banana(self.locate(root, row.path))
        if self._summary(root, row.case).is_file():  # without one the seizures are unknown, as `events` says
            inside_recording(self.events(root, row), signal.data.shape[1] / signal.rate_hz, row.path)
        return signal

    def _summary(self, root: Path, case: str) -> Path:
        return self.folder(root) / case / f"{case}-summary.txt"

    def events(self, root: Path, row: Any) -> list[tuple[float, float]]:
        """Read the seizures from the case's summary."""
        summary = self._summary(root, row.case)
        name = PurePosixPath(row.path).name
        found = read_summary(str(summary))
        if name in found:
            return found[name]
        key = f"{row.case}/{name}"
        listed = self.folder(root) / "RECORDS-WITH-SEIZURES"
        if listed.is_file() and key in listed.read_text().split():
            raise DataError(f"{key}: listed as having seizures, but {summary.name} does not say when")
        return []

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Label a seizure's windows 1."""
        return {"label": seizure_labels(self.events(root, row), start_s, window_s)}

    def subject_of(self, key: str) -> str | None:
        """Return the case, with chb21 as chb01; the summary always comes along with the lists."""
        record = self.record_of(key)
        if record is None:
            return None
        case = PurePosixPath(record).parts[0]
        return _SAME_PERSON.get(case, case)

    def wanted(self, key: str) -> bool:
        """Return True for recordings, summaries and lists; binary `.seizures` files repeat the summaries."""
        return key.endswith((".edf", "-summary.txt")) or "/" not in key


@lru_cache(maxsize=64)
def read_summary(path: str) -> dict[str, list[tuple[float, float]]]:
    """Read seizures by file name, (onset, end) in seconds, from `<case>-summary.txt`."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); seizures of this case are unknown"
        ) from None
    return parse_summary(text, path)


def parse_summary(text: str, origin: str = "summary") -> dict[str, list[tuple[float, float]]]:
    """Read a summary's text as `read_summary` does.

    Raises
    ------
    DataError
        Where a file's times and count disagree.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    blocks = re.split(r"(?=File Name:)", text, flags=re.IGNORECASE)
    for block in blocks:
        name = _FILE.search(block)
        if name is None:
            continue
        times = _TIME.findall(block)
        onsets = [float(value) for which, value in times if which.lower() == "start"]
        ends = [float(value) for which, value in times if which.lower() == "end"]
        count = _COUNT.search(block)
        announced = int(count.group(1)) if count else len(onsets)
        if not len(onsets) == len(ends) == announced:
            raise DataError(
                f"{origin}: {name.group(1)}: {announced} seizures announced, {len(onsets)} start and "
                f"{len(ends)} end times found"
            )
        if any(end <= onset for onset, end in zip(onsets, ends, strict=True)):
            raise DataError(f"{origin}: {name.group(1)}: a seizure ends before it begins")
        found.setdefault(name.group(1), []).extend(zip(onsets, ends, strict=True))
    return found


def seizure_labels(events: list[tuple[float, float]], start_s: np.ndarray, window_s: float) -> np.ndarray:
    """Label windows: 1 where a window holds half of its own length, or half of a whole seizure.

    Parameters
    ----------
    events : list of (float, float)
        Seizures: onset and end in seconds.
    start_s : array [n]
        Where the windows begin, in seconds.
    window_s : float
        Their length in seconds.

    Returns
    -------
    array [n] of int16
        0 or 1.
    """
    label = np.zeros(len(start_s), dtype=np.int16)
    for onset, end in events:
        overlap = np.minimum(start_s + window_s, end) - np.maximum(start_s, onset)
        label[overlap >= 0.5 * min(window_s, end - onset)] = 1
    return label


def read_double_banana(path: Path) -> Signal:
    """Read the 18 bipolar channels of an EDF file in microvolts, by name.

    Raises
    ------
    DataError
        Where none of them can be formed.
    """
    from cldtrans.data.formats.edf import read_edf

    recording = read_edf(path)
    recipe = bipolar_recipe(recording.labels, DOUBLE_BANANA)
    used = sorted({k for i, j, _ in recipe if i >= 0 for k in (i, j) if k is not None})
    if not used:
        raise DataError(
            f"{path.name}: none of the 18 bipolar channels can be formed from {listing(recording.labels)}"
        )
    place = {channel: position for position, channel in enumerate(used)}
    data = recording.microvolts(used)
    moved = [(place.get(i, -1), None if j is None else place[j], sign) for i, j, sign in recipe]
    mask = np.array([i >= 0 for i, _, _ in recipe])
    if (
        all(mask)
        and [i for i, _, _ in moved] == list(range(len(data)))
        and all(j is None and sign > 0 for _, j, sign in moved)
    ):
        return Signal(data, float(recording.rate_hz[used[0]]), mask)  # already in place: no second copy
    return Signal(apply_recipe(data, moved), float(recording.rate_hz[used[0]]), mask)
