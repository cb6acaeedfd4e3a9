"""Daily discharge of rivers, whose network says who drives whom: the upper Danube.

Source: `danube` of the R package graphicalExtremes (GPL-3; data of the Bavarian Environment Agency), columns
aligned at their last day, 25 of its 31 stations. Water flows one way, so that every edge of the network has
a known direction and a lag of hours, below the sampling step of a day. Rain that falls on several rivers at
once is a hidden source of its own. The other seven edges, of stations whose alignment is not known, are read
from the published file where that is there, and set aside.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np

from cldtrans.data.known_lags.sets import KnownReader, KnownSystem, Truth
from cldtrans.errors import DataError

TAU_MAX_DAYS = 5.0
PUBLISHED = "danube.rda"
LENGTH = 19800
"""Days, the last ones, of the published columns: as many as the confirmed stations have."""


class Rivers(KnownReader):
    """Differences of the logarithm of discharge, of all stations as one system."""

    title = "rivers"
    truth: ClassVar[Truth] = "propagation"
    folder = "danube"
    files = ("danube_right_aligned.npz",)
    notes = (
        "its 23 edges are those of the published 30 whose alignment was confirmed by the same correlations "
        "that direction is read from; the other seven are set aside",
    )

    def systems(self, folder: Path) -> list[KnownSystem]:
        """Read the network."""
        arrays = np.load(folder / self.files[0], allow_pickle=False)
        discharge = arrays["discharge_m3s"].T.astype(float)
        if not (discharge > 0).all():
            raise DataError(f"{folder / self.files[0]}: expected discharge above zero in every station")
        edges = np.zeros((len(discharge), len(discharge)), bool)
        upstream, downstream = arrays["edges"].T
        edges[downstream, upstream] = True
        stations = arrays["station"].astype(int)
        names = zip(arrays["river"], stations, strict=True)
        published = folder / PUBLISHED
        return [
            KnownSystem(
                name="Danube",
                x=np.diff(np.log(discharge))[None],
                sample_rate=1.0,
                tau_max_s=TAU_MAX_DAYS,
                channels=tuple(f"{river} {station}" for river, station in names),
                edges=edges,
                level=discharge.mean(1),
            ),
            *([_further(published, stations[arrays["edges"]])] if published.is_file() else []),
        ]


def _further(path: Path, confirmed: np.ndarray) -> KnownSystem:
    """Read the edges that are not among the confirmed [n, 2], (upstream, downstream) stations."""
    try:
        import rdata
    except ImportError:
        raise DataError(
            f"{path}: objects of R are read by the package rdata, which is not installed; "
            "pip install 'cldtrans[intracranial]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that it does not know, whose values are all that is wanted
        published = {str(name): value for name, value in rdata.read_rda(path)["danube"].items()}
    raw = np.asarray(published["data_raw"], dtype=float).T
    # Columns of unequal length begin in the same row, whatever their first day; the last day is the same.
    ends = [np.flatnonzero(np.isfinite(row))[-1] + 1 for row in raw]
    length = min(*ends, LENGTH)
    discharge = np.stack([_whole(row[end - length : end]) for row, end in zip(raw, ends, strict=True)])
    edges = np.zeros((len(raw), len(raw)), bool)
    known = {(int(up), int(down)) for up, down in confirmed}
    for up, down in np.asarray(published["flow_edges"], dtype=int):
        edges[down - 1, up - 1] = (up, down) not in known
    return KnownSystem(
        name="Danube, further edges",
        x=np.diff(np.log(discharge))[None],
        sample_rate=1.0,
        tau_max_s=TAU_MAX_DAYS,
        channels=tuple(str(station + 1) for station in range(len(raw))),
        edges=edges,
        level=discharge.mean(1),
        aside=True,
    )


def _whole(discharge: np.ndarray) -> np.ndarray:
    """Join days without a value, and those at or below zero, by straight lines."""
    day, there = np.arange(len(discharge)), discharge > 0
    return np.interp(day, day[there], discharge[there])
