"""A seizure on the head: who leads and who follows when, in windows that begin later and later."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from plot_style import begin, name, new_figure, plt, save, say

from cldtrans.data.montages.electrodes import on_head, positions, scalp_pair
from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.propagation import propagation
from cldtrans.files import atomic_path
from cldtrans.lag.head import COLOURS, outline

HEIGHT = 3.0  # inches of the figure
DISC = 5.5  # points across, of a channel that surely takes part
RING = 0.12  # points between disc and ring, a millisecond of standard error
WIDEST_MS = 40.0  # standard errors beyond are drawn as this
ABSENT = "0.7"


def across(participation: float) -> float:
    """Return the diameter of a disc in points: its area is the participation."""
    return DISC * float(np.sqrt(participation))


def ring(participation: float, stderr_s: float) -> float:
    """Return the diameter of the ring around it in points: the gap is the standard error."""
    return across(participation) + 1.2 + 2 * RING * min(1e3 * stderr_s, WIDEST_MS)


def draw_head(panel: Axes, rows: pd.DataFrame, scale: Normalize) -> None:
    """Draw one window.

    Parameters
    ----------
    panel : Axes
        Where.
    rows : DataFrame
        A channel each, as `propagation` returns them, of one window.
    scale : Normalize
        Of delays in seconds.
    """
    outline(panel)
    places = on_head(rows["channel"].tolist())
    assert places is not None
    lead = int(rows["p_first"].to_numpy().argmax())
    found = bool(rows["found"].iloc[0])
    for position, (row, (x, y)) in enumerate(zip(rows.itertuples(), places, strict=True)):
        takes_part = np.isfinite(row.delay_s)
        colour = COLOURS(scale(row.delay_s)) if takes_part else ABSENT
        pair = scalp_pair(row.channel)
        ends = [positions()[part] for part in pair or () if part]
        panel.plot(
            *np.array(ends).T,
            color=colour,
            linewidth=0.6 + 2.0 * row.participation,
            linestyle="-" if takes_part else (0, (1, 1.5)),
            solid_capstyle="butt",
            zorder=1,
        )
        disc: dict[str, Any] = {"marker": "o", "linestyle": "none", "zorder": 3}
        if not takes_part:
            panel.plot(x, y, markersize=4, markerfacecolor="w", markeredgecolor=ABSENT, **disc)
            continue
        size = across(row.participation)
        panel.plot(x, y, markersize=size + 1.2, markerfacecolor="w", markeredgewidth=0, **disc)
        panel.plot(x, y, markersize=size, markerfacecolor=colour, markeredgewidth=0, **disc)
        if np.isfinite(row.delay_stderr_s) and not (found and position == lead):
            wide = ring(row.participation, row.delay_stderr_s)
            panel.plot(x, y, markersize=wide, markerfacecolor="none", markeredgecolor="k", mew=0.6, **disc)
    for part in {part for label in rows["channel"] for part in scalp_pair(label) or () if part}:
        panel.plot(*positions()[part], marker="o", markersize=1.6, color="0.35", zorder=2)
    if found:
        x, y = places[lead]
        panel.plot(x, y, marker="*", markersize=11, color="#D55E00", markeredgecolor="k", mew=0.6, zorder=5)
        label = f"{rows['channel'].iloc[lead]}: {rows['p_first'].iloc[lead]:.2f}"
    else:
        label = "no single leading channel"
    panel.text(0, -1.3, label, ha="center", va="top", fontsize=8, weight="bold" if found else "normal")
    for x, side in ((-0.97, "L"), (0.97, "R")):
        panel.text(x, 0.88, side, ha="center", va="center", fontsize=8, color="0.45")
    panel.set_title(f"onset + {rows['after_s'].iloc[0]:g} s", pad=2)
    panel.set_xlim(-1.25, 1.25)
    panel.set_ylim(-1.6, 1.3)
    panel.set_aspect("equal")
    panel.set_axis_off()


def key() -> list[Line2D]:
    """Return what explains sizes, rings and the star."""
    style: dict[str, Any] = {"linestyle": "none", "marker": "o", "color": "0.35", "markeredgewidth": 0}
    sizes = [Line2D([], [], markersize=across(p), label=f"takes part: {p:g}", **style) for p in (0.5, 1.0)]
    hollow = style | {"markerfacecolor": "none", "markeredgecolor": "k", "markeredgewidth": 0.6}
    rings = [
        Line2D([], [], markersize=ring(1, ms / 1e3), label=f"standard error: {ms:g} ms{more}", **hollow)
        for ms, more in ((5, ""), (WIDEST_MS, " or more"))
    ]
    absent = style | {"markerfacecolor": "w", "markeredgecolor": ABSENT, "markeredgewidth": 1.0}
    star = style | {"marker": "*", "color": "#D55E00", "markeredgecolor": "k", "markeredgewidth": 0.6}
    return [
        Line2D([], [], markersize=11, label="lead, with its posterior", **star),
        Line2D([], [], markersize=4, label="takes no part", **absent),
        *sizes,
        *rings,
    ]


def draw(table: pd.DataFrame, reason: str) -> Figure:
    """Draw one head a window, or say why there is none.

    Parameters
    ----------
    table : DataFrame
        From `propagation`.
    reason : str
        Why it is empty.
    """
    windows = [rows for _, rows in table.groupby("after_s", sort=True)]
    figure, panels = new_figure(columns=max(len(windows), 1), height=HEIGHT)
    if not windows:
        say(panels[0], f"No seizure to follow: {reason}.")
        return figure
    # Few channels come very late, with large errors: they may leave the scale, which the bar's tips say.
    late = table["delay_s"].quantile(0.9)
    scale = Normalize(0.0, late if late > 0 else 1.0)
    for panel, rows in zip(panels, windows, strict=True):
        draw_head(panel, rows.reset_index(drop=True), scale)
    first, channels = table.iloc[0], len(windows[0])
    where = (
        f"{name(first['dataset'])} {first['recording']}, seizure {first['seizure']} at {first['onset_s']:g} s"
    )
    chance = f"chance 1/{channels} = {1 / channels:.2f}"
    figure.suptitle(f"{where}; quiet windows: {first['quiet_windows']}; {chance}", fontsize=8)
    figure.legend(handles=key(), loc="outside lower center", ncols=3, labelspacing=0.9)
    bar = figure.colorbar(
        plt.cm.ScalarMappable(scale, COLOURS), ax=panels, shrink=0.6, pad=0.01, aspect=25, extend="both"
    )
    bar.set_label("delay after the lead (s)", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    return figure


if __name__ == "__main__":
    job = begin()
    followed, why = propagation([ShardSet(Path(index).parent) for index in job.input.indices])
    with atomic_path(job.output.csv) as temporary:
        followed.to_csv(temporary, index=False)
    save(draw(followed, why), job.output.png, job.output.pdf)
