"""Tables and the figure of benchmarks/focal_lead.py, from one row for each discharge, level and method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import binomtest

from cldtrans.files import atomic_path

OURS = ["with background", "without"]
RIVALS = ["one noise", "GCC-PHAT", "timeline", "line length"]
BINS = 10
FALSE_ALARMS = 0.05


def share(hits: pd.Series) -> str:
    """Write a proportion with its 95 % interval."""
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, "wilson")
    return f"{hits.mean():.3f} [{interval.low:.2f}, {interval.high:.2f}]"


def paired(ours: np.ndarray, other: np.ndarray) -> str:
    """Write the mean difference on the same discharges with its 95 % bootstrap interval."""
    apart = ours.astype(float) - other.astype(float)
    drawn = np.random.default_rng(0).integers(0, len(apart), (2000, len(apart)))
    low, high = np.quantile(apart[drawn].mean(axis=1), [0.025, 0.975])
    return f"{apart.mean():+.3f} [{low:+.2f}, {high:+.2f}]"


def _hits(cell: pd.DataFrame) -> pd.DataFrame:
    """Return bool [cases, methods]."""
    return cell.pivot_table(index="case", columns="method", values="hit", aggfunc="first").astype(bool)


def kinds(planted: pd.DataFrame) -> pd.DataFrame:
    """Make the table of top-1 by kind and level; the best rival is chosen on the same discharges."""
    rows = []
    for (kind, level), cell in planted.groupby(["kind", "snr_db"], sort=False):
        hits = _hits(cell)
        best = str(hits[RIVALS].mean().idxmax())
        apart = paired(hits[OURS[0]].to_numpy(), hits[best].to_numpy())
        rows.append(
            {"kind": kind, "dB": f"{level:g}"}
            | {name: share(hits[name]) for name in (*OURS, *RIVALS, "loudest", "bound")}
            | {"with background less best rival": f"{apart} {best}"}
        )
    return pd.DataFrame(rows)


def rhythms(single: pd.DataFrame) -> pd.DataFrame:
    """Make the table of top-1 by rhythm, at the levels that all of them have."""
    rows = []
    for (rhythm, level), cell in single.groupby(["rhythm", "snr_db"], sort=False):
        if level in (5, 0):
            hits = _hits(cell)
            columns = {name: share(hits[name]) for name in (*OURS, *RIVALS, "bound")}
            rows.append({"rhythm": rhythm, "dB": f"{level:g}"} | columns)
    return pd.DataFrame(rows)


def seizures(several: pd.DataFrame) -> pd.DataFrame:
    """Make the table of top-1 from all windows of a seizure; rivals' ranks are averaged over windows."""
    rows = []
    for level, cell in several.groupby("snr_db", sort=False):
        hits = _hits(cell)
        rows.append({"dB": f"{level:g}"} | {name: share(hits[name]) for name in (*OURS, *RIVALS)})
    return pd.DataFrame(rows)


def detection(planted: pd.DataFrame, none: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Make the table of discharges whose evidence is above what windows without one have.

    The threshold of either half of the recordings is the quantile of the other half's windows without a
    discharge.
    """
    rows, remarks = [], []
    for name in OURS:
        quiet = none[none["method"] == name]
        threshold = {
            half: quiet.loc[quiet["recording"] % 2 != half, "evidence"].quantile(1 - FALSE_ALARMS)
            for half in (0, 1)
        }

        def detected(cells: pd.DataFrame, threshold: dict[int, float] = threshold) -> pd.Series:
            return cells["evidence"] > (cells["recording"] % 2).map(threshold)

        spread = quiet["evidence"].quantile([0.05, 0.5, 0.95]).to_numpy()
        remarks.append(
            f"{name}: false alarms {share(detected(quiet))}; evidence of these windows "
            f"{spread[0]:.0f}/{spread[1]:.0f}/{spread[2]:.0f} nats (5/50/95 %), above 0 in "
            f"{(quiet['evidence'] > 0).mean():.3f} of them; largest posterior "
            f"{quiet['p'].median():.2f} (median)."
        )
        for kind, cells in planted[planted["method"] == name].groupby("kind", sort=False):
            columns = {f"{k} dB": share(detected(cells[cells["snr_db"] == k])) for k in (5, 0, -5)}
            rows.append({"method": name, "kind": kind} | columns)
    count = none.groupby("method").size().iloc[0]
    return pd.DataFrame(rows), " ".join([f"n = {count} windows without a discharge.", *remarks])


def calibration(planted: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Make the table of the largest posterior against how often its channel is the lead."""
    rows, remarks = [], []
    for name in OURS:
        cells = planted[planted["method"] == name]
        binned = np.minimum((cells["p"] * BINS).astype(int), BINS - 1)
        error = 0.0
        for number, members in cells.groupby(binned):
            error += abs(members["p"].mean() - members["hit"].mean()) * len(members) / len(cells)
            rows.append(
                {
                    "method": name,
                    "posterior": f"{number / BINS:.1f}-{(number + 1) / BINS:.1f}",
                    "n": str(len(members)),
                    "mean posterior": f"{members['p'].mean():.3f}",
                    "is the lead": share(members["hit"]),
                }
            )
        by_kind = ", ".join(
            f"{kind} {one['p'].mean() - one['hit'].mean():+.3f}"
            for kind, one in cells.groupby("kind", sort=False)
        )
        remarks.append(
            f"Expected calibration error {name}: {error:.3f}; "
            f"mean posterior less hit rate by kind: {by_kind}."
        )
    return pd.DataFrame(rows), " ".join(remarks)


def draw_figure(planted: pd.DataFrame, path: Path) -> None:
    """Draw top-1 by level for each kind, and the posterior against the hit rate."""
    styles: dict[str, dict[str, Any]] = {
        "bound": {"color": "black", "linestyle": ":", "marker": ""},
        "with background": {"color": "C0", "linewidth": 2.2, "marker": "o"},
        "without": {"color": "C0", "linestyle": "--", "marker": "o", "markerfacecolor": "white"},
        "one noise": {"color": "C2", "marker": "^"},
        "GCC-PHAT": {"color": "C1", "marker": "s"},
        "timeline": {"color": "C3", "marker": "v"},
        "line length": {"color": "0.55", "marker": "x"},
    }
    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplots(2, 3)
    for axes, (kind, cells) in zip(panels.flat, planted.groupby("kind", sort=False), strict=False):
        means = cells.groupby(["method", "snr_db"])["hit"].mean()
        for name, style in styles.items():
            one = means[name]
            axes.plot(one.index, one.to_numpy(), label=name, markersize=5, **style)
        axes.axhline(1 / 18, color="0.8", linewidth=0.8, zorder=0)
        axes.set(title=kind, ylim=(0, 1.03), xlabel="signal-to-noise ratio (dB)", ylabel="lead named first")
        axes.set_xticks(sorted(cells["snr_db"].unique()))
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside upper center", ncols=len(labels))
    axes = panels.flat[5]
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=0.8)
    for name, style in ((name, styles[name]) for name in OURS):
        cells = planted[planted["method"] == name]
        binned = np.minimum((cells["p"] * BINS).astype(int), BINS - 1)
        means = cells.groupby(binned)[["p", "hit"]].mean()
        axes.plot(means["p"], means["hit"], label=name, markersize=5, **style)
    axes.set(title="all kinds and levels", xlabel="largest posterior", ylabel="its channel is the lead")
    axes.set(xlim=(0, 1), ylim=(0, 1.03))
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
