"""Pictures of lags: a matrix of pairs, arrows on the head, a ladder of ECG leads.

One colour direction everywhere: pale is early, dark is late.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from cldtrans.data.montages.electrodes import on_head
from cldtrans.data.montages.kinds import kinds_of
from cldtrans.errors import DataError
from cldtrans.lag.head import COLOURS, outline

if TYPE_CHECKING:
    import pandas as pd

    from cldtrans.lag.views.pairs import Pairs, Picture

WRITTEN_IN = 20
"""Channels up to which a cell has room for its number."""
LEFT_OUT = "0.65"
"""Colour of the names of channels that the fit had to leave out."""
OPEN = "0.75"
"""Colour of edges whose direction is open."""
WEAK = ("possible lag", "amortised", "one sample", "at the limit")
"""Readings of edges that are drawn, and are no findings: dashed arrows, pale cells."""
DRAWN = ("lag", *WEAK)
PALE = 0.35
"""Opacity of a weak edge's cell."""
DOTTED = ("undetermined", "withheld")
"""Readings of edges that are a dotted line."""
LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", *(f"V{k}" for k in range(1, 10)))


def draw(pairs: Pairs, kind: Picture | None = None, axes: Axes | None = None) -> Axes:
    """Draw one picture; see `PairViews.plot`."""
    pictures = {"heat_map": heat_map, "head": head, "ladder": ladder}
    kind = usual(pairs.channels) if kind is None else kind
    if kind not in pictures:
        raise DataError(f"kind is {kind!r}; known: {', '.join(pictures)}")
    if axes is None:
        side = 5.0 + 0.06 * len(pairs.channels)
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.add_subplot()
    # Names stand as they are: a dollar sign begins no formula.
    with mpl.rc_context({"font.size": 8, "axes.titlesize": 8, "text.parse_math": False}):
        pictures[kind](pairs, axes)
    return axes


def usual(channels: Sequence[str]) -> Picture:
    """Choose the picture that says most: leads of an ECG, electrodes of the scalp, anything else."""
    if channels and all(kind == "ecg" for kind in kinds_of(channels)):
        return "ladder"
    return "heat_map" if on_head(channels) is None else "head"


def readings(table: pd.DataFrame) -> np.ndarray:
    """Return how far each edge can be read, [n] of str; by its interval where nobody has said it."""
    if "reading" in table:
        return table["reading"].to_numpy()
    low = table["tau_low_ms"] if "tau_low_ms" in table else table["tau_ms"]
    return np.where(low > 0, "lag", "zero lag")


def claimed(table: pd.DataFrame) -> np.ndarray:
    """Return the same, but "withheld" for lags that something else than an edge explains as well."""
    what = readings(table)
    withheld = (
        np.isin(what, DRAWN) & (table["claim"] == "withheld") if "claim" in table else np.zeros(1, bool)
    )
    return np.where(withheld, "withheld", what)


def heat_map(pairs: Pairs, axes: Axes) -> None:
    """Draw lags in milliseconds, target in rows and source in columns.

    Pale cells are no findings, grey squares edges at lag zero.
    """
    n, table, what = len(pairs.channels), pairs.table, readings(pairs.table)
    rows, columns = ends(pairs)
    leads = np.isin(what, DRAWN)
    image = np.full((n, n), np.nan)
    image[rows[leads], columns[leads]] = table["tau_ms"].to_numpy()[leads]
    scale = _scale(table, what)
    opacity = np.ones((n, n))
    weak = np.isin(what, WEAK)
    opacity[rows[weak], columns[weak]] = PALE
    axes.imshow(np.ma.masked_invalid(image), cmap=COLOURS, norm=scale, alpha=opacity)
    zero = what == "zero lag"
    axes.scatter(columns[zero], rows[zero], marker="s", s=(150 / n) ** 2 / 3, color="0.82", linewidths=0)
    if n <= WRITTEN_IN:
        for i, j in zip(rows[leads], columns[leads], strict=True):
            dark = scale(image[i, j]) > 0.5 and opacity[i, j] == 1
            size = min(7.0, 120 / n)
            axes.text(
                j, i, _written(image[i, j]), ha="center", va="center", size=size, color="w" if dark else "k"
            )
    size = min(8.0, 160 / n)
    axes.set_xticks(range(n), pairs.channels, rotation=90, size=size)
    axes.set_yticks(range(n), pairs.channels, size=size)
    for i in pairs.left_out:
        axes.get_xticklabels()[i].set_color(LEFT_OUT)
        axes.get_yticklabels()[i].set_color(LEFT_OUT)
    axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="0.93", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("source (comes first)")
    axes.set_ylabel("target (comes later)")
    axes.spines[:].set_visible(False)
    if leads.any():
        _colour_bar(axes, ScalarMappable(scale, COLOURS))


