"""Sleep-EDF Database Expanded 1.0.0: 153 nights at home (SC) and 44 in hospital (ST).

Source: https://physionet.org/content/sleep-edfx/1.0.0/, doi 10.13026/C2X676, ODC-By 1.0.
Montage: EEG Fpz-Cz and Pz-Oz and horizontal EOG at 100 Hz (brought to the common EEG rate). The EMG is left
out: SC holds its envelope at 1 Hz, ST the signal at 100 Hz.
Labels: stages of Rechtschaffen and Kales as W, N1, N2, N3 (3 and 4 merged), R; `?` and movement are dropped,
and wake beyond 30 minutes before the first or after the last sleep epoch is cut off.
Split: by person: SC4**ss**N, ST7**ss**J (ss person, N/J night). The hypnogram's name differs from the
recording's in its last letters (SC4001E0-PSG.edf, SC4001EC-Hypnogram.edf). A hypnogram without its recording,
or a recording without its hypnogram, goes into quarantine.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.data.base import Dataset, Published, Signal, Task, recording_table
from cldtrans.errors import DataError, listing

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("W", "N1", "N2", "N3", "R")
_STAGE_OF = {
    "Sleep stage W": 0,
    "Sleep stage 1": 1,
    "Sleep stage 2": 2,
    "Sleep stage 3": 3,
    "Sleep stage 4": 3,
    "Sleep stage R": 4,
}
WAKE_MARGIN_S = 1800.0
RATE_HZ = 100.0
_SCORING = re.compile(r"Sleep stage|Movement time")
_NAME = re.compile(r"(?P<night>(?:SC4|ST7)(?P<person>\d\d)\d)(?:..)-(?P<kind>PSG|Hypnogram)\.edf$")


class SleepEdf(Dataset):
    """Whole nights with sleep stages."""

    name = "sleepedf"
    title = "Sleep-EDF"
    slug = "sleep-edfx"
    version = "1.0.0"
    doi = "10.13026/C2X676"
    licence = "ODC-By 1.0"
    modality = "eeg"
    channels = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal")
    task = Task("sleep_stage", "multiclass", STAGES)
    published = Published(
        197, 100, 1980.0, 8.1, 100.0, "landing page; hours after the cut of wake at both ends"
    )

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row a night; `path` or `hypnogram` is empty where that half is missing."""
        nights: dict[tuple[str, str], dict[str, str]] = {}
        for path in self.edf_files(root, "sleep-*/*.edf"):
            match = _NAME.match(path.name)
            if match:
                halves = nights.setdefault((path.parent.name, match["night"]), {})
                halves.setdefault(match["kind"], path.relative_to(root).as_posix())
        ordered = sorted(nights.items())
        return recording_table(
            {
                "recording": [night for (_, night), _ in ordered],
                "subject": [night[:5] for (_, night), _ in ordered],
                "path": [halves.get("PSG", halves.get("Hypnogram", "")) for _, halves in ordered],
                "hypnogram": [halves.get("Hypnogram", "") for _, halves in ordered],
            }
        )

    def read(self, root: Path, row: Any) -> Signal:
        """Read two EEG channels and the EOG, in microvolts; channels at another rate are masked."""
        from cldtrans.data.formats.edf import read_edf

        if row.path.endswith("-Hypnogram.edf"):
            raise DataError(f"{row.path}: a hypnogram without its PSG (expected {row.recording}*-PSG.edf)")
        if not row.hypnogram:
            raise DataError(
                f"{row.path}: a PSG without its hypnogram (expected {row.recording}*-Hypnogram.edf)"
            )
        self._stages(root, row)  # a broken hypnogram is found before hours of signal are read
        recording = read_edf(self.locate(root, row.path))
        place = {label.strip(): position for position, label in reversed(list(enumerate(recording.labels)))}
        found = [place.get(name, -1) for name in self.channels]
        mask = np.array([k >= 0 and recording.rate_hz[k] == RATE_HZ for k in found])
        if not mask.any():
            raise DataError(
                f"{row.path}: no channel of {', '.join(self.channels)} at {RATE_HZ:g} Hz; "
                f"found {listing(recording.labels)}"
            )
        data = recording.microvolts([k for k, valid in zip(found, mask, strict=True) if valid])
        if not mask.all():
            rows = np.zeros((len(mask), data.shape[1]), dtype=np.float32)
            rows[mask] = data
            data = rows
        return Signal(data, RATE_HZ, mask)

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Label each window by the stage in its middle; wake far from sleep and unscored time is dropped."""
        onset_s, end_s, stage = self._stages(root, row)
        middle = start_s + window_s / 2
        position = np.searchsorted(onset_s, middle, side="right") - 1
        inside = (position >= 0) & (middle < end_s[position])
        label = np.where(inside, stage[position], -1).astype(np.int16)
        asleep = stage > 0
        if not asleep.any():
            return {"label": label, "keep": label >= 0}
        first = onset_s[asleep].min() - WAKE_MARGIN_S
        last = end_s[asleep].max() + WAKE_MARGIN_S
        keep = (label >= 0) & (start_s >= first - 1e-6) & (start_s + window_s <= last + 1e-6)
        return {"label": label, "keep": keep}

    def _stages(self, root: Path, row: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        hypnogram = str(self.locate(root, row.hypnogram))
        path = getattr(row, "path", row.hypnogram)
        if path == row.hypnogram:  # a hypnogram without its recording
            return read_hypnogram(hypnogram)
        return read_stages(str(self.locate(root, path)), hypnogram)

    def wanted(self, key: str) -> bool:
        """Return True for recordings, hypnograms and lists; not for the subjects' spreadsheets."""
        return not key.endswith(".xls")

    def subject_of(self, key: str) -> str | None:
        """Return SC4ss or ST7ss."""
        record = self.record_of(key)
        return None if record is None else PurePosixPath(record).name[:5]

    def record_of(self, key: str) -> str | None:
        """Return the night: what the names of PSG and hypnogram share."""
        match = _NAME.match(PurePosixPath(key).name)
        return None if match is None else f"{PurePosixPath(key).parent.as_posix()}/{match['night']}"


