"""The twelve standard leads, found by name: PTB-XL and MIMIC-IV-ECG store them in different orders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cldtrans.data.base import Signal
from cldtrans.errors import DataError, listing

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def record_of_file(key: str) -> str | None:
    """Return the key of a record's file without its extension; None for lists and tables."""
    return key[:-4] if key.endswith((".dat", ".hea")) else None


def read_twelve_leads(path: Path) -> Signal:
    """Read one WFDB record in millivolts, rows in the order of `LEADS`.

    Parameters
    ----------
    path : Path
        Without extension.

    Raises
    ------
    DataError
        Where it has none of the leads, or cannot be read.
    """
    from cldtrans.data.formats.wfdb_reader import read_wfdb

    record = read_wfdb(path)
    place: dict[str, int] = {}
    for position, name in enumerate(record.names):
        place.setdefault(name.strip().upper(), position)
    found = [place.get(lead.upper(), -1) for lead in LEADS]
    data = record.millivolts()
    if found == list(range(len(data))):
        return Signal(data, record.rate_hz, np.ones(len(LEADS), dtype=bool))
    mask = np.array(found) >= 0
    if not mask.any():
        raise DataError(f"{path.name}: none of the twelve leads found in {listing(record.names)}")
    rows = data[found]
    rows[~mask] = 0.0
    return Signal(rows, record.rate_hz, mask)
