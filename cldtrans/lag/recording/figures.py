"""Figures of a recording's lags: the pictures of `cldtrans.lag.views`, titled with what was fitted."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cldtrans.lag.recording.readings import READINGS
from cldtrans.lag.views import pictures
from cldtrans.lag.views.pairs import Picture

if TYPE_CHECKING:
    from cldtrans.lag.recording.lags import RecordingLags

COUNTED = {"lag": "lags above zero", "zero lag": "at zero lag"}
"""Readings that are called otherwise in a title."""
LONGEST = 110  # characters of a line


def graph(lags: RecordingLags, axes: Axes) -> None:
    """Draw arrows on the head, rungs between leads of an ECG, arrows in a circle for anything else."""
    pairs = lags.pairs()
    usual = pictures.usual(pairs.channels)
    pictures.draw(pairs, "head" if usual == "heat_map" else usual, axes)


def draw(lags: RecordingLags, kind: Picture | str) -> Figure:
    """Draw a figure of one kind, "heat_map" or "graph", titled with what was fitted."""
    side = 5.0 + 0.06 * len(lags.channels)
    with mpl.rc_context({"font.size": 8, "axes.titlesize": 8, "text.parse_math": False}):
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.add_subplot()
        if kind == "graph":
            graph(lags, axes)
        else:
            pictures.heat_map(lags.pairs(), axes)
        axes.set_title(_title(lags), loc="left")
    return figure


def _title(lags: RecordingLags) -> str:
    window = lags.window
    counts = lags.table()["reading"].value_counts()
    found = ", ".join(f"{counts[kind]} {COUNTED.get(kind, kind)}" for kind in READINGS if kind in counts)
    name = window.origin.rsplit("/", 1)[-1]
    what = f"{name}, {window.start_s:g} to {window.stop_s:g} s, reference {window.reference}"
    if lags.source.explains:
        return f"{what}\none hidden source explains the channels as well: no edge is a finding"
    lines = [what, found or "no edge"]
    if lags.worst_warning is not None:
        lines.append(textwrap.shorten(f"! {lags.worst_warning}", LONGEST, placeholder=" ..."))
    return "\n".join(lines)
