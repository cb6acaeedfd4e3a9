"""The interface of a dataset: which recordings there are, how to read one, what is known of its windows.

Paths: `root` is the folder of raw recordings (``cfg.raw``); `path` in the table of recordings is relative to
it; a *key* is a file's name within the dataset's own folder, as in its ``SHA256SUMS.txt``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from cldtrans.config import Config
from cldtrans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Signal:
    """One recording in physical units.

    Attributes
    ----------
    data : array [C, T] of float32
        Microvolts (EEG) or millivolts (ECG), rows in the order of `Dataset.channels`; NaN where nothing
        was recorded.
    rate_hz : float
        Sampling rate as recorded, hertz.
    mask : array [C] of bool
        False where the recording lacks the channel (its row is zero and never used).
    """

    data: np.ndarray
    rate_hz: float
    mask: np.ndarray


SEVERAL = ("multilabel", "regression", "time_to_event")
"""Kinds of tasks that have several label columns, `[n, ...]`; the others have one, `[n]`."""


@dataclass(frozen=True)
class Task:
    """What the labels mean: a class index (binary, multiclass), one 0/1 a class (multilabel), numbers.

    Attributes
    ----------
    name : str
        What is asked.
    kind : one of "binary", "multiclass", "multilabel", "regression", "time_to_event"
        How many of the classes a window may have; or that each of them is a number; or that an event follows,
        unless follow-up ends before it.
    classes : tuple of str
        Their names, in the order in which they are counted; of a regression, what the numbers are; of a time
        to an event, seconds until which it may have happened, rising, as decimal numbers (`time_to_event`
        makes them).
    of_subjects : bool
        The numbers of a regression are a subject's, the same in all windows: predictions are averaged over
        them, and every subject counts once.
    horizons_s : tuple of float
        Of a time to an event: those of its times that are reported by themselves.
    """

    name: str
    kind: Literal["binary", "multiclass", "multilabel", "regression", "time_to_event"]
    classes: tuple[str, ...]
    of_subjects: bool = False
    horizons_s: tuple[float, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Label columns of the index; -1 stands for unlabelled, NaN where a label is a number."""
        if self.kind == "time_to_event":
            return ("time_s", "event")
        if self.kind in SEVERAL:
            return tuple(f"label_{name}" for name in self.classes)
        return ("label",)

    @property
    def dtype(self) -> str:
        """Type of the label columns: of integers, but for numbers and times."""
        if self.kind == "regression":
            return "float32"
        if self.kind == "time_to_event":
            return "float64"
        return "int8" if self.kind == "multilabel" else "int16"


INTERVALS = 16
"""Into which the time to the last horizon is divided, beside the horizons themselves."""


def time_to_event(name: str, horizons_s: Sequence[float]) -> Task:
    """Return the task of a time to an event.

    Parameters
    ----------
    name : str
        Of the event.
    horizons_s : sequence of float
        Times in seconds by which probabilities are reported; nothing is asked beyond the last.
    """
    if not horizons_s or min(horizons_s) <= 0:
        raise ValueError(f"horizons of {name}: expected seconds above zero, found {list(horizons_s)}")
    horizons = tuple(sorted(map(float, horizons_s)))
    even = (horizons[-1] * (k + 1) / INTERVALS for k in range(INTERVALS))
    classes = tuple(f"{time:.12g}" for time in sorted({*even, *horizons}))
    return Task(name, "time_to_event", classes, horizons_s=horizons)


@dataclass(frozen=True)
class Published:
    """Size of a whole corpus as published, for estimates before anything is downloaded.

    Attributes
    ----------
    recordings, subjects : int
        Their numbers.
    hours : float
        Of signal that becomes windows.
    size_gib : float
        Of the files that the pipeline uses.
    rate_hz : float
        Sampling rate as recorded, hertz.
    source : str
        Where the numbers come from.
    """

    recordings: int
    subjects: int
    hours: float
    size_gib: float
    rate_hz: float
    source: str