def head(pairs: Pairs, axes: Axes) -> None:
    """Draw an arrow from source to target for each lag above zero, on the head where places are known.

    The bolder, the stronger the evidence; dashed arrows are no findings. A thin grey line joins channels with
    an edge at lag zero, a dotted one those whose lag is not determined, or withheld.
    """
    places = on_head(pairs.channels)
    on_scalp = places is not None
    if places is None:
        angle = np.pi / 2 - 2 * np.pi * np.arange(len(pairs.channels)) / len(pairs.channels)
        places = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        outline(axes)
        for x, side in ((-1.2, "left"), (1.2, "right")):
            axes.text(x, 0.0, side, rotation=90, ha="center", va="center", size=7, color="0.4")
        axes.text(0.0, 1.31, "nose", ha="center", va="bottom", size=7, color="0.4")
    boxes = []  # at which arrows end; their places are known once the figure's layout was drawn
    size = min(7.0, 130 / len(places))
    for i, (name, place) in enumerate(zip(pairs.channels, places, strict=True)):
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "0.7", "linewidth": 0.5}
        label = name.replace("-", "\n", 1) if on_scalp else name
        colour = LEFT_OUT if i in pairs.left_out else "k"
        text = axes.text(place[0], place[1], label, ha="center", va="center", size=size, color=colour)
        text.set(bbox=box, zorder=3, linespacing=0.9)
        boxes.append(text.get_bbox_patch())
    table, what = pairs.table, claimed(pairs.table)
    rows, columns = ends(pairs)
    scale, width = _scale(table, what), _widths(table)
    for k in np.argsort(width, kind="stable"):  # the strongest on top
        i, j = rows[k], columns[k]
        if what[k] in DRAWN:
            axes.add_patch(
                FancyArrowPatch(
                    tuple(places[j]), tuple(places[i]), arrowstyle="-|>", mutation_scale=7 + 2 * width[k],
                    connectionstyle="arc3,rad=0.18", patchA=boxes[j], patchB=boxes[i], shrinkA=1, shrinkB=1,
                    color=COLOURS(scale(table["tau_ms"].iloc[k])), linewidth=width[k], zorder=2,
                    linestyle="--" if what[k] in WEAK else "-",
                )
            )  # fmt: skip
        elif what[k] == "zero lag" or what[k] in DOTTED:
            style = ":" if what[k] in DOTTED else "-"
            axes.plot(*places[[i, j]].T, color=OPEN, linewidth=0.9, linestyle=style, zorder=1)
    axes.set_xlim(-1.3, 1.3)
    axes.set_ylim(-1.25, 1.4)
    axes.set_aspect("equal")
    axes.set_axis_off()
    _legend(axes, what, bool(pairs.left_out))
    if np.isin(what, DRAWN).any():
        _colour_bar(axes, ScalarMappable(scale, COLOURS))


