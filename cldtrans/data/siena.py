"""Siena Scalp EEG Database 1.0.0: 47 seizures of 14 adults, with the clinicians' lobe and side.

Source: https://physionet.org/content/siena-scalp-eeg/1.0.0/, doi 10.13026/5d4a-j060, CC BY 4.0.
Montage: 10-20 (and more) electrodes against one reference, 512 Hz, old names (T3 T4 T5 T6); here the 18
bipolar channels of the double banana, formed by name.
Labels: seizure or not, from `PNxx/Seizures-list-PNxx.txt`: hand-written clock times with slips, which are
read as follows. Times count from the start time in the EDF header (the lists' registration times are
sometimes wrong: PN05, PN10, PN14). A file name with the letter O for zero (PN06), without its number (PN01,
PN11), an hour split by a blank (PN10), mixed separators (PN12), an end exactly one hour late (PN00-3) are
put right; of several times the electrographic onset is taken, or the first (PN10). A seizure that still lies
outside its recording puts the recording into quarantine.
`subject_info.csv` gives lobe and side of each patient: open, clinician-made ground truth for localization.
Split: by person.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.data.base import Dataset, Published, Signal, read_table, recording_table
from cldtrans.data.chbmit import SEIZURE, read_double_banana, seizure_labels
from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

DAY_S = 86400.0
LOBES = {"t": "temporal", "f": "frontal", "p": "parietal", "o": "occipital"}
SIDES = {"r": "right", "l": "left", "bilateral": "bilateral", "b": "bilateral"}
_CLOCK = re.compile(r"(?<!\d)(\d(?:\s?\d)?)\s*[.:]\s*(\d{2})\s*[.:]\s*(\d{2})(?!\d)")
_LINE = re.compile(
    r"^\s*(?:(?P<which>registration|seizure)\s+)?(?P<edge>start|end)\s+time\s*:?(?P<times>.*)$", re.IGNORECASE
)
_FILE = re.compile(r"^\s*file\s*name\s*:\s*(\S+)", re.IGNORECASE)


class Siena(Dataset):
    """Seizures of adults with lobe and side."""

    name = "siena"
    title = "Siena"
    slug = "siena-scalp-eeg"
    version = "1.0.0"
    doi = "10.13026/5d4a-j060"
    licence = "CC BY 4.0"
    modality = "eeg"
    channels = DOUBLE_BANANA
    task = SEIZURE
    extra_columns = ("lobe", "side")
    has_events = True
    focal_truth = "region"
    published = Published(41, 14, 128.0, 20.3, 512.0, "landing page")

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row an EDF file, with the patient's lobe and side.

        Both are "" where the table does not have him.
        """
        files = self.edf_files(root, "PN[0-9]*/PN*.edf")
        info = read_table(
            self.folder(root) / "subject_info.csv", ["patient_id", "localization", "lateralization"]
        )
        patients = [path.parent.name for path in files]
        return recording_table(
            {
                "recording": [path.stem for path in files],
                "subject": patients,
                "path": [path.relative_to(root).as_posix() for path in files],
                "lobe": _spelled_out(info["patient_id"], info["localization"], LOBES, patients),
                "side": _spelled_out(info["patient_id"], info["lateralization"], SIDES, patients),
            }
        )

    def read(self, root: Path, row: Any) -> Signal:
        """Read the 18 bipolar channels, in microvolts."""
        self.events(root, row)  # a seizure that cannot be placed spoils the recording's labels
        return read_double_banana(self.locate(root, row.path))

    def events(self, root: Path, row: Any) -> list[tuple[float, float]]:
        """Read the seizures from the patient's list, in seconds from the start in the EDF header."""
        from cldtrans.data.formats.edf import read_edf

        text = self.folder(root) / row.subject / f"Seizures-list-{row.subject}.txt"
        entries = [
            entry for entry in read_list(str(text)) if names_file(entry.file, PurePosixPath(row.path).name)
        ]
        if not entries:
            return []
        recording = read_edf(self.locate(root, row.path))
        start = recording.start
        header_s = None if start is None else start.hour * 3600.0 + start.minute * 60.0 + start.second
        return sorted(
            place_seizure(entry, header_s, recording.duration_s, f"{text.name}: {row.recording}")
            for entry in entries
        )

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Label a seizure's windows 1."""
        return {"label": seizure_labels(self.events(root, row), start_s, window_s)}


