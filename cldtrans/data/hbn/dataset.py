"""HBN-EEG as three datasets: response times, hits, and factors of persons, from its BIDS folders.

Source: the EEG Foundation Challenge 2025 (https://eeg2025.github.io, its recordings of 100 Hz as BDF under
`nmdatasets/NeurIPS25/R<n>_L100_bdf` and `R<n>_mini_L100_bdf`) or the releases of 500 Hz as EEGLAB files
(OpenNeuro ds005505 to ds005516, `fcp-indi`), doi 10.1101/2024.10.03.615261, CC BY-SA 4.0. Each release is a
folder below `hbn/eeg2025/`, under any name; which one it is stands in its `participants.tsv`.
Channels: E1 to E128 and Cz of a HydroCel net. Recordings with far fewer, ten of R7 with 6, are set aside, as
are the persons whom the challenge's starter kit drops (`STARTER_KIT_DROPS`). Windows are to end at 45 Hz, so
mains of 60 Hz need no filter of their own.
Labels: `hbn-rt`, the response time of a trial, and `hbn-hit`, whether the press was on the target's side,
from the 2 s of EEG that begin half a second after the target (`trials`); trials without a target or a press
have none. `hbn-factors`, the four factors of a person (`participants`), from any window of any task.
Told beside them, without a sample: age, sex, handedness; of a trial its foreperiod, run and number, and the
mean response time of the person's earlier trials, which no entry to the challenge gets.
Split: by release, so by person: R5 is held out, R1 to R4 and R6 to R11 train. Of the training persons a tenth
validates; version eeg2025.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cldtrans.data.base import Dataset, Published, Signal, Task, recording_table
from cldtrans.data.hbn.participants import FACTORS, VALIDATION_RELEASES, read_participants
from cldtrans.data.hbn.trials import read_trials
from cldtrans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

CHANNELS = (*(f"E{number}" for number in range(1, 129)), "Cz")
LEAST_CHANNELS = 120
TRIAL_TASK = "contrastChangeDetection"
VALIDATES = 0.1  # of the training persons
_ENDINGS = (".set", ".fdt", ".bdf", "_events.tsv", "_channels.tsv")


class Hbn(Dataset):
    """What the three have in common."""

    slug = "hbn"
    version = "eeg2025"
    doi = "10.1101/2024.10.03.615261"
    licence = "CC BY-SA 4.0"
    modality = "eeg"
    channels = CHANNELS
    task: ClassVar[Task]
    extra_columns = ("age", "male", "ehq_total", "release")
    published = Published(
        25000, 3000, 3000.0, 500.0, 500.0, "Shirazi et al. 2024; eleven releases, several tasks a person"
    )
    training_folds = (1,)  # 2: the releases that are held out
    bids_task: ClassVar[str | None] = None

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row a recording, with what is known of its person."""
        rows: list[dict[str, Any]] = []
        for release in self._releases(root):
            persons = read_participants(release).set_index("subject")
            for path in sorted(release.glob("sub-*/eeg/*_eeg.*")):
                if path.suffix not in (".set", ".bdf") or not self._asked(path.name):
                    continue
                subject = path.name.partition("_")[0].removeprefix("sub-")
                known = subject in persons.index
                person = persons.loc[subject] if known else None
                rows.append(
                    {
                        "recording": path.name.rpartition("_eeg.")[0],
                        "subject": subject,
                        "path": path.relative_to(root).as_posix(),
                        "problem": "" if known else f"{subject}: not among the release's persons, or dropped",
                        "age": "" if person is None else str(person["age"]),
                        "male": "" if person is None else str(float(person["sex"] == "M")),
                        "ehq_total": "" if person is None else str(person["ehq_total"]),
                        "release": "" if person is None else str(person["release"]),
                        "fold": 0 if person is None else 1 + (person["release"] in VALIDATION_RELEASES),
                        **{name: np.nan if person is None else float(person[name]) for name in FACTORS},
                    }
                )
        if not rows:
            raise DataError(
                f"{self.folder(root)}: expected sub-*/eeg/*_eeg.set or .bdf in a release's folder, found "
                "none; run the download first"
            )
        return recording_table({name: [row[name] for row in rows] for name in rows[0]})

    def read(self, root: Path, row: Any) -> Signal:
        """Read the channels that are there, in microvolts."""
        from cldtrans.data.recording import open_recording

        recording = open_recording(self.locate(root, row.path))
        place = {name.strip().upper(): k for k, name in enumerate(recording.names)}
        found = np.array([place.get(name.upper(), -1) for name in self.channels])
        mask = found >= 0
        if mask.sum() < LEAST_CHANNELS:
            raise DataError(
                f"{row.path}: expected E1 to E128 and Cz, found {int(mask.sum())} of these channels"
            )
        data = recording.read(0, recording.n_samples)[found]
        gain = np.array([1e3 if recording.units[k] == "mV" else 1.0 for k in found], np.float32)
        data = data * gain[:, None]
        data[~mask] = 0.0
        return Signal(np.ascontiguousarray(data, dtype=np.float32), recording.rate_hz, mask)

    def split(self, subjects: pd.DataFrame, seed: int) -> pd.Series:
        """Hold out R5; of the others a tenth, drawn by the seed, validates."""
        parts = subjects["fold"].map(lambda fold: "test" if fold == 2 else "train")
        training = parts.index[parts == "train"]
        rng = np.random.default_rng([seed, zlib.crc32(b"hbn")])
        count = max(1, round(VALIDATES * len(training))) if len(training) > 1 else 0
        parts[rng.permutation(np.asarray(training))[:count]] = "val"
        return parts

    def wanted(self, key: str) -> bool:
        """Return True for tables of persons, and for recordings of the task with their tables."""
        name = PurePosixPath(key).name
        return name == "participants.tsv" or (name.endswith(_ENDINGS) and self._asked(name))

    def subject_of(self, key: str) -> str | None:
        """Return the person: `NDARAC904DMU` for `R5/sub-NDARAC904DMU/eeg/...`."""
        people = [part for part in PurePosixPath(key).parts if part.startswith("sub-")]
        return people[0].removeprefix("sub-") if people else None

    def record_of(self, key: str) -> str | None:
        """Return the recording's name with its folder; None for the table of persons."""
        if "/sub-" not in f"/{key}" or not self._asked(PurePosixPath(key).name):
            return None
        for ending in ("_eeg.set", "_eeg.fdt", "_eeg.bdf", "_events.tsv", "_channels.tsv"):
            if key.endswith(ending):
                return key.removesuffix(ending)
        return None

    def _asked(self, name: str) -> bool:
        return self.bids_task is None or f"_task-{self.bids_task}_" in name

    def _releases(self, root: Path) -> list[Path]:
        folder = self.folder(root)
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; run the download of {self.name} first")
        return sorted(path.parent for path in folder.glob("*/participants.tsv"))


