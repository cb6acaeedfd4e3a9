"""Intracranial recordings whose seizure-onset zone clinicians have marked, and the seizures in them.

They lie in a folder that the user names, and have channels of their own in every patient: there are no shards
of a common montage, a seizure's windows are cut when it is scored. As in a corpus, windows count from the
onset; the background are windows before it. A recording that cannot be used is a line of the result's notes.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from cldtrans.config import IntracranialConfig
from cldtrans.errors import DataError, suggestion

READERS = {
    "ecog": "cldtrans.data.ecog:Ecog",
    "ieeg": "cldtrans.data.ieeg:Ieeg",
}
"""A set's reader, by its name up to the first hyphen: `ieeg-children` is read as `ieeg` is."""
BEFORE_S = 300.0
"""Background comes from so many seconds before the onset, at most."""


@dataclass(frozen=True)
class MarkedRecording:
    """One recording, with what clinicians said of it.

    Attributes
    ----------
    subject, name : str
        Whose, and what it is called.
    channels : tuple of str
        Names of the C channels that are used.
    zone : frozenset of int
        Those in the seizure-onset zone.
    seizures : list of (float, float)
        Onset and end in seconds from the recording's start, by onset; the end is infinite where nobody says.
    rate_hz : float
        As recorded, hertz.
    n_samples : int
        Length.
    read : callable
        (first, last + 1) in samples -> array [C, T] of float32 in microvolts; NaN where nothing was recorded.
    breaks : list of int
        Samples before which something was taken out.
    notes : list of str
        What was left out, a line each.
    """

    subject: str
    name: str
    channels: tuple[str, ...]
    zone: frozenset[int]
    seizures: list[tuple[float, float]]
    rate_hz: float
    n_samples: int
    read: Callable[[int, int], np.ndarray]
    breaks: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ZoneSeizure:
    """One seizure of a marked recording, filtered and cut.

    Attributes
    ----------
    subject, recording : str
        Whose, and in which recording.
    number : int
        Of the seizure within the recording, from 1.
    channels : tuple of str
        Names of the C channels.
    zone : frozenset of int
        Those in the seizure-onset zone.
    x : array [N, C, T] of float32
        Windows from the onset on, channels standardised over all windows here.
    background : array [K, C, T] of float32
        Windows before the onset, in the unit of x; K may be 0.
    mask : array [N, C] of bool
        False where a channel is flat or has gaps.
    """

    subject: str
    recording: str
    number: int
    channels: tuple[str, ...]
    zone: frozenset[int]
    x: np.ndarray
    background: np.ndarray
    mask: np.ndarray


class Intracranial(ABC):
    """A kind of folder that marked recordings come in.

    Attributes
    ----------
    title : str
        As tables and figures call it.
    suffixes : tuple of str
        Files that it reads end so.
    """

    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def files(self, folder: Path) -> list[Path]:
        """Return every file that may be read, ordered by path; none where the folder is absent."""
        found = (path for suffix in self.suffixes for path in folder.rglob(f"*{suffix}"))
        return sorted(found, key=lambda path: path.as_posix())

    @abstractmethod
    def recordings(
        self, folder: Path, settings: IntracranialConfig, notes: list[str]
    ) -> Iterator[MarkedRecording]:
        """Yield the recordings with a seizure in a folder that exists.

        Parameters
        ----------
        folder : Path
            Where they lie.
        settings : IntracranialConfig
            The set's section of the config.
        notes : list of str
            Gets a line for each recording that cannot be used.
        """


def get_reader(name: str) -> Intracranial:
    """Return the reader of a set of that name."""
    kind = name.partition("-")[0]
    if kind not in READERS:
        raise DataError(
            f"zeroshot.intracranial: no reader for {name!r}; its name up to the first hyphen should be one "
            f"of {', '.join(READERS)}{suggestion(kind, READERS)}"
        )
    module, _, cls = READERS[kind].partition(":")
    return getattr(importlib.import_module(module), cls)()


