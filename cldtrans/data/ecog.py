"""Electrocorticograms as `Epoch` objects of R, one `.rda` file a seizure.

Source: the R packages EZFragility and Epoch, e.g. `pt01EcoG.rda` from OpenNeuro ds003029, doi
10.18112/openneuro.ds003029.v1.0.7, CC0. An S4 object: `table` [channels, samples] in microvolts with times in
seconds from the clinical onset as names of its columns, `rowData$soz` or `metaData$sozNames` for the
seizure-onset zone, `metaData$samplingRate`, `metaData$patient`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.config import IntracranialConfig
from cldtrans.data.intracranial import Intracranial, MarkedRecording, in_zone
from cldtrans.errors import DataError


class Ecog(Intracranial):
    """Electrocorticograms around one onset each."""

    title = "ECoG"
    suffixes = (".rda",)

    def recordings(
        self, folder: Path, settings: IntracranialConfig, notes: list[str]
    ) -> Iterator[MarkedRecording]:
        """Yield every file's recording."""
        for path in self.files(folder):
            try:
                yield read_epoch(path)
            except DataError as error:
                notes.append(str(error))


def read_epoch(path: Path) -> MarkedRecording:
    """Read one object.

    Raises
    ------
    DataError
        Where it is not such an object, or holds no onset.
    """
    try:
        import rdata
    except ImportError:
        raise DataError(
            f"{path}: objects of R are read by the package rdata, which is not installed; "
            "pip install 'cldtrans[intracranial]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it does not know the class, whose slots are all that is wanted
            epoch = next(iter(rdata.read_rda(path).values()))
        table, meta = epoch.table, epoch.metaData
        data = np.ascontiguousarray(table.values, dtype=np.float32)
        channels = tuple(str(name) for name in table.coords[table.dims[0]].values)
        time_s = table.coords[table.dims[1]].values.astype(float)
        rate_hz = float(meta["samplingRate"].iloc[0])
        named = _zone(epoch, channels)
        subject = str(meta["patient"].iloc[0])
    except Exception as error:  # rdata and what it returns raise whatever the bytes happen to provoke
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path}: expected an Epoch object of R with table, rowData$soz or metaData$sozNames, and "
            f"metaData$samplingRate; it cannot be read ({reason})"
        ) from error
    if not time_s[0] <= 0 < time_s[-1]:
        raise DataError(
            f"{path}: expected times around the onset at 0 s, found {time_s[0]:g} to {time_s[-1]:g} s; "
            "cut it anew"
        )
    return MarkedRecording(
        subject, path.stem, channels, in_zone(channels, named, str(path)), [(-float(time_s[0]), np.inf)],
        rate_hz, data.shape[1], lambda first, end: data[:, first:end],
    )  # fmt: skip


def _zone(epoch: Any, channels: tuple[str, ...]) -> set[str]:
    """Return the names in the onset zone: by the rows' own mark, or else by the list."""
    if "soz" in epoch.rowData:
        marked = epoch.rowData["soz"].to_numpy(dtype=bool)
        return {name for name, inside in zip(channels, marked, strict=True) if inside}
    return {str(name) for name in epoch.metaData["sozNames"].dropna()}
