"""EEG in BIDS, whatever folder: subjects from `participants.tsv`, classes from it or from events.

Settings alone make a dataset of it:

    dataset_classes:
      mine:
        class: "cldtrans.data.bids:BidsDataset"
        settings: {folder: ds0, channels: [C3, C4], label: group, classes: [control, patient]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cldtrans.data.base import Dataset, Signal, Task, recording_table
from cldtrans.data.formats.bids_table import read_tsv
from cldtrans.data.montages.montage import apply_recipe, bipolar_recipe, derivation, electrode
from cldtrans.errors import DataError, listing

if TYPE_CHECKING:
    import pandas as pd

SIGNALS = ("edf", "bdf", "vhdr", "set")
PARTS = ("eeg", "vmrk", "fdt")
"""Endings of files that lie beside a header."""
TABLES = ("participants.tsv", "_channels.tsv", "_events.tsv")
LEAST_COVERED = 0.5
"""Part of a window that an event must cover to be its label."""


class BidsDataset(Dataset):
    """A BIDS folder of EEG.

    Parameters
    ----------
    folder : str
        The dataset's folder inside the folder of raw recordings.
    channels : sequence of str
        The common montage: electrodes, or pairs of them; what a recording lacks is masked.
    label : str, optional
        Column of `participants.tsv` that holds the class of a subject.
    event : str, optional
        Column of `_events.tsv` that holds the class of a stretch; a window is of the class whose events cover
        most of it, and at least half. Events without duration last to the next one.
    classes : sequence of str or mapping, optional
        Values of that column in the order of the classes, or class by value, so that several may be one
        class. Other values are unlabelled.
    task : str, optional
        Only recordings of this BIDS task (`_task-<task>_`).
    modality : one of "eeg", "ecg"
        Of the recordings.
    title : str, optional
        As tables call it.

    Raises
    ------
    TypeError
        For settings that contradict each other.
    """

    name, title, doi, licence = "bids", "BIDS", "", ""

    def __init__(
        self,
        folder: str,
        channels: Sequence[str],
        label: str | None = None,
        event: str | None = None,
        classes: Sequence[str] | Mapping[str, str] | None = None,
        task: str | None = None,
        modality: Literal["eeg", "ecg"] = "eeg",
        title: str | None = None,
    ) -> None:
        if label and event:
            raise TypeError("labels come from participants (label) or from events (event), not both")
        if bool(label or event) != bool(classes):
            raise TypeError("classes are the values of the column label or event: give both or neither")
        place = PurePosixPath(folder)
        self.slug, self.version = place.parent.as_posix(), place.name  # type: ignore[misc]
        self.channels, self.modality = tuple(channels), modality  # type: ignore[misc]
        self.title = title or place.name  # type: ignore[misc]
        self._label, self._event, self._bids_task = label, event, task
        of_value = dict(classes) if isinstance(classes, Mapping) else {str(c): str(c) for c in classes or ()}
        names = tuple(dict.fromkeys(of_value.values()))
        self._class = {str(value).lower(): names.index(name) for value, name in of_value.items()}
        if names:
            kind: Literal["binary", "multiclass"] = "binary" if len(names) == 2 else "multiclass"
            self.task = Task(label or event or "", kind, names)  # type: ignore[misc]

    def recordings(self, root: Path) -> pd.DataFrame:
        """List the files `*_eeg.*` of subjects, each with its row of `participants.tsv`."""
        folder = self.folder(root)
        people = read_tsv(folder / "participants.tsv", ("participant_id",)).set_index("participant_id")
        if self._label is not None and self._label.lower() not in people:
            raise DataError(
                f"{folder / 'participants.tsv'}: no column {self._label!r}; found {listing(list(people))}"
            )
        rows: dict[str, list[Any]] = {"recording": [], "subject": [], "path": [], "problem": [], "value": []}
        for path in sorted(folder.glob("sub-*/**/eeg/*_eeg.*")):
            key = path.relative_to(folder).as_posix()
            if path.suffix[1:].lower() not in SIGNALS or not self.wanted(key):
                continue
            subject = PurePosixPath(key).parts[0]
            known = subject if subject in people.index else subject.removeprefix("sub-")
            listed = known in people.index
            rows["recording"].append(path.name.rpartition("_eeg.")[0])
            rows["subject"].append(subject)
            rows["path"].append(path.relative_to(root).as_posix())
            rows["problem"].append("" if listed else f"{subject} is not in participants.tsv")
            column = None if self._label is None or not listed else people.loc[known, self._label.lower()]
            rows["value"].append("" if column is None else str(column))
        if not rows["recording"]:
            raise DataError(f"{folder}: expected sub-*/eeg/*_eeg.{{{','.join(SIGNALS)}}}, found none")
        return recording_table(rows)

    def read(self, root: Path, row: Any) -> Signal:
        """Read the channels of the montage; those that the table of channels calls bad are masked."""
        from cldtrans.data.recording import open_recording

        path = self.locate(root, row.path)
        recording = open_recording(path)
        table = path.with_name(f"{row.recording}_channels.tsv")
        bad: set[str] = set()
        if table.is_file():
            channels = read_tsv(table, ("name",))
            if "status" in channels:
                bad = set(channels["name"][channels["status"].str.lower() == "bad"])
        names = [name if name not in bad else "" for name in recording.names]
        recipe = [self._recipe(channel, names) for channel in self.channels]
        mask = np.array([i >= 0 for i, _, _ in recipe])
        if not mask.any():
            raise DataError(
                f"{path.name}: none of {listing(self.channels)}, found {listing(recording.names)}"
            )
        volts = 1e3 if self.modality == "eeg" else 1.0
        gain = np.array([volts if unit == "mV" else 1.0 for unit in recording.units], np.float32)[:, None]
        data = recording.read(0, recording.n_samples) * gain
        return Signal(apply_recipe(data, recipe), recording.rate_hz, mask)

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Label windows by their subject, or by the events that cover them."""
        if self.task is None:
            return {}
        if self._event is None:
            value = self._class.get(str(row.value).lower(), -1)
            return {"label": np.full(len(start_s), value, dtype=self.task.dtype)}
        covered = np.zeros((len(start_s), len(self.task.classes)))
        for first, end, value in self._events(root, row):
            if value >= 0:
                overlap = np.minimum(end, start_s + window_s) - np.maximum(first, start_s)
                covered[:, value] += np.clip(overlap, 0.0, None)
        best = covered.argmax(axis=1)
        enough = covered.max(axis=1) >= LEAST_COVERED * window_s
        return {"label": np.where(enough, best, -1).astype(self.task.dtype)}

    def _events(self, root: Path, row: Any) -> list[tuple[float, float, int]]:
        """Return (start, end, class or -1) of all events, seconds."""
        import pandas as pd

        path = self.locate(root, row.path).with_name(f"{row.recording}_events.tsv")
        column = str(self._event).lower()
        events = read_tsv(path, ("onset", column))
        onset = pd.to_numeric(events["onset"], errors="coerce")
        if onset.isna().any():
            raise DataError(
                f"{path}: an onset should be a number of seconds, found {events['onset'].iloc[0]!r}"
            )
        order = np.argsort(onset.to_numpy(), kind="stable")
        first = onset.to_numpy()[order]
        lasts = pd.to_numeric(events.get("duration", pd.Series("", index=events.index)), errors="coerce")
        until = np.append(first[1:], np.inf)
        duration = lasts.to_numpy(dtype=float)[order]
        end = np.where(duration > 0, first + np.nan_to_num(duration), until)
        values = [self._class.get(value.lower(), -1) for value in events[column].iloc[order]]
        return list(zip(first.tolist(), end.tolist(), values, strict=True))

    def wanted(self, key: str) -> bool:
        """Tell whether the file is a recording of the task, a part of one, or a table about it."""
        if key == "participants.tsv":
            return True
        path = PurePosixPath(key)
        known = path.name.endswith(TABLES[1:]) or path.suffix[1:].lower() in (*SIGNALS, *PARTS)
        of_task = self._bids_task is None or f"_task-{self._bids_task}_" in path.name
        return known and of_task and "eeg" in path.parts and key.startswith("sub-")

    def record_of(self, key: str) -> str | None:
        """Return the recording's name without its last part; None for the table of participants."""
        if "/" not in key:
            return None
        return re.sub(r"_(eeg\.\w+|channels\.tsv|events\.tsv)$", "", key)

    def _recipe(self, channel: str, names: Sequence[str]) -> tuple[int, int | None, float]:
        """Find a channel of the montage in a recording: a pair, an electrode, or the very name."""
        if channel in names:
            return names.index(channel), None, 1.0
        if "-" in channel:
            return bipolar_recipe(names, [channel])[0]
        plain = [electrode((derivation(name) or (name, ""))[0]) for name in names]
        wanted = electrode(channel)
        return (plain.index(wanted), None, 1.0) if wanted in plain else (-1, None, 0.0)
