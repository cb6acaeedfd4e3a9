"""Who a window belongs to, told from file names and tables and not from the index of the shards."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cldtrans.data.base import read_table

# The part of a recording's name that is the person's, by dataset.
_PERSON = {
    "chbmit": r"^(chb\d\d)",
    "eegmmidb": r"^(S\d{3})",
    "siena": r"^(PN\d\d)",
    "sleepedf": r"^(SC4\d\d|ST7\d\d)",
}
_TWICE = {"chb21": "chb01"}  # recorded again 1.5 years later
_PATIENTS = "ptb-xl/1.0.3/ptbxl_database.csv"


def persons(dataset: str, index: pd.DataFrame, raw: Path) -> pd.Series:
    """Name the person behind each window.

    Parameters
    ----------
    dataset : str
        Name of the dataset.
    index : DataFrame
        Index of its shards.
    raw : Path
        Folder of raw recordings, for tables of patients.

    Returns
    -------
    Series of str
        Aligned with the index; its own `subject` where nothing else tells.
    """
    recording = index["recording"].astype(str)
    told = pd.Series(pd.NA, index=index.index, dtype="object")
    module = dataset.partition("-")[0]  # a part of a dataset has the persons of the whole
    if module in _PERSON:
        told = recording.str.extract(_PERSON[module], expand=False).replace(_TWICE)
    elif dataset == "ptbxl" and (raw / _PATIENTS).is_file():
        table = read_table(raw / _PATIENTS, ["ecg_id", "patient_id"])
        told = recording.map(dict(zip(table["ecg_id"].astype(str), table["patient_id"], strict=True)))
    return told.fillna(index["subject"]).astype(str)