class ZoneSet:
    """The seizures of one set, as a cell scores them.

    Parameters
    ----------
    name : str
        The set's, in `zeroshot.intracranial`.
    settings : IntracranialConfig
        Its section there.

    Attributes
    ----------
    seizures : list of ZoneSeizure
        Ordered by recording and onset.
    notes : list of str
        What was left out, a line each.
    reason : str or None
        Why there is nothing here.
    """

    modality = "eeg"

    def __init__(self, name: str, settings: IntracranialConfig) -> None:
        self.rate_hz = settings.rate_hz
        self.seizures: list[ZoneSeizure] = []
        self.notes: list[str] = []
        self.reason: str | None = None
        reader, where = get_reader(name), f"zeroshot.intracranial.{name}.folder"
        if settings.folder is None:
            self.reason = f"no recordings supplied ({where} is null)"
            return
        folder = Path(settings.folder).expanduser()
        if not folder.is_dir():
            self.reason = f"{folder}: no such folder; correct {where}, or set it to null"
            return
        for recording in reader.recordings(folder, settings, self.notes):
            self.notes += [f"{recording.name}: {note}" for note in recording.notes]
            for number in range(len(recording.seizures)):
                try:
                    self.seizures.append(cut(recording, number, settings))
                except DataError as error:
                    self.notes.append(str(error))
        if not self.seizures:
            why = self.notes[-1] if self.notes else f"expected files that end in {', '.join(reader.suffixes)}"
            self.reason = f"{folder}: no usable seizure ({why})"

    @property
    def fingerprint(self) -> str:
        """sha256 over windows, channels and zones."""
        digest = hashlib.sha256()
        for one in self.seizures:
            about = (one.subject, one.recording, one.number, one.channels, sorted(one.zone))
            digest.update(repr(about).encode())
            for array in (one.x, one.background, one.mask):
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def cut(recording: MarkedRecording, number: int, settings: IntracranialConfig) -> ZoneSeizure:
    """Filter what surrounds one onset, and cut it into windows.

    Parameters
    ----------
    recording : MarkedRecording
        With the seizure.
    number : int
        Of the seizure, from 0.
    settings : IntracranialConfig
        The set's section of the config.

    Raises
    ------
    DataError
        Where no window holds the onset, or no channel of the zone is left.
    """
    from cldtrans.data.quality import assess, fill_gaps
    from cldtrans.data.zero_phase import band_pass

    origin, window_s = f"{recording.name}, seizure {number + 1}", settings.window_s
    onset_s, end_s = recording.seizures[number]
    earlier = [end for _, end in recording.seizures[:number]]
    count = sum(k == 0 or onset_s + k * window_s < end_s for k in range(settings.onset_windows))
    begin_s = max([0.0, onset_s - BEFORE_S, *(end for end in earlier if end < onset_s)])
    first = math.ceil(begin_s * recording.rate_hz)
    last = min(recording.n_samples, round((onset_s + count * window_s) * recording.rate_hz))
    raw = recording.read(first, last)
    y = band_pass(fill_gaps(raw[None]), recording.rate_hz, settings.rate_hz, settings.band_hz)[0]
    width = round(window_s * settings.rate_hz)
    onset = round((onset_s - first / recording.rate_hz) * settings.rate_hz)
    ictal = [onset + k * width for k in range(count) if onset >= 0 and onset + (k + 1) * width <= y.shape[1]]
    quiet = [] if any(end >= onset_s for end in earlier) else list(range(onset % width, onset, width))
    breaks = [(sample - first) * settings.rate_hz / recording.rate_hz for sample in recording.breaks]

    def whole(start: int) -> bool:
        return not any(start < at < start + width for at in breaks)

    ictal, quiet = [a for a in ictal if whole(a)], [a for a in quiet if whole(a)]
    if not ictal or ictal[0] != onset:
        raise DataError(
            f"{origin}: expected {window_s:g} s in one piece from the onset at {onset_s:g} s, found "
            f"{recording.n_samples / recording.rate_hz:g} s recorded; shorten window_s or correct the events"
        )
    starts = [*ictal, *quiet]
    ratio = recording.rate_hz / settings.rate_hz
    spans = [(round(a * ratio), min(round((a + width) * ratio), raw.shape[1])) for a in starts]
    present = np.ones((1, len(recording.channels)), dtype=bool)
    quality = assess(raw[None], present, spans, recording.rate_hz, ZoneSet.modality)
    valid = ~(quality.flat | quality.nan)[0]
    mask, sound = valid[: len(ictal)], valid[len(ictal) :].all(axis=1)
    if not mask[:, sorted(recording.zone)].any():
        raise DataError(f"{origin}: every channel of the onset zone is flat or has gaps")
    windows = np.stack([y[:, a : a + width] for a in starts])
    windows = windows[np.r_[np.ones(len(ictal), dtype=bool), sound]]
    windows -= windows.mean(axis=(0, 2), keepdims=True)
    deviation = windows.std(axis=(0, 2), keepdims=True)
    windows = (windows / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
    windows[: len(ictal)] *= mask[..., None]
    return ZoneSeizure(
        recording.subject, recording.name, number + 1, recording.channels, recording.zone,
        windows[: len(ictal)], windows[len(ictal) :], mask,
    )  # fmt: skip


def in_zone(channels: Sequence[str], named: set[str], origin: str) -> frozenset[int]:
    """Return the positions of the zone's channels.

    Raises
    ------
    DataError
        Where none of them is among the channels.
    """
    zone = frozenset(position for position, name in enumerate(channels) if name in named)
    if not zone:
        among = ", ".join(sorted(named)) or "no channel"
        raise DataError(
            f"{origin}: the onset zone holds {among}, and none of the {len(channels)} used channels"
        )
    return zone
