"""MIMIC-IV-ECG 1.0: about 800 000 diagnostic 12-lead ECGs of 10 s from about 160 000 patients.

Source: https://physionet.org/content/mimic-iv-ecg/1.0/, doi 10.13026/4nqg-sb35, Open Database License 1.0.
Leads: the standard twelve at 500 Hz, stored as I, II, III, aVR, aVF, aVL, V1-V6 (PTB-XL has aVL before aVF):
read by name. Some signals hold NaN or flat leads.
Labels: none used, a corpus to pretrain on.
Split: by patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cldtrans.data.base import Dataset, Published, Signal, read_table, recording_table
from cldtrans.data.montages.ecg_leads import LEADS, read_twelve_leads, record_of_file

if TYPE_CHECKING:
    import pandas as pd


class MimicEcg(Dataset):
    """Twelve-lead ECGs without labels."""

    name = "mimic_ecg"
    title = "MIMIC-IV-ECG"
    slug = "mimic-iv-ecg"
    version = "1.0"
    doi = "10.13026/4nqg-sb35"
    licence = "ODbL 1.0"
    modality = "ecg"
    channels = LEADS
    published = Published(
        800035, 161352, 2222.3, 90.4, 500.0, "landing page; 800 035 x 12 x 5000 x 16 bit is 89 GiB"
    )

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row an ECG, from `record_list.csv`: about two seconds for all of them."""
        table = read_table(self.folder(root) / "record_list.csv", ["subject_id", "study_id", "path"])
        return recording_table(
            {
                "recording": table["study_id"],
                "subject": table["subject_id"],
                "path": f"{self.slug}/{self.version}/" + table["path"],
            }
        )

    def read(self, root: Path, row: Any) -> Signal:
        """Read twelve leads, in millivolts."""
        return read_twelve_leads(self.locate(root, row.path))

    def wanted(self, key: str) -> bool:
        """Return True for records and their list; not for the machine's measurements and the notes' links."""
        return self.record_of(key) is not None or key in ("RECORDS", "record_list.csv")

    def subject_of(self, key: str) -> str | None:
        """Return the patient: `10000032` for `files/p1000/p10000032/s40689238/40689238`."""
        record = self.record_of(key)
        parts = record.split("/") if record else []
        return parts[2].removeprefix("p") if len(parts) > 2 else record

    def record_of(self, key: str) -> str | None:
        """Return the key without its extension."""
        return record_of_file(key)
