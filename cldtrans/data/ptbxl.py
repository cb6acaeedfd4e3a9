"""PTB-XL 1.0.3: 21 799 clinical 12-lead ECGs of 10 s from 18 869 patients.

Source: https://physionet.org/content/ptb-xl/1.0.3/, doi 10.13026/kfzx-aw45, CC BY 4.0.
Leads: I, II, III, aVR, aVL, aVF, V1-V6 at 500 Hz (`records500`; the 100 Hz copies are not used).
Labels: five diagnostic superclasses, several at once. As in the official benchmark (Strodthoff et al. 2021,
doi 10.1109/JBHI.2020.3022989) every diagnostic statement of a record counts, whatever its likelihood, and a
record without any has no superclass label (-1).
Split: `strat_fold` 1-8 training, 9 validation, 10 test; folds respect patients.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.data.base import Dataset, Published, Signal, Task, read_table, recording_table
from cldtrans.data.montages.ecg_leads import LEADS, read_twelve_leads, record_of_file
from cldtrans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
SPLIT_OF_FOLD = {**{fold: "train" for fold in range(1, 9)}, 9: "val", 10: "test"}


class PtbXl(Dataset):
    """Twelve-lead ECGs with diagnostic superclasses."""

    name = "ptbxl"
    title = "PTB-XL"
    slug = "ptb-xl"
    version = "1.0.3"
    doi = "10.13026/kfzx-aw45"
    licence = "CC BY 4.0"
    modality = "ecg"
    channels = LEADS
    task = Task("superclass", "multilabel", SUPERCLASSES)
    normal_class = "NORM"
    extra_columns = ("age", "sex")
    training_folds = range(1, 9)  # of the official ones; 9 validates, 10 tests
    published = Published(
        21799, 18869, 60.6, 2.5, 500.0, "21 799 x 12 leads x 5000 samples x 16 bit (500 Hz files alone)"
    )

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row an ECG, with its label columns."""
        folder = self.folder(root)
        columns = ["ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_hr"]
        table = read_table(folder / "ptbxl_database.csv", columns)
        superclass = read_superclasses(folder / "scp_statements.csv")
        labels, unread = superclass_labels(table["scp_codes"].tolist(), superclass)
        fold, bad_fold = whole_numbers(table["strat_fold"], "strat_fold", 1, 10)
        patient, bad_patient = whole_numbers(table["patient_id"], "patient_id", 0, 2**53)
        problem = [next(filter(None, row), "") for row in zip(bad_fold, bad_patient, unread, strict=True)]
        return recording_table(
            {
                "recording": table["ecg_id"],
                "subject": patient.astype("str"),
                "path": f"{self.slug}/{self.version}/" + table["filename_hr"],
                "fold": fold,
                "age": table["age"].astype("str"),
                "sex": table["sex"].astype("str"),
                "problem": problem,
                **{column: labels[:, k] for k, column in enumerate(self.task.columns)},
            }
        )

    def read(self, root: Path, row: Any) -> Signal:
        """Read twelve leads, in millivolts."""
        return read_twelve_leads(self.locate(root, row.path))

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Return the record's superclasses."""
        return {
            column: np.full(len(start_s), getattr(row, column), dtype=np.int8) for column in self.task.columns
        }

    def split(self, subjects: pd.DataFrame, seed: int) -> pd.Series:
        """Return the official folds, whatever the seed."""
        unknown = sorted(set(subjects["fold"]) - set(SPLIT_OF_FOLD))
        if unknown:
            raise DataError(f"ptbxl: strat_fold {unknown} is none of 1-10; the table is not PTB-XL's")
        return subjects["fold"].map(SPLIT_OF_FOLD)

    def wanted(self, key: str) -> bool:
        """Return True for the 500 Hz records and the tables."""
        return not key.startswith("records100/")

    def subject_of(self, key: str) -> str | None:
        """Return None: only the table knows the patients; a limit on subjects is applied when it is read."""
        return None

    def record_of(self, key: str) -> str | None:
        """Return the key without its extension."""
        return record_of_file(key)


def read_superclasses(path: Path) -> dict[str, str]:
    """Read which superclass each diagnostic statement belongs to."""
    import pandas as pd

    read_table(path, ["diagnostic", "diagnostic_class"])  # names a missing column
    table = pd.read_csv(path, index_col=0)
    diagnostic = table[table["diagnostic"] == 1.0]
    found = {
        str(code): str(name)
        for code, name in zip(diagnostic.index, diagnostic["diagnostic_class"], strict=True)
    }
    unknown = sorted(set(found.values()) - set(SUPERCLASSES))
    if unknown:
        raise DataError(f"{path}: unknown diagnostic_class {unknown}; known: {', '.join(SUPERCLASSES)}")
    return found


def superclass_labels(codes: list[Any], superclass: dict[str, str]) -> tuple[np.ndarray, list[str]]:
    """Turn statements into labels.

    Parameters
    ----------
    codes : list of str
        A record's statements, each a written mapping (`scp_codes`).
    superclass : dict
        From `read_superclasses`.

    Returns
    -------
    labels : array [n, 5] of int8
        0 or 1; rows of -1 where a record has no diagnostic statement.
    problems : list of str
        What is wrong with a record's cell, "" where nothing is.
    """
    labels = np.zeros((len(codes), len(SUPERCLASSES)), dtype=np.int8)
    problems = []
    for row, text in zip(labels, codes, strict=True):
        try:
            statements = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            statements = None
        sound = isinstance(statements, dict)
        problems.append(
            "" if sound else f"scp_codes: expected a mapping of statements, found {str(text)[:40]!r}"
        )
        classes = {superclass[code] for code in statements if code in superclass} if sound else set()
        if not classes:
            row[:] = -1
        for name in classes:
            row[SUPERCLASSES.index(name)] = 1
    return labels, problems


def whole_numbers(cells: pd.Series, column: str, least: int, most: int) -> tuple[pd.Series, list[str]]:
    """Read a column of whole numbers; 0 and a line that says what is wrong where a cell holds none."""
    import pandas as pd

    numbers = pd.to_numeric(cells, errors="coerce")
    sound = (numbers % 1 == 0) & (numbers >= least) & (numbers <= most)
    problems = [
        "" if fine else f"{column}: expected a whole number from {least} to {most}, found {str(cell)[:40]!r}"
        for fine, cell in zip(sound, cells, strict=True)
    ]
    return numbers.where(sound, 0).astype("int64"), problems