class Trials(Hbn):
    """Windows of trials, each half a second after its target."""

    bids_task = TRIAL_TASK
    places_windows = True
    window_columns = ("foreperiod_s", "run", "trial", "earlier_s")
    label: ClassVar[str]

    def window_starts(self, root: Path, row: Any, window_s: float) -> np.ndarray:
        """Return where the windows of the labelled trials begin."""
        return self._trials(root, row)["window_start_s"].to_numpy()

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Return the trials' labels, and what is told of them; windows that begin elsewhere have none."""
        trials = self._trials(root, row)
        begins = trials["window_start_s"].to_numpy()
        place = np.full(len(start_s), -1)
        if len(begins):
            nearest = np.abs(begins[None] - np.asarray(start_s)[:, None])
            place = np.where(nearest.min(axis=1) < 1e-3, nearest.argmin(axis=1), -1)
        there = place >= 0

        def column(name: str, missing: float) -> np.ndarray:
            values = np.full(len(place), missing)
            values[there] = trials[name].to_numpy(dtype=float)[place[there]]
            return values

        told = {name: column(name, np.nan).astype(np.float32) for name in self.window_columns}
        missing = np.nan if self.task.kind == "regression" else -1
        labels = {name: column(self.label, missing).astype(self.task.dtype) for name in self.task.columns}
        return {**labels, **told, "keep": there}

    def _trials(self, root: Path, row: Any) -> pd.DataFrame:
        """Return the labelled trials of a recording, in time."""
        path = self.locate(root, row.path)
        table = _labelled_trials(path.parents[2])
        run = int(row.recording.rpartition("run-")[2])
        return table[(table["subject"] == row.subject) & (table["run"] == run)]


class ResponseTimes(Trials):
    """Challenge 1: when the button is pressed."""

    name = "hbn-rt"
    title = "HBN-EEG, response time"
    task = Task("response_time", "regression", ("response_time_s",))
    label = "response_time_s"


class Hits(Trials):
    """Whether the press was on the target's side."""

    name = "hbn-hit"
    title = "HBN-EEG, hits"
    task = Task("hit", "binary", ("miss", "hit"))
    label = "hit"


class Factors(Hbn):
    """Challenge 2: four factors of a person, from any of the windows."""

    name = "hbn-factors"
    title = "HBN-EEG, factors"
    task = Task("factors", "regression", FACTORS, of_subjects=True)

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Return the person's factors."""
        return {
            f"label_{name}": np.full(len(start_s), getattr(row, name), dtype=self.task.dtype)
            for name in FACTORS
        }


@lru_cache(maxsize=16)
def _labelled_trials(release: Path) -> pd.DataFrame:
    """Return the labelled trials of a release with the mean response time of the person's earlier ones."""
    table = read_trials(release)
    table = table[table["problem"] == ""].reset_index(drop=True)
    time = table["response_time_s"].astype(float)
    groups = time.groupby(table["subject"])
    before = groups.cumcount()
    return table.assign(earlier_s=((groups.cumsum() - time) / before.where(before > 0)).to_numpy())
