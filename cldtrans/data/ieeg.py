"""Intracranial EEG in BIDS: `*_ieeg.*` with `_channels.tsv`, `_events.tsv` and maybe `_electrodes.tsv`.

As sets of OpenNeuro come. Which column marks the seizure-onset zone and which events are onsets differs from
set to set, and is said by `marks` in the config. Channels of another type than ECOG, SEEG and DBS are left
out, and so are those whose status is bad, which is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cldtrans.config import IntracranialConfig, MarksConfig
from cldtrans.data.formats.bids_table import read_tsv
from cldtrans.data.intracranial import Intracranial, MarkedRecording, in_zone
from cldtrans.data.recording import open_recording
from cldtrans.errors import DataError, listing

if TYPE_CHECKING:
    import pandas as pd

TYPES = {"ECOG", "SEEG", "DBS"}
SIGNALS = tuple(f"_ieeg.{kind}" for kind in ("edf", "vhdr", "set", "mefd"))


class Ieeg(Intracranial):
    """A BIDS folder, or a part of one."""

    title = "iEEG (BIDS)"
    suffixes = (*SIGNALS, "_channels.tsv", "_electrodes.tsv", "_events.tsv")

    def recordings(
        self, folder: Path, settings: IntracranialConfig, notes: list[str]
    ) -> Iterator[MarkedRecording]:
        """Yield the recordings that have an onset among their events."""
        if settings.marks is None:
            raise DataError(
                f"{folder}: a BIDS set needs zeroshot.intracranial.<name>.marks, which says how onset "
                "and zone are marked; found null"
            )
        for path in self.files(folder):
            if path.name.endswith(SIGNALS):
                try:
                    recording = read_marked(path, settings.marks)
                except DataError as error:
                    notes.append(str(error))
                    continue
                if recording.seizures:
                    yield recording


def read_marked(path: Path, marks: MarksConfig) -> MarkedRecording:
    """Read one recording with what its tables say of it.

    Parameters
    ----------
    path : Path
        Of the signals.
    marks : MarksConfig
        How zone and onsets are marked.

    Raises
    ------
    DataError
        Where a table is missing, or no usable channel is in the zone.
    """
    stem = path.name.rpartition("_ieeg.")[0]
    channels = read_tsv(path.with_name(f"{stem}_channels.tsv"), ("name", "type"))
    events = read_tsv(path.with_name(f"{stem}_events.tsv"), ("onset", "trial_type"))
    recording = open_recording(path)
    status = channels["status"] if "status" in channels else channels["name"].map(lambda _: "good")
    of_brain = channels["type"].str.upper().isin(TYPES)
    bad = channels["name"][of_brain & (status.str.lower() == "bad")].tolist()
    good = channels["name"][of_brain & (status.str.lower() != "bad")].tolist()
    place = {name: row for row, name in enumerate(recording.names)}
    used, absent = [name for name in good if name in place], [name for name in good if name not in place]
    if len(used) < 2:
        raise DataError(
            f"{path}: expected the channels of {stem}_channels.tsv, found {listing(recording.names)}; "
            f"{len(used)} of {len(good)} good ones agree"
        )
    rows = [place[name] for name in used]
    # Depth electrodes beside an ECG pass for an ECG, which is given in millivolts.
    gain = np.array([1e3 if recording.units[row] == "mV" else 1.0 for row in rows], np.float32)[:, None]
    notes = [f"marked as bad, and left out: {', '.join(sorted(bad))}"] if bad else []
    notes += [f"named by its table and not recorded: {', '.join(absent)}"] if absent else []
    zone = in_zone(used, _zone(path, channels, marks), f"{path}: column {marks.zone_column!r}")
    seizures = _seizures(events, marks, f"{stem}_events.tsv")
    return MarkedRecording(
        stem.partition("_")[0], stem, tuple(used), zone, seizures, recording.rate_hz, recording.n_samples,
        lambda first, end: recording.read(first, end)[rows] * gain, recording.breaks, notes,
    )  # fmt: skip


def _zone(path: Path, channels: pd.DataFrame, marks: MarksConfig) -> set[str]:
    """Return the names that the zone's column marks, in the table of channels or of electrodes."""
    tables = [channels]
    entities = set(path.name.split("_")[:-1])
    for file in sorted(path.parent.glob("*_electrodes.tsv")):
        if {part for part in file.name.split("_")[:-1] if not part.startswith("space-")} <= entities:
            tables.append(read_tsv(file, ("name",)))
    for table in tables:
        if marks.zone_column in table:
            return set(table["name"][_holds(table[marks.zone_column], marks.zone_pattern)])
    found = sorted({name for table in tables for name in table})
    raise DataError(
        f"{path}: no column {marks.zone_column!r} in its channels or electrodes, found {', '.join(found)}; "
        "name the one that marks the onset zone in zeroshot.intracranial.<name>.marks.zone_column"
    )


def _seizures(events: pd.DataFrame, marks: MarksConfig, origin: str) -> list[tuple[float, float]]:
    """Return (onset, end) in seconds; the end is infinite where the event's duration says nothing."""
    import pandas as pd

    chosen = events[_holds(events["trial_type"], marks.onset_pattern)]
    onset_s = pd.to_numeric(chosen["onset"], errors="coerce")
    if onset_s.isna().any():
        written = chosen["onset"][onset_s.isna()].iloc[0]
        raise DataError(f"{origin}: an onset should be a number of seconds, found {written or 'n/a'!r}")
    lasts_s = pd.to_numeric(chosen.get("duration", pd.Series("", index=chosen.index)), errors="coerce")
    end_s = onset_s + lasts_s.where(lasts_s > 0, np.inf)
    return sorted(zip(onset_s.tolist(), end_s.tolist(), strict=True))


def _holds(cells: pd.Series, pattern: str) -> pd.Series:
    """Tell which cells hold a pattern, in capitals or not."""
    wanted = re.compile(pattern, re.IGNORECASE)
    return cells.map(lambda cell: wanted.search(cell) is not None).astype(bool)