@lru_cache(maxsize=4)
def read_stages(psg: str, hypnogram: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `read_hypnogram`, but on the clock of the recording: either file may begin before the other.

    Raises
    ------
    DataError
        Where the stages, so placed, do not meet the recording.
    """
    from cldtrans.data.formats.edf import read_edf

    onset_s, end_s, stage = read_hypnogram(hypnogram)
    night, scored = read_edf(psg), read_edf(hypnogram)
    if night.start is not None and scored.start is not None:
        later_s = (scored.start - night.start).total_seconds()
        onset_s, end_s = onset_s + later_s, end_s + later_s
        if not ((onset_s < night.duration_s) & (end_s > 0)).any():
            raise DataError(
                f"{hypnogram}: begins {later_s:g} s after its recording of {night.duration_s:g} s: no "
                "stage lies inside"
            )
    return onset_s, end_s, stage


@lru_cache(maxsize=4)
def read_hypnogram(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the scored stretches of a night.

    Returns
    -------
    onset_s, end_s : array [n]
        Seconds from the start of the night.
    stage : array [n] of int16
        Position in `STAGES`; -1: unscored, movement.

    Raises
    ------
    DataError
        Where the file holds no sleep stage.
    """
    from cldtrans.data.formats.edf import read_edf

    annotations = sorted(
        (
            event for event in read_edf(path).annotations() if _SCORING.match(event.text)
        ),  # others end no stage
        key=lambda event: event.onset_s,
    )
    if not any(event.text in _STAGE_OF for event in annotations):
        raise DataError(f"{path}: no sleep stage in the hypnogram")
    onset_s = np.array([event.onset_s for event in annotations])
    end_s = onset_s + np.array([event.duration_s for event in annotations])
    return onset_s, end_s, np.array([_STAGE_OF.get(event.text, -1) for event in annotations], dtype=np.int16)
