"""CODE-15 % 1.0.0: 345 779 twelve-lead ECGs of 233 770 patients, primary care in Minas Gerais, Brazil.

Source: https://zenodo.org/records/4916206, doi 10.5281/zenodo.4916206, CC BY 4.0 (Ribeiro et al. 2020, Nature
Communications 11:1760). It is in no bucket: its files are to be put under `code15/1.0.0/` of a mirror.
Signals: `exams_part<k>.zip`, each an HDF5 file with `exam_id` [N] and `tracings` [N, 4096, 12], float32, 400
Hz, leads I, II, III, aVR, aVL, aVF, V1-V6; the last row is zero. Exams of 10 s and of 7 s lie in the middle
of the 4096 samples between zeros, which are taken off. Taken as millivolts: the publication's own words on
the unit contradict each other, and R waves of one to two units say so.
Labels: six abnormalities of `exams.csv`, several at once, read by a machine and by cardiologists.
Split: by patient.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.data.base import Dataset, Published, Signal, Task, read_table, recording_table
from cldtrans.data.montages.ecg_leads import LEADS
from cldtrans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

RATE_HZ = 400.0
ABNORMALITIES = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
_FLAGS = {"true": 1, "false": 0, "1": 1, "0": 0}


class Code15(Dataset):
    """Twelve-lead ECGs with six abnormalities."""

    name = "code15"
    title = "CODE-15 %"
    slug = "code15"
    version = "1.0.0"
    doi = "10.5281/zenodo.4916206"
    licence = "CC BY 4.0"
    modality = "ecg"
    channels = LEADS
    task = Task("abnormality", "multilabel", ABNORMALITIES)
    extra_columns = ("age", "sex")
    published = Published(345779, 233770, 900.0, 41.0, RATE_HZ, "Zenodo's page; 18 archives")

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row an exam, with its label columns."""
        columns = ["exam_id", "age", "is_male", *ABNORMALITIES, "patient_id", "trace_file"]
        table = read_table(self.folder(root) / "exams.csv", columns)
        male = _flags(table["is_male"])
        labels = {name: _flags(table[name]) for name in ABNORMALITIES}
        unread = np.any([column < 0 for column in labels.values()], axis=0)
        part = table["trace_file"].astype("str").str.replace(r"\.hdf5$", ".zip", regex=True)
        return recording_table(
            {
                "recording": table["exam_id"],
                "subject": table["patient_id"],
                "path": f"{self.slug}/{self.version}/" + part,
                "age": table["age"].astype("str"),
                "sex": np.select([male == 1, male == 0], ["0", "1"], ""),  # as in PTB-XL's table
                "problem": np.where(unread, "abnormalities: expected True or False in each column", ""),
                **{f"label_{name}": column for name, column in labels.items()},
            }
        )

    def read(self, root: Path, row: Any) -> Signal:
        """Read twelve leads, in millivolts, without the zeros around them."""
        tracings, places = _opened(self.locate(root, row.path))
        if row.recording not in places:
            raise DataError(f"{row.path}: expected exam {row.recording}, found none; fetch the archive again")
        data = np.asarray(tracings[places[row.recording]], dtype=np.float32).T
        measured = np.flatnonzero(data.any(axis=0))
        if not len(measured):
            raise DataError(f"exam {row.recording}: every sample is zero")
        inside = np.ascontiguousarray(data[:, measured[0] : measured[-1] + 1])
        return Signal(inside, RATE_HZ, np.ones(len(LEADS), dtype=bool))

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Return the exam's abnormalities."""
        return {
            column: np.full(len(start_s), getattr(row, column), dtype=self.task.dtype)
            for column in self.task.columns
        }

    def wanted(self, key: str) -> bool:
        """Return True for the archives and the table."""
        return key == "exams.csv" or self.record_of(key) is not None

    def subject_of(self, key: str) -> str | None:
        """Return None: only the table knows the patients; a limit on subjects is applied when it is read."""
        return None

    def record_of(self, key: str) -> str | None:
        """Return an archive's name without its extension: the exams of one come together."""
        return key[:-4] if key.endswith(".zip") else None


def _flags(cells: pd.Series) -> np.ndarray:
    """1 for true, 0 for false, -1 for anything else, int8."""
    return cells.astype("str").str.lower().map(_FLAGS).fillna(-1).to_numpy(dtype=np.int8)


@lru_cache(maxsize=1)
def _opened(path: Path) -> tuple[Any, dict[str, int]]:
    """Unpack an archive into a file that has no name, and return its tracings and the row of each exam.

    HDF5 is read here and there, which an archive does not allow; the last archive stays open, because
    recordings come archive by archive.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise DataError("no module 'h5py': pip install 'cldtrans[pipeline]' for CODE-15 %") from None
    try:
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as its tracings are
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".hdf5")]
            if len(members) != 1:
                raise DataError(f"{path}: expected one HDF5 file, found {len(members)}")
            with archive.open(members[0]) as packed:
                shutil.copyfileobj(packed, unpacked, 1 << 22)
        file = h5py.File(unpacked, "r")
        numbers, tracings = np.asarray(file["exam_id"]), file["tracings"]
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}); fetch the archive again") from None
    if numbers.shape != tracings.shape[:1] or tracings.shape[2:] != (len(LEADS),):
        raise DataError(
            f"{path}: expected exam_id [N] and tracings [N, samples, {len(LEADS)}], found "
            f"{list(numbers.shape)} and {list(tracings.shape)}"
        )
    return tracings, {str(number): row for row, number in enumerate(numbers)}
