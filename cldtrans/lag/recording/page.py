"""`lags.html`: one self-contained page about a stretch of a recording, for those who read the recording."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from cldtrans.data.montages.spelling import spelled
from cldtrans.data.recording import Recording
from cldtrans.errors import DataError
from cldtrans.lag.recording.readings import MEANING, READINGS, evidence
from cldtrans.lag.recording.time_figures import MOST_EDGES, graphs, lags_against_time
from cldtrans.lag.recording.window import Window, cut_window
from cldtrans.lag.views.pairs import Pairs
from cldtrans.lag.views.pictures import draw, usual

if TYPE_CHECKING:
    import mne
    import pandas as pd

    from cldtrans.lag.recording.lags import RecordingLags
    from cldtrans.lag.recording.over_time import LagsOverTime

AROUND_S = 5.0
"""Seconds of signal drawn on either side of the window."""
MOST_POINTS = 4000
"""Points of a drawn signal: beyond them a printed page shows no more."""
MOST_ROWS = 200
LIMITS = (
    "A lag is a statistical relation between these channels in this stretch; it is not the conduction time "
    "of a nerve or of the heart, and no proof that one place drives the other.",
    "A source that no electrode records may lead both channels of a pair.",
    "Volume conduction and a shared reference look like lags of zero; bipolar and Laplacian channels reduce "
    "them and do not remove them.",
    "Intervals and p-values assume that the model holds. The warnings say where it does not.",
)
NO_DEVICE = (
    "Research software, not a medical device: neither made nor approved for diagnosis, monitoring or "
    "treatment."
)
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
  padding: 1.5rem; max-width: 62rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ddd; }
p, li { max-width: 48rem; }
.device { border: 1px solid #999; padding: .4rem .8rem; }
.worst { background: #fff4d6; border-left: 4px solid #c98a00; padding: .5rem .8rem; }
figure { margin: 0; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #444; font-size: .9rem; max-width: 48rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr)); gap: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid #e5e5e5; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.finding td { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } }
"""


