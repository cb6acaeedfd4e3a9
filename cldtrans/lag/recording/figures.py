"""Figures of a recording's lags: a matrix of pairs, and arrows between places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from cldtrans.data.montages.electrodes import on_head
from cldtrans.lag.head import COLOURS, outline

if TYPE_CHECKING:
    import pandas as pd

    from cldtrans.lag.recording.lags import RecordingLags

WRITTEN_IN = 20
"""Channels up to which a cell has room for its number."""

LEFT_OUT = "0.65"
"""Colour of the names of channels that the fit had to leave out."""

COUNTED = {
    "lag": "lags above zero",
    "zero lag": "at zero lag",
    "undetermined": "undetermined",
    "implausible": "implausible",
}


def heat_map(lags: RecordingLags, axes: Axes) -> None:
    """Draw lags in milliseconds, target in rows and source in columns; grey: an edge at lag zero."""
    n = len(lags.channels)
    table = lags.table()
    rows, columns = (_positions(lags, table[end]) for end in ("target", "source"))
    leads = (table["reading"] == "lag").to_numpy()
    image = np.full((n, n), np.nan)
    image[rows[leads], columns[leads]] = table["tau_ms"].to_numpy()[leads]
    scale = _scale(table)
    drawn = axes.imshow(np.ma.masked_invalid(image), cmap=COLOURS, norm=scale)
    zero = (table["reading"] == "zero lag").to_numpy()
    axes.scatter(columns[zero], rows[zero], marker="s", s=(150 / n) ** 2 / 3, color="0.82", linewidths=0)
    if n <= WRITTEN_IN:
        for i, j in zip(rows[leads], columns[leads], strict=True):
            dark = scale(image[i, j]) > 0.5
            size = min(7.0, 120 / n)
            axes.text(
                j, i, _written(image[i, j]), ha="center", va="center", size=size, color="w" if dark else "k"
            )
    size = min(8.0, 160 / n)
    axes.set_xticks(range(n), lags.channels, rotation=90, size=size)
    axes.set_yticks(range(n), lags.channels, size=size)
    for i in lags.fit.left_out:
        axes.get_xticklabels()[i].set_color(LEFT_OUT)
        axes.get_yticklabels()[i].set_color(LEFT_OUT)
    axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="0.93", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("source (comes first)")
    axes.set_ylabel("target (comes later)")
    axes.spines[:].set_visible(False)
    _colour_bar(axes, drawn)


def graph(lags: RecordingLags, axes: Axes) -> None:
    """Draw an arrow from source to target for each lag above zero, on the head where places are known.

    The bolder, the stronger the evidence; a thin grey line joins channels with an edge at lag zero, a dotted
    one those whose edge is withheld because one hidden source explains the channels as well.
    """
    places = on_head(lags.channels)
    on_scalp = places is not None
    if places is None:
        angle = np.pi / 2 - 2 * np.pi * np.arange(len(lags.channels)) / len(lags.channels)
        places = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        outline(axes)
    boxes = []  # at which arrows end; their places are known once the figure's layout was drawn
    size = min(7.0, 130 / len(places))
    for i, (name, place) in enumerate(zip(lags.channels, places, strict=True)):
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "0.7", "linewidth": 0.5}
        label = name.replace("-", "\n", 1) if on_scalp else name
        colour = LEFT_OUT if i in lags.fit.left_out else "k"
        text = axes.text(place[0], place[1], label, ha="center", va="center", size=size, color=colour)
        text.set(bbox=box, zorder=3, linespacing=0.9)
        boxes.append(text.get_bbox_patch())
    table = lags.table()
    rows, columns = (_positions(lags, table[end]) for end in ("target", "source"))
    scale = _scale(table)
    strength = np.log10(np.maximum(table["z"].to_numpy(), 1.0))
    width = 0.6 + 1.6 * strength / max(strength.max(initial=0.0), 1e-9)
    for k in np.argsort(strength):  # the strongest on top
        i, j, reading = rows[k], columns[k], table["reading"].iloc[k]
        if reading == "zero lag":
            axes.plot(*places[[i, j]].T, color="0.8", linewidth=0.8, zorder=1)
        elif reading == "lag" and lags.source.explains:
            axes.plot(*places[[i, j]].T, color="0.8", linewidth=0.8, linestyle=":", zorder=1)
        elif reading == "lag":
            axes.add_patch(
                FancyArrowPatch(
                    tuple(places[j]), tuple(places[i]), arrowstyle="-|>", mutation_scale=7 + 2 * width[k],
                    connectionstyle="arc3,rad=0.18", patchA=boxes[j], patchB=boxes[i], shrinkA=1, shrinkB=1,
                    color=COLOURS(scale(table["tau_ms"].iloc[k])), linewidth=width[k], zorder=2,
                )
            )  # fmt: skip
    axes.set_xlim(-1.3, 1.3)
    axes.set_ylim(-1.25, 1.3)
    axes.set_aspect("equal")
    axes.set_axis_off()
    if (table["reading"] == "lag").any():
        _colour_bar(axes, mpl.cm.ScalarMappable(scale, COLOURS))


def draw(lags: RecordingLags, kind: str) -> Figure:
    """Draw a figure of one kind, "heat_map" or "graph", titled with what was fitted."""
    side = 5.0 + 0.06 * len(lags.channels)
    # Names stand as they are: a dollar sign begins no formula.
    with mpl.rc_context({"font.size": 8, "axes.titlesize": 8, "text.parse_math": False}):
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.add_subplot()
        {"heat_map": heat_map, "graph": graph}[kind](lags, axes)
        axes.set_title(_title(lags), loc="left")
    return figure


def _written(lag_ms: float) -> str:
    return f"{lag_ms:.1f}" if lag_ms < 9.95 else f"{lag_ms:.0f}"


def _title(lags: RecordingLags) -> str:
    window = lags.window
    counts = lags.table()["reading"].value_counts()
    found = ", ".join(f"{counts[kind]} {text}" for kind, text in COUNTED.items() if kind in counts)
    name = window.origin.rsplit("/", 1)[-1]
    what = f"{name}, {window.start_s:g} to {window.stop_s:g} s, reference {window.reference}"
    if lags.source.explains:
        return f"{what}\none hidden source explains the channels as well: no edge is a finding"
    return f"{what}\n{found or 'no edge'}"


def _scale(table: pd.DataFrame) -> Normalize:
    largest = table.loc[table["reading"] == "lag", "tau_ms"].max()
    return Normalize(0.0, largest if largest > 0 else 1.0)


def _positions(lags: RecordingLags, names: pd.Series) -> np.ndarray:
    place = {name: position for position, name in enumerate(lags.channels)}
    return names.map(place).to_numpy(dtype=int)


def _colour_bar(axes: Axes, drawn: mpl.cm.ScalarMappable) -> None:
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("lag (ms)")
    bar.outline.set_visible(False)
