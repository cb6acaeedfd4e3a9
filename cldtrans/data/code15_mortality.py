"""CODE-15 % 1.0.0, asked who dies when: a time to an event.

Source: https://zenodo.org/records/4916206, doi 10.5281/zenodo.4916206, CC BY 4.0 (Ribeiro et al. 2020, Nature
Communications 11:1760); as `code15`.
Labels: `death` and `timey` of `exams.csv`, years from the exam to death or to the end of follow-up, which are
given for a patient's first exam alone; others are not used. A year is 365 days.
Split: by patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cldtrans.data.base import read_table, time_to_event
from cldtrans.data.code15 import Code15

if TYPE_CHECKING:
    import pandas as pd

DAY_S = 86400.0
YEAR_S = 365 * DAY_S
HORIZONS_S = (30 * DAY_S, 90 * DAY_S, YEAR_S, 5 * YEAR_S)
_DEATH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


class Code15Mortality(Code15):
    """Twelve-lead ECGs with the time to death."""

    name = "code15-mortality"
    title = "CODE-15 %, mortality"
    task = time_to_event("death", HORIZONS_S)

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row an exam with follow-up."""
        exams = super().recordings(root)
        told = read_table(self.folder(root) / "exams.csv", ["exam_id", "death", "timey"])
        died = told["death"].astype("str").str.strip().str.lower().map(_DEATH)
        years = told["timey"].astype("str").str.strip().replace({"": "nan", "<NA>": "nan"})
        followed = told.assign(
            event=died, time_s=years.astype(float) * YEAR_S, recording=told["exam_id"].astype("str")
        ).dropna(subset=["event", "time_s"])
        columns = ["recording", "time_s", "event"]
        return exams.merge(followed.loc[followed["time_s"] >= 0, columns], on="recording", how="inner")