def page(
    lags: RecordingLags,
    source: str | Path | Recording | mne.io.BaseRaw,
    settings: dict[str, str],
    over_time: LagsOverTime | None = None,
) -> str:
    """Write the page.

    Parameters
    ----------
    lags : RecordingLags
        The fit.
    source : str or Path or Recording or mne.io.BaseRaw
        That of its window, for the signals around it.
    settings : dict of str
        What was fitted and how, from `summary.settings_of`.
    over_time : LagsOverTime, optional
        The edges in windows that slide along the stretch.

    Returns
    -------
    str
        HTML that asks no other file or host for anything.
    """
    table, window = lags.table(), lags.window
    pairs = _spelled(lags)
    findings = 0 if lags.source.explains else int((table["reading"] == "lag").sum())
    name = window.origin.rsplit("/", 1)[-1]
    kind = usual(pairs.channels)
    parts = [
        f"<h1>Lags in {html.escape(name)}, {window.start_s:g} to {window.stop_s:g} s</h1>",
        f"<p>{len(lags.channels)} channels, reference {window.reference}. "
        f"{_verdict(lags, table, findings)}</p>",
        f'<p class="device">{NO_DEVICE}</p>',
        _worst(lags),
        "<h2>Signals</h2>",
        _figure(
            _signals(lags, source),
            "The signals as they were used: referenced and filtered. Shaded: the stretch of this page.",
        ),
        "<h2>Who comes first</h2>",
        '<div class="pair">',
        _figure(_picture(pairs, "head" if kind == "heat_map" else kind), _CAPTIONS[kind]),
        _figure(
            _picture(pairs, "heat_map"),
            "The same as a matrix: each cell is the lag from the channel of its column to that of its row. "
            "Dark is late, as in every picture here; pale cells are no findings, grey squares edges whose "
            "direction is open.",
        ),
        "</div>",
        "<h2>Edges</h2>",
        _edges(table, lags.source.explains),
        _worst(lags),
    ]
    if over_time is not None:
        parts += _over_time(lags, over_time)
    parts += ["<h2>Pairwise delays</h2>", _delays(lags.delays.summary(lags.channels))]
    if lags.lead is not None:
        from cldtrans.lag.recording.report import leading

        parts += ["<h2>One source?</h2>", f"<p>{html.escape(leading(lags.lead, pairs.channels))}</p>"]
    parts += [
        "<h2>Before you believe it</h2>",
        _list(lags.warnings or ["The fit found nothing against its assumptions."]),
        "<h2>How it was made</h2>",
        f"<dl>{''.join(map(_setting, settings.items()))}</dl>",
        "<h2>What this cannot say</h2>",
        _list(LIMITS),
        f'<p class="device">{NO_DEVICE}</p>',
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Lags in {html.escape(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


_ARROWS = (
    "dark is late, bold is more evidence, dashed is no finding. Grey lines: direction open; dotted: lag not "
    "determined."
)
_CAPTIONS = {
    "head": "The head from above, nose up, left is left. An arrow goes from the channel that comes first to "
    f"the one that follows; {_ARROWS}",
    "ladder": "Leads in clinical order. An arrow begins at the lead that comes first, at time zero, and ends "
    f"where the other follows; {_ARROWS}",
    "heat_map": "Channels in a circle, as their places are not known. An arrow goes from the channel that "
    f"comes first to the one that follows; {_ARROWS}",
}


def _setting(named: tuple[str, str]) -> str:
    name, value = map(html.escape, named)
    return f"<dt>{name}</dt><dd>{value}</dd>"


def _verdict(lags: RecordingLags, table: pd.DataFrame, findings: int) -> str:
    if table.empty:
        return "No significant edge with one clear lag." if lags.fitted else "No likely edge."
    if not lags.fitted:
        edges = f"{len(table)} edge{'s' * (len(table) != 1)}"
        return f"<strong>A first look by the pretrained model, not a fit</strong>: {edges}, and no finding."
    edges = f"{len(table)} edge{'s' * (len(table) != 1)}"
    return f"Of {edges}, {findings or 'none'} can be read as a finding: the column reading says why."


def _worst(lags: RecordingLags) -> str:
    line = lags.worst_warning
    return "" if line is None else f'<p class="worst">{html.escape(line)}</p>'


def _spelled(lags: RecordingLags) -> Pairs:
    """Names as clinicians write them."""
    pairs = lags.pairs()
    table = pairs.table.assign(
        source=pairs.table["source"].map(spelled), target=pairs.table["target"].map(spelled)
    )
    return Pairs(
        [spelled(name) for name in pairs.channels],
        table,
        {},
        pairs.attributes,
        pairs.left_out,
        pairs.warnings,
    )


def _edges(table: pd.DataFrame, withheld: bool) -> str:
    if table.empty:
        return "<p>None.</p>"
    rows = [
        _row(
            ("comes first", "follows"),
            ("lag (ms)", "95 % interval", "weight", "p" if "p_value" in table else "probability"),
            "<th>reading</th>",
            "th",
        )
    ]
    for row in table.head(MOST_ROWS).to_dict("records"):
        wide = row["reading"] == "undetermined"
        interval = "–" if wide else f"{row['tau_low_ms']:.1f} to {row['tau_high_ms']:.1f}"
        numbers = (f"{row['tau_ms']:.1f}", interval, f"{row['weight']:.2g}", evidence(row))
        names = (spelled(row["source"]), spelled(row["target"]))
        found = _row(names, numbers, f"<td>{row['reading']}</td>")
        rows.append(
            found.replace("<tr>", '<tr class="finding">')
            if row["reading"] == "lag" and not withheld
            else found
        )
    more = f"<p>and {len(table) - MOST_ROWS} more in lags.csv</p>" if len(table) > MOST_ROWS else ""
    used = [kind for kind in READINGS if (table["reading"] == kind).any()]
    words = _list([f"{kind}: {MEANING[kind]}" for kind in used])
    return f'<div class="wide"><table>{"".join(rows)}</table></div>{more}{words}'


def _over_time(lags: RecordingLags, found: LagsOverTime) -> list[str]:
    own = (
        "with the interval of the window's own data"
        if lags.fitted
        else "read again by the pretrained model, where it sees the edge"
    )
    drawn = min(len(found.source), MOST_EDGES)
    if not drawn:
        return ["<h2>Over time</h2>", "<p>No edge to follow.</p>"]
    return [
        "<h2>Over time</h2>",
        f"<p>The edges of the whole stretch in windows of {found.length_s:.3g} s, every {found.every_s:g} s. "
        "A change is flagged where a lag differs from that of the window that ends at its window's beginning "
        f"by a quarter of a sample, which the filter may do, and {found.threshold:.1f} standard errors more: "
        "if the model holds, at most one page in a hundred has a false flag.</p>",
        _list(found.sentences() or ["No change of a lag is flagged."]),
        _figure(
            lags_against_time(found),
            f"The {drawn} strongest edges: lag in each window at its middle, {own}. Red: a flagged change.",
        ),
        _figure(graphs(lags, found), "The same graph in the first, the middle and the last window."),
    ]


def _delays(delays: pd.DataFrame) -> str:
    rows = [
        _row(("earlier", "later"), ("delay (ms)", "95 % interval", "coherence"), "", "th"),
    ]
    for row in delays.head(MOST_ROWS).to_dict("records"):
        names = tuple(spelled(str(row[end])) for end in ("earlier", "later"))
        interval = f"{row['tau_low_ms']:.1f} to {row['tau_high_ms']:.1f}"
        numbers = (f"{row['tau_ms']:.1f}", interval, f"{row['coherence']:.2f}")
        rows.append(_row(names, numbers))
    return (
        "<p>Delays between any two channels, with no claim that one causes the other.</p>"
        f'<div class="wide"><table>{"".join(rows)}</table></div>'
    )


def _row(words: Sequence[str], numbers: Sequence[str], last: str = "", cell: str = "td") -> str:
    first = "".join(f"<{cell}>{html.escape(word)}</{cell}>" for word in words)
    then = "".join(f'<{cell} class="number">{html.escape(number)}</{cell}>' for number in numbers)
    return f"<tr>{first}{then}{last}</tr>"


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def _figure(figure: Figure, caption: str) -> str:
    buffer = io.BytesIO()
    with mpl.rc_context({"text.parse_math": False}):
        figure.savefig(buffer, format="png", dpi=150)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    image = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _picture(pairs: Pairs, kind: str) -> Figure:
    side = 4.0 + 0.06 * len(pairs.channels)
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    draw(pairs, kind, figure.add_subplot())  # type: ignore[arg-type]
    return figure


def _signals(lags: RecordingLags, source: str | Path | Recording | mne.io.BaseRaw) -> Figure:
    """Draw the channels, one above the other, the window shaded."""
    window = lags.window
    around = _around(source, window)
    step = max(1, around.x.shape[1] // MOST_POINTS)
    time_s = around.start_s + np.arange(around.x.shape[1])[::step] / around.rate_hz
    names = [spelled(name) for name in window.channels]
    spread = np.median(np.percentile(np.abs(around.x), 98, axis=1)) or 1.0
    figure = Figure(figsize=(9.0, 1.0 + 0.28 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    with mpl.rc_context({"text.parse_math": False}):
        axes.axvspan(window.start_s, window.stop_s, color="#ffe9a8", linewidth=0, zorder=0)
        for place, x in enumerate(around.x):
            axes.plot(time_s, x[::step] / (2.5 * spread) - place, color="0.15", linewidth=0.5)
        axes.set_yticks(-np.arange(len(names)), names, size=8)
    axes.set_ylim(-len(names) + 0.3, 0.9)
    axes.set_xlim(time_s[0], time_s[-1])
    axes.set_xlabel("time in the recording (s)")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _around(source: str | Path | Recording | mne.io.BaseRaw, window: Window) -> Window:
    """Cut the window with what lies around it, as far as the recording and its breaks allow."""
    for before, after in ((AROUND_S, AROUND_S), (AROUND_S, 0.0), (0.0, AROUND_S)):
        try:
            return cut_window(
                source,
                max(0.0, window.start_s - before),
                window.stop_s + after,
                window.channels,
                window.reference,
                window.band_hz,
                window.innovation,
            )
        except DataError:
            continue
    return window
