"""Who leads whom in a stretch of a recording, and how far each lag can be read.

Two things that are easily taken for each other stand apart: edges, by which a channel drives another (the
LD-SEM's claim), and delays, by which one is later than another, whatever the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from cldtrans.data.montages.reference import Reference
from cldtrans.data.montages.spelling import cleaned
from cldtrans.data.recording import Recording
from cldtrans.errors import DataError
from cldtrans.lag.amortised import AmortisedLags
from cldtrans.lag.fit.ldsem import fit_ldsem
from cldtrans.lag.fit.likelihood import Innovation
from cldtrans.lag.fit.progress import Progress
from cldtrans.lag.fit.result import LagFit
from cldtrans.lag.pairwise.delays import pairwise_delays
from cldtrans.lag.pairwise.result import PairwiseDelays
from cldtrans.lag.recording.lead import lead_of
from cldtrans.lag.recording.readings import LEAST_P, READINGS, SYSTEMATIC, read, worst_of
from cldtrans.lag.recording.window import BAND_HZ, LEAST_FILLED, Window, begin_with, cut_window
from cldtrans.lag.single_source.common import HiddenSource, hidden_source
from cldtrans.lag.single_source.focal import FocalLead
from cldtrans.lag.views.pairs import Pairs, PairViews

if TYPE_CHECKING:
    import mne
    import pandas as pd

TAU_MAX_S, MAX_ORDER = 0.1, 32
UNFITTED = (
    "read by the pretrained model, and not fitted to this recording: no p-values, and intervals that nobody "
    "has tested here; fit before you believe an edge"
)


Edges = TypeVar("Edges", LagFit, AmortisedLags)


@dataclass(frozen=True, repr=False)
class RecordingLags(PairViews, Generic[Edges]):
    """Lags, with what they are of; `plot` and `to_frame` and the like show the edges.

    Attributes
    ----------
    fit : LagFit or AmortisedLags
        A fit, or what the pretrained model read without one; rows are targets, columns sources.
    window : Window
        The stretch.
    delays : PairwiseDelays
        How much later each channel is than each other one: no causal claim.
    source : HiddenSource
        Whether one hidden source explains the channels as well as edges between them.
    lead : FocalLead or None
        From `lead_of`; None where it was not asked, or cannot tell.
    """

    fit: Edges
    window: Window
    delays: PairwiseDelays
    source: HiddenSource
    lead: FocalLead | None = None

    @property
    def channels(self) -> list[str]:
        """Names of the fit's rows and columns, without what the file's format added."""
        return [cleaned(name) for name in self.window.channels]

    @property
    def fitted(self) -> bool:
        """Whether a model was fitted to this recording, or a pretrained one read it."""
        return isinstance(self.fit, LagFit)

    @property
    def worst_warning(self) -> str | None:
        """The gravest warning, which stands beside every table and figure; None where there is none."""
        if self.source.explains:
            return f"{self.source.sentence()}: no edge is a causal finding"
        if not self.fitted:
            return UNFITTED
        return worst_of([*self.fit.warnings, *self.window.notes])

    @property
    def warnings(self) -> list[str]:
        """What was left out of the recording, what the intervals leave out, what the fit says of itself."""
        shift = (
            f"filter and sampling rate shift lags by up to a quarter of a sample, "
            f"{1e3 * SYSTEMATIC / self.window.rate_hz:.1f} ms, which the intervals do not contain"
        )
        return [*([] if self.fitted else [UNFITTED]), *self.window.notes, shift, *self.fit.warnings]

    def headline(self) -> str:
        """Say in a line what was found."""
        window, counts = self.window, self.table()["reading"].value_counts()
        found = ", ".join(f"{counts[kind]} {kind}" for kind in READINGS if kind in counts) or "no edge"
        return (
            f"RecordingLags: {window.origin}, {window.start_s:g} to {window.stop_s:g} s, "
            f"{len(self.channels)} channels (reference {window.reference}): {found}; "
            f"{len(self.warnings)} warnings"
        )

    def pairs(self) -> Pairs:
        """Return names, edges with their readings, and matrices."""
        fitted = replace(self.fit, channels=self.channels).pairs()
        return replace(fitted, table=self.table(), warnings=self.warnings)

    def table(self) -> pd.DataFrame:
        """Return the edges with names and a column `reading`, those that can be read first.

        The column says how far a lag can be read: `MEANING` of `cldtrans.lag.recording.readings` has the
        words, and `read` the order in which they are tried.

        The column `claim` is `edge`; `amortised` where nothing was fitted; or `withheld` in every row where
        one hidden source explains the channels as well: then no edge is a causal finding.
        """
        table = self.fit.summary(self.channels)
        if "p_value" in table:
            table["p_value"] = table["p_value"].clip(lower=LEAST_P)
        table["reading"] = read(table, self.fit, self.channels, self.window.x.std(1).tolist())
        table["claim"] = "withheld" if self.source.explains else "edge" if self.fitted else "amortised"
        rank = table["reading"].map({kind: place for place, kind in enumerate(READINGS)})
        strength = table["z" if self.fitted else "probability"]
        return table.iloc[np.lexsort((-strength, rank))].reset_index(drop=True)


def lags_of_recording(
    source: str | Path | Recording | mne.io.BaseRaw,
    *,
    start_s: float = 0.0,
    stop_s: float | None = None,
    channels: Sequence[str] | None = None,
    reference: Reference | None = None,
    band_hz: tuple[float, float] = BAND_HZ,
    tau_max_s: float = TAU_MAX_S,
    innovation: Innovation | None = None,
    alpha: float = 0.01,
    max_order: int = MAX_ORDER,
) -> RecordingLags[LagFit]:
    """Fit an LD-SEM to a stretch of a recording; `cut_window`, then `fit_window`.

    Parameters
    ----------
    source : str or Path or Recording or mne.io.BaseRaw
        A file, an mne recording, or `cldtrans.data.recording.from_array(x, sample_rate, names)`.
    start_s, stop_s : float
        Seconds from the recording's beginning; default: all of it.
    channels : sequence of str, optional
        Names after referencing, as in `cut_window`.
    reference : one of "bipolar", "laplacian", "average", "none", optional
        See `rereference`.
    band_hz : (float, float)
        Pass band, hertz, as in `cut_window`.
    tau_max_s : float
        Largest lag searched, seconds.
    innovation : one of "laplace", "student", "gaussian", optional
        Density of the innovations, as in `cut_window`.
    alpha : float
        Level of the support, as in `fit_ldsem`.
    max_order : int
        Longest own past of a channel, samples, as in `fit_ldsem`.

    Returns
    -------
    RecordingLags
        The fit, with what it was fitted to.

    Raises
    ------
    DataError
        One line that begins with the file.
    """
    window = cut_window(source, start_s, stop_s, channels, reference, band_hz, innovation)
    lags = fit_window(window, tau_max_s, alpha, max_order)
    return lags if interrupted(lags) else replace(lags, lead=lead_of(source, window))


def interrupted(lags: RecordingLags) -> bool:
    """Tell whether a fit was ended before its search had."""
    return isinstance(lags.fit, LagFit) and lags.fit.interrupted


def fit_window(
    window: Window,
    tau_max_s: float = TAU_MAX_S,
    alpha: float = 0.01,
    max_order: int = MAX_ORDER,
    progress: Callable[[Progress], None] | None = None,
) -> RecordingLags[LagFit]:
    """Fit a window; of a band that does not fill the spectrum its frequencies only (Whittle's likelihood).

    Where it does, all frequencies are used: without the few at the edge the search was misled by five of
    eighteen delays of an ECG against itself, with them by none.

    Parameters
    ----------
    window : Window
        From `cut_window`.
    tau_max_s : float
        Largest lag searched, seconds.
    alpha : float
        Level of the support, as in `fit_ldsem`.
    max_order : int
        Longest own past of a channel, samples, as in `fit_ldsem`.
    progress : callable, optional
        As in `fit_ldsem`, and Ctrl-C as there.

    Raises
    ------
    DataError
        Where the window cannot be fitted; one line that begins with the file.
    """
    band_hz = used_band(window)
    narrow = band_hz[1] - band_hz[0] < LEAST_FILLED * window.rate_hz / 2
    try:
        fit = fit_ldsem(
            window.x[None],
            window.rate_hz,
            tau_max_s,
            window.innovation,
            alpha=alpha,
            max_order=max_order,
            band_hz=band_hz if narrow else None,
            channels=[cleaned(name) for name in window.channels],
            progress=progress,
        )
    except DataError as error:
        raise DataError(begin_with(window.origin, error)) from error
    return with_delays(window, fit, tau_max_s)


def with_delays(window: Window, fit: Edges, tau_max_s: float) -> RecordingLags[Edges]:
    """Put beside the edges of a window its delays, and whether one hidden source explains both.

    Parameters
    ----------
    window : Window
        From `cut_window`.
    fit : LagFit or AmortisedLags
        Its edges.
    tau_max_s : float
        Largest delay, seconds.

    Raises
    ------
    DataError
        Where no two channels are independent; one line that begins with the file.
    """
    if len(window.channels) - len(fit.left_out) < 2:
        raise DataError(f"{window.origin}: no two independent channels: {'; '.join(fit.warnings)}")
    band_hz = used_band(window)
    try:
        delays = pairwise_delays(window.x, window.rate_hz, tau_max_s, band_hz=band_hz)
    except DataError as error:
        raise DataError(begin_with(window.origin, error)) from error
    return RecordingLags(fit, window, delays, hidden_source(window.x, window.rate_hz, delays, band_hz))


def used_band(window: Window) -> tuple[float, float]:
    """Return the part of the pass band that the sampling rate has, hertz."""
    return window.band_hz[0], min(window.band_hz[1], window.rate_hz / 2)
