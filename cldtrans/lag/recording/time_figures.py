"""Figures of lags over time: lags against time, and the graph at chosen times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from cldtrans.lag.pairwise.result import NORMAL95
from cldtrans.lag.views import pictures

if TYPE_CHECKING:
    from cldtrans.lag.recording.lags import RecordingLags
    from cldtrans.lag.recording.over_time import LagsOverTime

MOST_EDGES = 12
"""Edges drawn, the strongest; the table has all."""
MOST_GRAPHS = 3


def lags_against_time(found: LagsOverTime) -> Figure:
    """Draw a panel an edge: its lag in each window with the 95 % interval, at the window's middle.

    A vertical line stands where a window begins that differs from the one before it.
    """
    count = min(len(found.source), MOST_EDGES)
    with mpl.rc_context({"font.size": 8, "axes.titlesize": 8, "text.parse_math": False}):
        figure = Figure(figsize=(7.5, 0.6 + 1.0 * max(count, 1)), layout="constrained")
        rows = figure.subplots(max(count, 1), 1, sharex=True, squeeze=False)[:, 0]
        middle = found.start_s + found.length_s / 2
        for edge, axes in enumerate(rows[:count]):
            tau, half = 1e3 * found.tau[:, edge], 1e3 * NORMAL95 * found.tau_stderr[:, edge]
            axes.fill_between(middle, tau - half, tau + half, color="0.82", linewidth=0)
            axes.plot(middle, tau, color="0.1", linewidth=1.0, marker=".", markersize=3)
            for window, changed in found.changes:
                if changed == edge:
                    axes.axvline(found.start_s[window], color="#c0392b", linewidth=1.0)
            axes.set_title(f"{found.source[edge]} → {found.target[edge]}", loc="left", pad=2)
            axes.set_ylim(*_limits(tau, half))
            axes.spines[["top", "right"]].set_visible(False)
        rows[-1].set_xlabel("time in the recording (s)")
        figure.supylabel("lag (ms)", size=8)
    return figure


def graphs(lags: RecordingLags, found: LagsOverTime) -> Figure:
    """Draw the graph in windows at the beginning, in the middle and at the end, on one scale each."""
    chosen = np.unique(np.linspace(0, len(found.start_s) - 1, MOST_GRAPHS).round().astype(int))
    kind = pictures.usual(lags.channels)
    side = 3.4 + 0.03 * len(lags.channels)
    with mpl.rc_context({"font.size": 8, "axes.titlesize": 8, "text.parse_math": False}):
        figure = Figure(figsize=(side * len(chosen), side + 0.3), layout="constrained")
        for axes, window in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
            pictures.draw(found.at(int(window), lags), "head" if kind == "heat_map" else kind, axes)
            start_s = found.start_s[window]
            axes.set_title(f"{start_s:.4g} to {start_s + found.length_s:.4g} s", loc="left")
    return figure


def _limits(tau: np.ndarray, half: np.ndarray) -> tuple[float, float]:
    """Return the range of an axis: that of the lags, and of most of the intervals."""
    known = np.isfinite(tau)
    if not known.any():
        return 0.0, 1.0
    reach = np.nanmedian(half) if np.isfinite(half).any() else 0.0
    low, high = tau[known].min() - 1.5 * reach, tau[known].max() + 1.5 * reach
    return float(low), float(high if high > low else low + 1.0)
