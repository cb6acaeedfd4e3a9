"""A recording's lags as text for the terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from tabulate import tabulate

from cldtrans.lag.recording.lags import RecordingLags
from cldtrans.lag.recording.readings import MEANING, evidence
from cldtrans.lag.recording.window import Window
from cldtrans.lag.single_source.common import HiddenSource
from cldtrans.lag.single_source.focal import FocalLead

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 110
FIRST_ROWS = 10
"""Edges of the first look."""
MOST_ROWS = 60
"""Edges printed before the rest is counted; the file has all."""
MOST_PAIRS = 12
"""Pairs printed, the most coherent first; the file has all."""

EDGES = "Edges: who drives whom, by the LD-SEM. A causal claim, as good as its assumptions."
DELAYS = "Delays: who is later, by pairs. No causal claim: a shared source gives them as well."
READ = "Edges: who comes before whom, by the pretrained model. Nothing was fitted, and nothing tested."
HEADERS = ("source", "target", "lag/ms", "95 % interval", "weight", "p", "reading")
LIKELY = 0.1
"""Channels are named whose probability of being first is at least this."""


def heading(window: Window, tau_max_s: float) -> str:
    """Say what is about to be read, and what of the recording that leaves out."""
    low, high = window.band_hz
    what = (
        f"{window.origin}, {window.start_s:g} to {window.stop_s:g} s: {len(window.channels)} channels "
        f"(reference {window.reference}), {low:g} to {high:g} Hz at {window.rate_hz:.4g} Hz, lags up to "
        f"{1e3 * tau_max_s:g} ms, {window.innovation} innovations."
    )
    return "\n".join([_wrapped(what), *(_wrapped(note, "- ") for note in window.notes)])


def fitting(window: Window) -> str:
    """Say what is about to be fitted, and how long that may take."""
    seconds = window.expected_s
    expected = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    return _wrapped(f"The fit takes about {expected} on one core, or up to three times as long.")


def first_look(lags: RecordingLags) -> str:
    """Write the likeliest edges of the pretrained model, as what they are, while a fit is under way."""
    lines = [READ, *_edges(lags, lags.table(), FIRST_ROWS)]
    return "\n".join([*lines, _wrapped(lags.worst_warning or "", "! ")]) + "\n"


def render(lags: RecordingLags) -> str:
    """Write the table of edges with the meaning of its last column, the delays of pairs, and the warnings."""
    lines = [EDGES if lags.fitted else READ, *_edges(lags, lags.table(), MOST_ROWS)]
    lines += ["", DELAYS, _pairs(lags)]
    if lags.worst_warning is not None:
        lines += ["", _wrapped(lags.worst_warning, "! ")]
    if lags.lead is not None:
        lines += ["", _wrapped(leading(lags.lead, lags.channels))]
    if lags.warnings:
        lines += ["", "Before you believe it:"]
        lines += [_wrapped(warning, "- ") for warning in lags.warnings]
    return "\n".join(lines) + "\n"


def _edges(lags: RecordingLags, table: pd.DataFrame, at_most: int) -> list[str]:
    """Write the table of edges and the meaning of its last column, a string a line or block."""
    lines = []
    if lags.source.explains:
        lines.append(_wrapped(withheld(lags.source, len(table))))
    elif table.empty:
        lines.append("No significant edge with one clear lag.")
    else:
        rows = [
            (
                row["source"],
                row["target"],
                f"{row['tau_ms']:.2f}",
                "-"
                if row["reading"] == "undetermined"
                else f"{row['tau_low_ms']:.2f} to {row['tau_high_ms']:7.2f}",
                f"{row['weight']:.3g}",
                evidence(row),
                row["reading"],
            )
            for row in table.head(at_most).to_dict("records")
        ]
        align = ("left", "left", "right", "right", "right", "right", "left")
        heads = HEADERS if lags.fitted else (*HEADERS[:5], "probability", HEADERS[6])
        lines.append(tabulate(rows, heads, colalign=align, disable_numparse=True))
        if len(table) > at_most:
            lines.append(f"... and {len(table) - at_most} more in lags.csv")
        lines.append("")
        counts = table["reading"].value_counts()
        lines += [f"{counts[kind]:4d} {kind}: {MEANING[kind]}" for kind in MEANING if kind in counts]
    return lines


def withheld(source: HiddenSource, count: int) -> str:
    """Say that no edge is a finding, why, and where the edges of the fit are."""
    sentence = source.sentence()
    return (
        f"{sentence[0].upper()}{sentence[1:]}. So no edge is a causal finding here; the fit's {count} are in "
        "lags.csv, marked as withheld."
    )


def _pairs(lags: RecordingLags) -> str:
    """Write the most coherent pairs."""
    table = lags.delays.summary(lags.channels)
    rows = [
        (
            row.earlier,
            row.later,
            f"{row.tau_ms:.2f}",
            f"{row.tau_low_ms:.2f} to {row.tau_high_ms:7.2f}",
            f"{row.coherence:.2f}",
        )
        for row in table.head(MOST_PAIRS).itertuples()
    ]
    headers = ("earlier", "later", "delay/ms", "95 % interval", "coherence")
    shown = tabulate(rows, headers, colalign=("left", "left", *["right"] * 3), disable_numparse=True)
    more = len(table) - len(rows)
    return shown + (f"\n... and {more} more in delays.csv" if more > 0 else "")


def leading(lead: FocalLead, channels: list[str]) -> str:
    """Say which channel leads, if one source drives them, or that none does."""
    if not lead.found:
        return (
            "No single leading channel: one source that reaches the channels with delays explains this "
            "stretch no better than noise like that of the stretches beside it."
        )
    table = lead.summary(channels)
    likely = table[table["p_first"] >= LIKELY]
    names = ", ".join(f"{row.channel} ({row.p_first:.2f})" for row in likely.itertuples()) or "none likely"
    count = int((table["participation"] >= 0.5).sum())
    return (
        f"One source, with delays, in {count} of {len(table)} channels: it is first in {names}, by this "
        f"model (evidence {lead.evidence:.0f} nats against noise like that beside the stretch). "
        "The probability is the model's, not that of a focus."
    )


def _wrapped(text: str, bullet: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))