def ladder(pairs: Pairs, axes: Axes) -> None:
    """Draw each lag as a rung from its source at time zero to its target; leads in clinical order."""
    plain = [re.sub(r"^(ECG|EKG|LEAD)[\s_-]+", "", name.strip().upper()) for name in pairs.channels]
    rank = {name: k for k, name in enumerate(LEADS)}
    order = sorted(range(len(plain)), key=lambda i: (rank.get(plain[i], len(LEADS)), i))
    level = {channel: -float(place) for place, channel in enumerate(order)}
    table, what = pairs.table, claimed(pairs.table)
    rows, columns = ends(pairs)
    scale, width = _scale(table, what), _widths(table)
    latest = float(table.loc[np.isin(what, DRAWN), "tau_ms"].max()) if np.isin(what, DRAWN).any() else 1.0
    for k in np.argsort(width, kind="stable"):
        i, j = level[int(rows[k])], level[int(columns[k])]
        if what[k] in DRAWN:
            lag = float(table["tau_ms"].iloc[k])
            axes.add_patch(
                FancyArrowPatch(
                    (0.0, j), (lag, i), arrowstyle="-|>", mutation_scale=8 + 2 * width[k], shrinkA=0,
                    shrinkB=0, color=COLOURS(scale(lag)), linewidth=width[k], zorder=3,
                    linestyle="--" if what[k] in WEAK else "-",
                )
            )  # fmt: skip
            axes.plot([lag], [i], marker="|", color="0.3", markersize=5, zorder=4)
        elif what[k] == "zero lag" or what[k] in DOTTED:
            style = ":" if what[k] in DOTTED else "-"
            axes.plot([0.0, 0.0], [i, j], color=OPEN, linewidth=0.9, linestyle=style, zorder=1)
    axes.hlines([level[i] for i in order], 0.0, 1.08 * latest, color="0.92", linewidth=0.8, zorder=0)
    axes.set_yticks([level[i] for i in order], [pairs.channels[i] for i in order])
    for tick, i in zip(axes.get_yticklabels(), order, strict=True):
        tick.set_color(LEFT_OUT if i in pairs.left_out else "k")
    axes.set_xlim(-0.04 * latest, 1.08 * latest)
    axes.set_ylim(-len(order) + 0.4, 0.6)
    axes.set_xlabel("lag after the source (ms)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _legend(axes, what, bool(pairs.left_out))


def ends(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of targets and of sources, [n] each."""
    place = {name: position for position, name in enumerate(pairs.channels)}
    return tuple(  # type: ignore[return-value]
        np.array([place[name] for name in pairs.table[end]], dtype=int) for end in ("target", "source")
    )


def _widths(table: pd.DataFrame) -> np.ndarray:
    """Line widths [n], in points, by the logarithm of the evidence."""
    z = table["z"].to_numpy(dtype=float) if "z" in table else np.ones(len(table))
    strength = np.log10(np.maximum(np.nan_to_num(z, nan=1.0), 1.0))
    return 0.6 + 1.6 * strength / max(strength.max(initial=0.0), 1e-9)


def _legend(axes: Axes, what: np.ndarray, left_out: bool) -> None:
    """Explain what stands in the picture, and nothing else."""
    entries = []
    if (what == "lag").any():
        label = "the source comes first (bolder: more evidence)"
        entries.append(Line2D([], [], color=COLOURS(0.6), linewidth=1.6, marker=">", label=label))
    if np.isin(what, WEAK).any():
        label = f"no finding: {', '.join(kind for kind in WEAK if (what == kind).any())}"
        entries.append(Line2D([], [], color=COLOURS(0.6), linewidth=1.2, linestyle="--", label=label))
    if (what == "zero lag").any():
        entries.append(Line2D([], [], color=OPEN, linewidth=0.9, label="lag near zero: direction open"))
    if np.isin(what, DOTTED).any():
        entries.append(
            Line2D([], [], color=OPEN, linewidth=0.9, linestyle=":", label="lag not determined, or withheld")
        )
    if left_out:
        entries.append(
            Line2D([], [], linestyle="", marker="s", color=LEFT_OUT, label="grey name: left out of the fit")
        )
    if entries:
        axes.legend(
            handles=entries, loc="upper center", bbox_to_anchor=(0.5, -0.16 if axes.axison else 0.02),
            ncols=1, frameon=False, fontsize=7, borderaxespad=0.2, handlelength=3,
        )  # fmt: skip


def _written(lag_ms: float) -> str:
    return f"{lag_ms:.1f}" if lag_ms < 9.95 else f"{lag_ms:.0f}"


def _scale(table: pd.DataFrame, what: np.ndarray) -> Normalize:
    largest = table["tau_ms"].to_numpy(dtype=float)[np.isin(what, DRAWN)].max(initial=0.0)
    return Normalize(0.0, largest if largest > 0 else 1.0)


def _colour_bar(axes: Axes, drawn: ScalarMappable) -> None:
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("lag (ms)")
    bar.outline.set_visible(False)
