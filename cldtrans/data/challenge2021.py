"""PhysioNet/CinC Challenge 2021 1.0.3: twelve-lead ECGs of several hospitals, each subset a dataset here.

Source: https://physionet.org/content/challenge-2021/1.0.3/, doi 10.13026/34va-7q14, CC BY 4.0. Subsets under
`training/`: `chapman_shaoxing` (10 247 records), `ningbo` (34 905), `georgia` (10 344), `ptb-xl` (21 837).
Signals: a MATLAB 4 matrix behind a WFDB header, format 16 from byte 24 on, 500 Hz, most of 10 s; some records
have flat leads. Headers are written as `16+24 1000/mV` and `#Dx:`, elsewhere as `16x1+24 1000.0(0)/mV` and
`# Dx:`: both are read.
Labels: SNOMED codes of the line `Dx`, several at once. `SCORED` is the Challenge's own table of the 30
diagnoses that it scores, `dx_mapping_scored.csv` of https://github.com/physionetchallenges/evaluation-2021
(Reyna et al. 2021, doi 10.23919/CinC53138.2021.9662687; of STach the copies differ, and 12 and 40 of Chapman
and Ningbo, those of LPR, cannot be right), which counts CRBBB and RBBB as one, and CLBBB and
LBBB, SVPB and PAC, VPB and PVC: 26 classes. A subset keeps those with more than `FEWEST` records by that
table. A record without any of them is a record of none. Subsets do not agree on what a label means: Ningbo
has no AF and 7615 AFL where Chapman, of the same region, has 1780 and 445. They are not to be pooled unseen.
Split: by record: the Challenge names no patients, so that two records of one person may be on two sides. Of
PTB-XL that is known to happen (21 837 records of 18 885 patients); `ptbxl` is the dataset that knows them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from cldtrans.data.base import Dataset, Published, Signal, Task, recording_table
from cldtrans.data.formats.matlab4 import check_matlab4
from cldtrans.data.montages.ecg_leads import LEADS, read_twelve_leads
from cldtrans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 200


class Diagnosis(NamedTuple):
    """A scored diagnosis: SNOMED code, class after merging, and how many records of each subset have it."""

    code: str
    name: str
    ptb_xl: int
    georgia: int
    chapman_shaoxing: int
    ningbo: int


# fmt: off
SCORED = (
    Diagnosis("164889003", "AF", 1514, 570, 1780, 0),
    Diagnosis("164890007", "AFL", 73, 186, 445, 7615),
    Diagnosis("6374002", "BBB", 0, 116, 0, 385),
    Diagnosis("426627000", "Brady", 0, 6, 0, 7),
    Diagnosis("733534002", "LBBB", 0, 0, 0, 213),  # complete
    Diagnosis("713427006", "RBBB", 542, 28, 0, 1096),  # complete
    Diagnosis("270492004", "IAVB", 797, 769, 247, 893),
    Diagnosis("713426002", "IRBBB", 1118, 407, 0, 246),
    Diagnosis("39732003", "LAD", 5146, 940, 382, 1163),
    Diagnosis("445118002", "LAnFB", 1626, 180, 0, 380),
    Diagnosis("164909002", "LBBB", 536, 231, 205, 248),
    Diagnosis("251146004", "LQRSV", 182, 374, 249, 1364),
    Diagnosis("698252002", "NSIVCB", 789, 203, 235, 536),
    Diagnosis("426783006", "NSR", 18092, 1752, 1826, 6299),
    Diagnosis("284470004", "PAC", 398, 639, 258, 1054),
    Diagnosis("10370003", "PR", 296, 0, 0, 1182),
    Diagnosis("365413008", "PRWP", 0, 0, 0, 638),
    Diagnosis("427172004", "PVC", 0, 0, 0, 1091),
    Diagnosis("164947007", "LPR", 340, 0, 12, 40),
    Diagnosis("111975006", "LQT", 118, 1391, 57, 334),
    Diagnosis("164917005", "QAb", 548, 464, 235, 828),
    Diagnosis("47665007", "RAD", 343, 83, 215, 638),
    Diagnosis("59118001", "RBBB", 0, 542, 454, 195),
    Diagnosis("427393009", "SA", 772, 455, 0, 2550),
    Diagnosis("426177001", "SB", 637, 1677, 3889, 12670),
    Diagnosis("427084000", "STach", 826, 1261, 1568, 5687),
    Diagnosis("63593006", "PAC", 157, 1, 0, 9),  # supraventricular premature beats
    Diagnosis("164934002", "TAb", 2345, 2306, 1876, 5167),
    Diagnosis("59931005", "TInv", 294, 812, 157, 2720),
    Diagnosis("17338001", "PVC", 0, 357, 294, 0),  # ventricular premature beats
)
# fmt: on
CLASS_OF_CODE = {row.code: row.name for row in SCORED}
CLASSES = tuple(dict.fromkeys(row.name for row in SCORED))
_COMMENT = re.compile(r"#\s*(?P<key>[A-Za-z]+)\s*:\s*(?P<value>.*)")
_SEXES = {"m": "0", "male": "0", "f": "1", "female": "1"}  # as in PTB-XL's table


def kept_classes(subset: str) -> tuple[str, ...]:
    """Return the classes of which a subset has more than `FEWEST` records, in the table's order."""
    column = subset.replace("-", "_")
    return tuple(
        name for name in CLASSES if sum(getattr(row, column) for row in SCORED if row.name == name) > FEWEST
    )