class ListedSeizure:
    """One entry of a seizure list; clock times in seconds of the day, registration None where not given."""

    def __init__(self, file: str, registration_s: float | None, onset_s: float, end_s: float) -> None:
        self.file = file
        self.registration_s = registration_s
        self.onset_s = onset_s
        self.end_s = end_s


@lru_cache(maxsize=32)
def read_list(path: str) -> tuple[ListedSeizure, ...]:
    """Read the entries of one patient's list."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); seizures of this patient are unknown"
        ) from None
    return tuple(parse_list(text, path))


def parse_list(text: str, origin: str = "list") -> list[ListedSeizure]:
    """Read the entries of a hand-written list.

    Parameters
    ----------
    text : str
        The list.
    origin : str
        Where it comes from; messages begin with it.

    Raises
    ------
    DataError
        For a seizure whose times cannot be read.
    """
    entries: list[ListedSeizure] = []
    file = ""
    registration_s: float | None = None
    onset_s: float | None = None
    for line in text.splitlines():
        named = _FILE.match(line)
        timed = _LINE.match(line)
        if named:
            if named.group(1) != file:
                registration_s = None  # another file; a second seizure of the same one inherits it
            file, onset_s = named.group(1), None
        elif timed:
            registration = (timed["which"] or "").lower() == "registration"
            clock = read_clock(timed["times"])
            if clock is None and not registration:
                raise DataError(f"{origin}: no clock time in {line.strip()!r}")
            if registration and timed["edge"].lower() == "start":
                registration_s = clock
            elif not registration and timed["edge"].lower() == "start":
                onset_s = clock
            elif not registration:
                if onset_s is None or not file or clock is None:
                    raise DataError(f"{origin}: {line.strip()!r} without a file name and a start before it")
                entries.append(ListedSeizure(file, registration_s, onset_s, clock))
                onset_s = None
    if onset_s is not None:
        raise DataError(f"{origin}: the last seizure of {file} has no end time")
    return entries


def read_clock(text: str) -> float | None:
    """Return seconds of the day; of several times the one marked electric, or else the first."""
    found = list(_CLOCK.finditer(text))
    for position, match in enumerate(found):
        after = text[match.end() : found[position + 1].start() if position + 1 < len(found) else None]
        if "electr" in after.lower():
            found = [match]
            break
    if not found:
        return None
    hour, minute, second = (int(re.sub(r"\s", "", part)) for part in found[0].groups())
    return 3600.0 * hour + 60.0 * minute + second if hour < 24 and minute < 60 and second < 60 else None


def names_file(listed: str, file: str) -> bool:
    """Tell whether a name in a list means the file: letter O for zero, or the recording's number left out."""
    written = listed.upper().replace("O", "0").removesuffix(".EDF")
    stem = file.upper().removesuffix(".EDF")
    return written == stem or written.rstrip("-") + "-1" == stem


def place_seizure(
    entry: ListedSeizure, header_s: float | None, duration_s: float, origin: str
) -> tuple[float, float]:
    """Return onset and end in seconds of the recording.

    Parameters
    ----------
    entry : ListedSeizure
        With its clock times.
    header_s : float or None
        Start of the recording by the EDF header, seconds of the day.
    duration_s : float
        Length of the recording.
    origin : str
        Messages begin with it.

    Raises
    ------
    DataError
        Where neither start time puts the seizure inside.
    """
    for start_s in (header_s, entry.registration_s):
        if start_s is None:
            continue
        onset = (entry.onset_s - start_s) % DAY_S
        end = onset + (entry.end_s - entry.onset_s) % DAY_S
        if end > duration_s + 1.0 and onset < end - 3600.0 <= duration_s:
            end -= 3600.0  # the hour was not carried back
        if onset < end <= duration_s + 1.0:
            return onset, min(end, duration_s)
    begin = "an unknown time" if header_s is None else _clock(header_s)
    raise DataError(
        f"{origin}: a seizure at {_clock(entry.onset_s)} to {_clock(entry.end_s)} lies outside the "
        f"recording of {duration_s:g} s that begins at {begin}"
    )


def _clock(time_s: float) -> str:
    hour, rest = divmod(round(time_s), 3600)
    return f"{hour:02d}:{rest // 60:02d}:{rest % 60:02d}"


def _spelled_out(
    patients: pd.Series, codes: pd.Series, meaning: dict[str, str], wanted: list[str]
) -> list[str]:
    spelled = {
        str(patient).strip(): meaning.get(str(code).strip().lower(), str(code).strip().lower())
        for patient, code in zip(patients, codes, strict=True)
    }
    return [spelled.get(patient, "") for patient in wanted]
