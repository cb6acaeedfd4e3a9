"""Recordings and shards: datasets, sources, readers, preprocessing, splits."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from cldtrans.errors import DataError

if TYPE_CHECKING:
    from cldtrans.data.base import Dataset

# One file a dataset; a new one is a module here with a class of this name.
DATASETS = {
    "chbmit": "cldtrans.data.chbmit:ChbMit",
    "eegmmidb": "cldtrans.data.eegmmidb:Eegmmidb",
    "sleepedf": "cldtrans.data.sleepedf:SleepEdf",
    "ptbxl": "cldtrans.data.ptbxl:PtbXl",
    "mimic_ecg": "cldtrans.data.mimic_ecg:MimicEcg",
    "siena": "cldtrans.data.siena:Siena",
}


def get_dataset(name: str) -> Dataset:
    """Return the dataset of that name."""
    if name not in DATASETS:
        raise DataError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}")
    module, _, cls = DATASETS[name].partition(":")
    return getattr(importlib.import_module(module), cls)()
