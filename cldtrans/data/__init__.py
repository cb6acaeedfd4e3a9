"""Recordings and shards: datasets, sources, readers, preprocessing, splits."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cldtrans.errors import ConfigError, DataError, suggestion

if TYPE_CHECKING:
    from cldtrans.config import DatasetClassConfig
    from cldtrans.data.base import Dataset

# One file a dataset; a new one is a module here with a class of this name.
DATASETS = {
    "chbmit": "cldtrans.data.chbmit:ChbMit",
    "eegmmidb": "cldtrans.data.eegmmidb:Eegmmidb",
    "sleepedf": "cldtrans.data.sleepedf:SleepEdf",
    "sleepedf-onset": "cldtrans.data.sleep_onset:SleepOnset",
    "ptbxl": "cldtrans.data.ptbxl:PtbXl",
    "mimic_ecg": "cldtrans.data.mimic_ecg:MimicEcg",
    "siena": "cldtrans.data.siena:Siena",
    "challenge2021-chapman_shaoxing": "cldtrans.data.challenge2021:ChapmanShaoxing",
    "challenge2021-ningbo": "cldtrans.data.challenge2021:Ningbo",
    "challenge2021-georgia": "cldtrans.data.challenge2021:Georgia",
    "challenge2021-ptb-xl": "cldtrans.data.challenge2021:PtbXlScored",
    "code15": "cldtrans.data.code15:Code15",
    "code15-mortality": "cldtrans.data.code15_mortality:Code15Mortality",
    "hbn-rt": "cldtrans.data.hbn.dataset:ResponseTimes",
    "hbn-hit": "cldtrans.data.hbn.dataset:Hits",
    "hbn-factors": "cldtrans.data.hbn.dataset:Factors",
}


def get_dataset(name: str) -> Dataset:
    """Return the dataset of that name among ours."""
    if name not in DATASETS:
        raise DataError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}")
    return build_dataset(name, DATASETS[name], {})


def chosen_dataset(name: str, own: Mapping[str, DatasetClassConfig]) -> Dataset:
    """Return the dataset of that name among the user's own, `dataset_classes` of the config, or ours.

    Raises
    ------
    DataError
        For an unknown name.
    ConfigError
        Where a class of one's own is not found, or does not take its settings.
    """
    if name not in own:
        return get_dataset(name)
    return build_dataset(name, own[name].factory, own[name].settings)


def build_dataset(name: str, spec: str, settings: dict[str, Any]) -> Dataset:
    """Make a dataset of a ``module:Class``; it is called `name`, whatever its class is called."""
    module_name, _, cls = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"dataset {name} ({spec}): no module {error.name!r}; install it, or run where it lies"
        ) from None
    if not hasattr(module, cls):
        raise ConfigError(f"dataset {name}: {module_name} has no {cls!r}{suggestion(cls, dir(module))}")
    try:
        dataset = getattr(module, cls)(**settings)
    except TypeError as error:  # a setting that it does not know, or an abstract method that it lacks
        raise ConfigError(f"dataset {name} ({spec}): {error}") from None
    if name not in DATASETS:
        dataset.name = name
    return dataset