def scored_classes(codes: str) -> set[str]:
    """Return the classes, of all 26, that a record's SNOMED codes name; `codes` are parted by commas."""
    return {CLASS_OF_CODE[code] for code in map(str.strip, codes.split(",")) if code in CLASS_OF_CODE}


def read_comments(path: Path) -> dict[str, str]:
    """Read what a header says behind its signals, by the word before the colon, in small letters."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); fetch the record again") from None
    found = map(_COMMENT.match, text.splitlines())
    return {match["key"].lower(): match["value"].strip() for match in found if match}


class Subset(Dataset):
    """One subset of the Challenge; `subset` is its folder."""

    slug = "challenge-2021"
    version = "1.0.3"
    doi = "10.13026/34va-7q14"
    licence = "CC BY 4.0"
    modality = "ecg"
    channels = LEADS
    task: ClassVar[Task]
    extra_columns = ("age", "sex")
    subset: ClassVar[str]

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row a record, with its label columns, from all headers."""
        folder = self.folder(root) / "training" / self.subset
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; run the download of {self.name} first")
        paths = sorted(folder.rglob("*.hea"), key=lambda path: path.as_posix())
        comments = [read_comments(path) for path in paths]
        labels = np.zeros((len(paths), len(self.task.classes)), dtype=self.task.dtype)
        for row, found in zip(labels, comments, strict=True):
            for name in scored_classes(found.get("dx", "")) & set(self.task.classes):
                row[self.task.classes.index(name)] = 1
        names = [path.stem for path in paths]
        return recording_table(
            {
                "recording": names,
                "subject": names,
                "path": [path.relative_to(root).with_suffix("").as_posix() for path in paths],
                "age": [found.get("age", "") for found in comments],
                "sex": [_SEXES.get(found.get("sex", "").lower(), "") for found in comments],
                "problem": [
                    "" if found.get("dx") else "expected a line Dx, found none" for found in comments
                ],
                **{column: labels[:, k] for k, column in enumerate(self.task.columns)},
            }
        )

    def read(self, root: Path, row: Any) -> Signal:
        """Read twelve leads, in millivolts."""
        path = self.locate(root, row.path)
        check_matlab4(path.with_suffix(".mat"), len(LEADS))
        return read_twelve_leads(path)

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Return the record's diagnoses."""
        return {
            column: np.full(len(start_s), getattr(row, column), dtype=self.task.dtype)
            for column in self.task.columns
        }

    def wanted(self, key: str) -> bool:
        """Return True for the subset's records."""
        return key.startswith(f"training/{self.subset}/") and self.record_of(key) is not None

    def subject_of(self, key: str) -> str | None:
        """Return the record's name, which stands for a person."""
        record = self.record_of(key)
        return None if record is None else record.rpartition("/")[2]

    def record_of(self, key: str) -> str | None:
        """Return the key without its extension."""
        return key[:-4] if key.endswith((".mat", ".hea")) else None


def _published(records: int) -> Published:
    return Published(
        records, records, records / 360, records * 1.16e-4, 500.0, "Challenge's page; 12 x 5000 x 16 bit each"
    )


class ChapmanShaoxing(Subset):
    """Chapman University and Shaoxing People's Hospital."""

    name, title, subset = "challenge2021-chapman_shaoxing", "Chapman-Shaoxing", "chapman_shaoxing"
    task = Task("diagnosis", "multilabel", kept_classes(subset))
    published = _published(10247)


class Ningbo(Subset):
    """Ningbo First Hospital."""

    name, title, subset = "challenge2021-ningbo", "Ningbo", "ningbo"
    task = Task("diagnosis", "multilabel", kept_classes(subset))
    published = _published(34905)


class Georgia(Subset):
    """Georgia 12-lead Challenge database (G12EC)."""

    name, title, subset = "challenge2021-georgia", "Georgia", "georgia"
    task = Task("diagnosis", "multilabel", kept_classes(subset))
    published = _published(10344)


class PtbXlScored(Subset):
    """PTB-XL with the Challenge's labels."""

    name, title, subset = "challenge2021-ptb-xl", "PTB-XL, Challenge labels", "ptb-xl"
    task = Task("diagnosis", "multilabel", kept_classes(subset))
    published = _published(21837)
