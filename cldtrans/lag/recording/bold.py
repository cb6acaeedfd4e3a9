"""Who is later in parcellated BOLD: slow, one sample a repetition time, and never all of it at one time.

No edges are fitted: at the rate that the band of resting BOLD fills a sample lasts 4.5 s, and lags of the
size that is asked about lie within one. What can be read are delays of pairs, which the phase of the band
tells to a fraction of a sample, and their projection to one delay a parcel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tabulate import tabulate

from cldtrans.data.formats.parcellated import Parcellated, read_parcellated
from cldtrans.data.recording import from_array
from cldtrans.errors import DataError
from cldtrans.files import atomic_path, write_json
from cldtrans.lag.pairwise.delays import pairwise_delays
from cldtrans.lag.pairwise.projection import Projection, project
from cldtrans.lag.pairwise.result import PairwiseDelays
from cldtrans.lag.recording.window import Window, begin_with, cut_window

if TYPE_CHECKING:
    import pandas as pd

BAND_HZ = (0.01, 0.1)
TAU_MAX_S = 4.0
MOST_ROWS = 20
"""Rows of a table that are printed; the files have all."""
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class BoldDelays:
    """Delays in a stretch of BOLD.

    Attributes
    ----------
    window : Window
        The stretch, filtered; its notes say what was left out.
    delays : PairwiseDelays
        How much later each parcel is than each other one: no causal claim.
    projection : Projection
        How much later each is than the average.
    tr_s : float
        Repetition time, seconds.
    slices_corrected : bool or None
        Whether slices were brought to one time; where not, delays below `tr_s` are refused.
    """

    window: Window
    delays: PairwiseDelays
    projection: Projection
    tr_s: float
    slices_corrected: bool | None

    def table(self) -> pd.DataFrame:
        """Return a row a pair, the most coherent first; `claim`: "delay", or "slice timing" where refused."""
        table = self.delays.summary(self.window.channels)
        return table.assign(claim=self._claim(table["tau_ms"]))

    def parcels(self) -> pd.DataFrame:
        """Return a row a parcel, the earliest first: its delay after the average, and whether it is one."""
        import pandas as pd

        table = pd.DataFrame(
            {
                "parcel": self.window.channels,
                "tau_ms": 1e3 * self.projection.tau,
                "tau_stderr_ms": 1e3 * self.projection.tau_stderr,
            }
        )
        table["claim"] = self._claim(table["tau_ms"])
        return table.sort_values("tau_ms", ignore_index=True)

    def _claim(self, tau_ms: pd.Series) -> pd.Series:
        below = (tau_ms.abs() < 1e3 * self.tr_s) & (self.slices_corrected is False)
        return below.map({True: "slice timing", False: "delay"})


def bold_delays(
    source: str | Path | Parcellated,
    *,
    tr_s: float | None = None,
    start_s: float = 0.0,
    stop_s: float | None = None,
    channels: Sequence[str] | None = None,
    band_hz: tuple[float, float] = BAND_HZ,
    tau_max_s: float = TAU_MAX_S,
) -> BoldDelays:
    """Estimate delays between parcels.

    Parcels that were lost in any volume are left out. Where slices were not brought to one time, delays below
    one repetition time are refused: as much may lie between the slices of two parcels.

    Parameters
    ----------
    source : str or Path or Parcellated
        A file, or what `read_parcellated` made of one.
    tr_s : float, optional
        Repetition time in seconds, as in `read_parcellated`.
    start_s, stop_s : float
        Seconds from the run's beginning; default: all of it.
    channels : sequence of str, optional
        Names of parcels; default: all.
    band_hz : (float, float)
        Pass band, hertz.
    tau_max_s : float
        Largest delay searched, seconds, either way.

    Raises
    ------
    DataError
        One line that begins with the file.
    """
    origin = "parcels" if isinstance(source, Parcellated) else str(source)
    bold = source if isinstance(source, Parcellated) else read_parcellated(source, tr_s)
    whole = np.isfinite(bold.data).all(axis=1)
    if whole.sum() < 2:
        raise DataError(f"{origin}: {whole.sum()} of {len(whole)} parcels are whole; two or more are needed")
    kept = [name for name, fine in zip(bold.names, whole, strict=True) if fine]
    recording = from_array(bold.data[whole], 1 / bold.tr_s, kept, origin)
    recording = replace(recording, kinds=["other"] * len(kept))  # a parcel's name is no electrode's
    window = cut_window(recording, start_s, stop_s, channels, "none", band_hz, "gaussian")
    try:
        delays = pairwise_delays(window.x, window.rate_hz, tau_max_s, band_hz=band_hz)
        projection = project(delays)
    except DataError as error:
        raise DataError(begin_with(origin, error)) from error
    notes = [*window.notes, *_notes(bold, whole)]
    return BoldDelays(replace(window, notes=notes), delays, projection, bold.tr_s, bold.slices_corrected)


def _notes(bold: Parcellated, whole: np.ndarray) -> list[str]:
    """Say what of the run is not here, and what its delays may be instead of neurons'."""
    notes = []
    if not whole.all():
        lost = [name for name, fine in zip(bold.names, whole, strict=True) if not fine]
        notes.append(f"lost in some volume, and left out: {', '.join(lost)}")
    if bold.slices_corrected is None:
        notes.append(
            "not known whether slices were brought to one time (SliceTimingCorrected in a sidecar): delays "
            f"below one repetition time, {bold.tr_s:g} s, may be theirs"
        )
    elif not bold.slices_corrected:
        notes.append(
            f"slices were not brought to one time: delays below one repetition time, {bold.tr_s:g} s, are "
            "refused as claims"
        )
    notes.append("blood arrives at parcels at different times: a delay of BOLD need not be one of neurons")
    return notes


def render_bold(found: BoldDelays) -> str:
    """Write delays of parcels and of pairs, and what to know before they are believed."""
    window, (low, high) = found.window, found.window.band_hz
    lines = [
        f"{window.origin}, {window.start_s:g} to {window.stop_s:g} s: {len(window.channels)} parcels, "
        f"{low:g} to {high:g} Hz, one volume in {found.tr_s:g} s, delays up to "
        f"{1e3 * found.delays.tau_max:g} ms",
        "",
        "Parcels: how late each is beside the average of all.",
        _table(found.parcels()),
        "",
        "Pairs: who is later. No causal claim: a shared source gives delays as well.",
        _table(found.table()),
        "",
        "Before you believe it:",
        *(f"- {note}" for note in window.notes),
    ]
    return "\n".join(lines) + "\n"


def _table(table: pd.DataFrame) -> str:
    shown = tabulate(table.head(MOST_ROWS), headers="keys", showindex=False, floatfmt=".2f")
    more = len(table) - MOST_ROWS
    return shown + (f"\n... and {more} more" if more > 0 else "")


def write_bold(folder: Path, found: BoldDelays) -> None:
    """Write `parcels.csv`, `delays.csv` and `summary.json` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("parcels.csv", found.parcels()), ("delays.csv", found.table())):
        with atomic_path(folder / name) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "file": found.window.origin,
        "tr_s": found.tr_s,
        "slice_timing_corrected": found.slices_corrected,
        "band_hz": list(found.window.band_hz),
        "tau_max_s": found.delays.tau_max,
        "parcels": found.window.channels,
        "notes": found.window.notes,
    }
    write_json(folder / "summary.json", content)