class Dataset(ABC):
    """One corpus. Reading never downloads, and nothing is known about the corpus that is not in its files.

    Attributes
    ----------
    name : str
        Module name.
    title : str
        As tables and figures call it.
    slug, version : str
        PhysioNet's name and version of it.
    doi, licence : str
        Of the corpus.
    modality : one of "eeg", "ecg"
        Of the recordings.
    channels : tuple of str
        The common montage, by name.
    task : Task or None
        What the labels mean; None where there are none.
    extra_columns : tuple of str
        Columns of `recordings` that the index repeats.
    has_events : bool
        Whether `events` may answer anything.
    focal_truth : one of "annotation", "region"
        What is known of where its seizures begin: a table of channels that the user supplies, or lobe and
        side.
    window_columns : tuple of str
        What `label_windows` says of each window beside its labels, numbers that the index repeats: known
        without the signal, so that a floor may see them.
    places_windows : bool
        Whether `window_starts` says where windows begin; else they follow each other on a grid.
    normal_class : str or None
        The class of the task that stands for nothing abnormal; None where there is none.
    training_folds : collection of int or None
        Official folds that pretraining may see; None: all.
    published : Published or None
        Size of the whole corpus, for estimates.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    slug: ClassVar[str]
    version: ClassVar[str]
    doi: ClassVar[str]
    licence: ClassVar[str]
    modality: ClassVar[Literal["eeg", "ecg"]]
    channels: ClassVar[tuple[str, ...]]
    task: ClassVar[Task | None] = None
    extra_columns: ClassVar[tuple[str, ...]] = ()
    has_events: ClassVar[bool] = False
    focal_truth: ClassVar[Literal["annotation", "region"]] = "annotation"
    normal_class: ClassVar[str | None] = None
    training_folds: ClassVar[Collection[int] | None] = None
    window_columns: ClassVar[tuple[str, ...]] = ()
    places_windows: ClassVar[bool] = False
    published: ClassVar[Published | None] = None

    def folder(self, root: Path) -> Path:
        """Return where the dataset's files lie."""
        return Path(root) / self.slug / self.version

    @abstractmethod
    def recordings(self, root: Path) -> pd.DataFrame:
        """List the recordings from lists and tables, never from signals.

        Parameters
        ----------
        root : Path
            Folder of raw recordings.

        Returns
        -------
        DataFrame
            One row a recording, ordered by path: recording (unique), subject, path, fold (0: none), and
            more. `subject` is the person: everything is split by it.
        """

    @abstractmethod
    def read(self, root: Path, row: Any) -> Signal:
        """Read the signals of one recording.

        Parameters
        ----------
        root : Path
            Folder of raw recordings.
        row : named tuple
            One row of `recordings`.

        Raises
        ------
        DataError
            Where it cannot be used: this puts the recording into quarantine.
        """

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Label windows of one recording.

        Parameters
        ----------
        root : Path
            Folder of raw recordings.
        row : named tuple
            One row of `recordings`.
        start_s : array [n]
            Where the windows begin, in seconds from the recording's start.
        window_s : float
            Their length in seconds.

        Returns
        -------
        dict of arrays [n]
            One for every column of `task` and of `window_columns`. A further key `keep` (bool) may say which
            windows to use at all, e.g. scored sleep epochs.
        """
        return {}

    def window_starts(self, root: Path, row: Any, window_s: float) -> np.ndarray:
        """Return where the windows of a recording begin, [n], in seconds from its start."""
        raise NotImplementedError(f"{self.name} places its windows on a grid")

    def events(self, root: Path, row: Any) -> list[tuple[float, float]]:
        """Return the seizures of a recording: (onset, end) in seconds from its start."""
        return []

    def split(self, subjects: pd.DataFrame, seed: int) -> pd.Series:
        """Divide the subjects; by default into seeded folds that share out the classes.

        Parameters
        ----------
        subjects : DataFrame
            Indexed by subject; columns n (windows), fold, and `n_<class>` (windows of each class).
        seed : int
            Of the folds.

        Returns
        -------
        Series of str
            "train", "val" or "test" by subject.
        """
        from cldtrans.data.folds import subject_folds

        return subject_folds(subjects, seed)

    # What a download needs; keys as in SHA256SUMS.txt.

    def wanted(self, key: str) -> bool:
        """Tell whether the pipeline uses the file."""
        return True

    def subject_of(self, key: str) -> str | None:
        """Return who the file belongs to; None for a list or table, which is always needed."""
        record = self.record_of(key)
        return None if record is None else PurePosixPath(record).parts[0]

    def record_of(self, key: str) -> str | None:
        """Return what the files of one recording have in common; None for a list or table."""
        return key if key.endswith(".edf") else None

    # For implementations.

    def edf_files(self, root: Path, pattern: str) -> list[Path]:
        """Return the EDF files in the dataset's folder, ordered by path."""
        folder = self.folder(root)
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; run the download of {self.name} first")
        return sorted(folder.glob(pattern), key=lambda path: path.as_posix())

    def locate(self, root: Path, path: str) -> Path:
        """Return the absolute place of a `path`.

        Raises
        ------
        DataError
            For a path that leaves the folder: names from tables are untrusted.
        """
        if path.startswith("/") or ".." in path.split("/") or "\\" in path:
            raise DataError(f"{path}: a path outside the dataset's folder; it is not followed")
        return Path(root, path)


def raw_folder(config: Config) -> Path:
    """Return where the raw recordings lie; `~` is the home folder of whoever runs the job."""
    return Path(config.raw).expanduser()


def scratch_folder(config: Config) -> Path:
    """Return where a run's rolling checkpoints lie."""
    if config.scratch is None:
        return Path("data", config.run, "scratch")
    return Path(config.scratch).expanduser() / config.run


def inside_recording(events: list[tuple[float, float]], duration_s: float, origin: str) -> None:
    """Check that seizures, (onset, end) in seconds, lie inside a recording.

    Raises
    ------
    DataError
        For one that does not: its times belong to another file, or the file was cut, so that labels of all
        windows are in doubt.
    """
    for onset, end in events:
        if onset < 0 or end > duration_s + 1.0:
            raise DataError(
                f"{origin}: a seizure from {onset:g} to {end:g} s lies outside the recording of "
                f"{duration_s:g} s"
            )


def read_table(
    path: Path, columns: Sequence[str], dtypes: dict[str, Any] | None = None, separator: str = ","
) -> pd.DataFrame:
    """Read a table's columns; a missing one is named.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of str
        Those wanted, in the order wanted.
    dtypes : dict, optional
        Types by column.
    separator : str
        Between cells.

    Raises
    ------
    DataError
        Where the file is absent, is no table, or lacks a column.
    """
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path}: no such file; run the download first")
    try:
        header = pd.read_csv(path, sep=separator, nrows=0, skipinitialspace=True)
        names = {str(name).strip().lower(): name for name in header.columns}
        missing = [name for name in columns if name.lower() not in names]
        if missing:
            raise DataError(
                f"{path}: missing column {', '.join(map(repr, missing))}; found {', '.join(map(str, names))}"
            )
        found = {names[name.lower()]: name for name in columns}
        types = {source: (dtypes or {}).get(name, "str") for source, name in found.items()}
        table = pd.read_csv(path, sep=separator, usecols=list(found), dtype=types, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a table: {' '.join(str(error).split())}") from None
    return table.rename(columns=found)[list(columns)]


def recording_table(rows: dict[str, Any]) -> pd.DataFrame:
    """Make a table of recordings, ordered by path, with fold 0 unless given.

    Parameters
    ----------
    rows : dict
        Columns: recording, subject, path, and more; `problem`, where given, says in a line what is wrong
        with a row, "" where nothing is.

    Returns
    -------
    DataFrame
        With a column `problem`: also of rows without a name, a person or a path, and of all but the first
        of one name. Such a row is put into quarantine instead of being read, and the rest goes on.
    """
    import pandas as pd

    table = pd.DataFrame(rows)
    problem = table["problem"].astype("str") if "problem" in table else pd.Series("", index=table.index)
    for column in ("recording", "subject", "path"):
        empty = table[column].isna() | (table[column].astype("str").str.strip() == "")
        problem = problem.mask(empty & (problem == ""), f"{column}: expected a name, found an empty cell")
        table[column] = table[column].astype("str").mask(empty, "")
    table["problem"] = problem
    if "fold" not in table:
        table["fold"] = 0
    if not table["path"].is_monotonic_increasing:
        table = table.sort_values("path", kind="stable", ignore_index=True)
    repeated = table["recording"].duplicated() & (table["problem"] == "")
    table["problem"] = table["problem"].mask(repeated, "recording: this name occurs earlier in the tables")
    return table


def select_recordings(
    table: pd.DataFrame,
    folder: str,
    subjects: int | None,
    records: int | None,
    glob: Collection[str] | None,
) -> pd.DataFrame:
    """Take the configured subset, as the download chooses it: patterns, first N subjects, first N recordings.

    First means by path.

    Parameters
    ----------
    table : DataFrame
        As from `Dataset.recordings`.
    folder : str
        The dataset's ``slug/version``, which is taken off the paths.
    subjects, records : int or None
        How many of each; None: all.
    glob : collection of str or None
        Patterns, matched against the keys of the recording's files; None: all.
    """
    if glob is not None:
        patterns = [re.compile(translate(pattern)) for pattern in glob]
        keys = table["path"].str.removeprefix(f"{folder}/")
        kept = [
            any(p.match(key) or p.match(f"{key}.hea") or p.match(f"{key}.dat") for p in patterns)
            for key in keys
        ]
        table = table[np.array(kept, dtype=bool)]
    if subjects is not None:
        sound = table if "problem" not in table else table[table["problem"] == ""]
        table = table[table["subject"].isin(sound["subject"].unique()[:subjects])]
    if records is not None:
        table = table.iloc[:records]
    return table.reset_index(drop=True)
