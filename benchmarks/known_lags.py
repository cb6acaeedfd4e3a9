"""The page of known lags: tables and figures from the result files of `config/known_lags.yaml`.

python benchmarks/known_lags.py results/known_lags docs
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from tabulate import tabulate

from cldtrans.data.known_lags.causal_rivers import PUBLISHED
from cldtrans.data.known_lags.microphones import SPACING_M, SPEED_OF_SOUND
from cldtrans.evaluation.known_lags import over_channels
from cldtrans.files import atomic_path

NAMES = {
    "pairwise": "pairwise delays",
    "ldsem": "LD-SEM",
    "amortised": "pretrained model",
    "gcc_phat": "GCC-PHAT, a quarter of a sample and a parabola",
    "gcc_phat_whole": "GCC-PHAT, whole samples",
    "phase_slope": "phase-slope index",
    "var_granger": "VAR, Granger",
    "dynotears": "DYNOTEARS",
    "magnitude": "magnitude alone",
}
TEMPLATE = Path(__file__).with_suffix(".md.jinja")
ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)  # Markdown is not HTML
Cells = dict[str, dict[str, dict[str, Any]]]


def read(folder: Path) -> Cells:
    """Read result files by set and method, in the order of `NAMES`."""
    found: Cells = {}
    for path in sorted(folder.rglob("*.json")):
        record = json.loads(path.read_text())
        if record.get("experiment") == "known_lags":
            found.setdefault(record["dataset"], {})[record["method"]] = record
    return {
        name: {method: cells[method] for method in NAMES if method in cells} for name, cells in found.items()
    }


def table(cells: dict[str, dict[str, Any]], columns: dict[str, tuple[str, str]]) -> str:
    """Make a row a method, of metrics by their heading and format; a dash where one is not defined."""
    rows = []
    for method, record in cells.items():
        values = [record["metrics"].get(metric) for metric, _ in columns.values()]
        if any(value is not None for value in values):
            formats = [form for _, form in columns.values()]
            shown = ["–" if v is None else format(v, f) for v, f in zip(values, formats, strict=True)]
            rows.append([NAMES[method], *shown, f"{record['metrics']['fit_s']:.1f}"])
    return tabulate(rows, ["", *columns, "s"], tablefmt="pipe", disable_numparse=True)


def silent(cells: dict[str, dict[str, Any]]) -> str:
    """Say which methods have no score, and why."""
    why: dict[str, list[str]] = {}
    for method, record in cells.items():
        if record["metrics"].get("fit_s") is None:
            why.setdefault(next(iter(record["reasons"].values())), []).append(NAMES[method])
    if absent := [name for method, name in NAMES.items() if method not in cells]:
        why["no result file: the run was not finished"] = absent
    return "".join(f"\nNot scored: {', '.join(names)} ({reason}).\n" for reason, names in why.items())


def sources(record: dict[str, Any]) -> str:
    """Make the microphones' table of one method by place of the loudspeaker."""
    rows = []
    for system in record["extra"]["systems"]:
        delay, stderr, tau, arrival = (
            np.array(system[name], dtype=float) for name in ("delay", "stderr", "tau", "arrival")
        )
        rms = [8000 * np.sqrt(np.mean((delay - truth) ** 2)) for truth in (tau, arrival)]
        held = [np.mean(np.abs(delay - truth) <= 1.959964 * stderr) for truth in (tau, arrival)]
        rms.append(8000 * with_place(np.array(system["earlier"]), np.array(system["later"]), delay))
        rows.append([system["name"], len(delay), *(f"{v:.3f}" for v in rms), *(f"{v:.2f}" for v in held)])
    heads = ["", "pairs", "rms, distances", "measured", "place fitted", "coverage, distances", "measured"]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True)


def with_place(earlier: np.ndarray, later: np.ndarray, delay: np.ndarray) -> float:
    """Return the rms error, seconds, of delays against distances to the place that fits them best."""
    from scipy.optimize import least_squares

    def error(place: np.ndarray) -> np.ndarray:
        reached = np.hypot(place[0], place[1] - SPACING_M * np.arange(max(later) + 1)) / SPEED_OF_SOUND
        return 1e6 * (delay - reached[later] + reached[earlier])

    return float(1e-6 * np.sqrt(np.mean(least_squares(error, [0.5, 0.45]).fun ** 2)))


def against_distances(cells: dict[str, dict[str, Any]]) -> str:
    """Make the table of rms errors against distances, in samples of 8 kHz, by place."""
    rows = []
    for method, record in cells.items():
        errors = []
        for system in record["extra"]["systems"]:
            delay, tau = (np.array(system[name], dtype=float) for name in ("delay", "tau"))
            errors.append((delay - tau)[np.isfinite(delay)])
        if errors and any(map(len, errors)):
            values = [
                f"{8000 * np.sqrt(np.mean(e**2)):.3f}" + ("" if len(e) == 30 else f" ({len(e)})")
                if len(e) else "–"
                for e in errors
            ]  # fmt: skip
            rows.append([NAMES[method], *values])
    heads = ["", *(f"place {k + 1}" for k in range(6))]
    return tabulate(rows, heads, tablefmt="pipe", disable_numparse=True)


def differences(cells: dict[str, dict[str, Any]]) -> str:
    """Make the table of how much larger the pairwise delays' AUROC on rivers is, with intervals."""
    ours = _matrix(cells["pairwise"])
    edges = np.zeros(ours.shape, bool)
    system = cells["pairwise"]["extra"]["systems"][0]
    edges[system["later"], system["earlier"]] = True
    rows = []
    for method, record in cells.items():
        if method != "pairwise" and record["metrics"]["auroc"] is not None:
            apart = cells["pairwise"]["metrics"]["auroc"] - record["metrics"]["auroc"]
            low, high = over_channels(ours, edges, _matrix(record))
            rows.append([NAMES[method], f"{apart:+.3f}", f"{low:+.3f} to {high:+.3f}"])
    return tabulate(rows, ["less than ours", "AUROC", "95 %"], tablefmt="pipe", disable_numparse=True)


def _matrix(record: dict[str, Any]) -> np.ndarray:
    return np.array(record["extra"]["systems"][0]["score"], dtype=float)


def further(record: dict[str, Any]) -> str:
    """List the river edges that are set aside."""
    rows = []
    for system in record["extra"]["systems"][1:]:
        for row, column, delay, stderr in zip(
            *(system[name] for name in ("later", "earlier", "delay", "stderr")), strict=True
        ):
            names = f"{system['channels'][column]} → {system['channels'][row]}"
            rows.append([names, f"{delay:+.2f}", f"{stderr:.2f}"])
    return tabulate(rows, ["edge", "delay, days", "standard error"], tablefmt="pipe", disable_numparse=True)


def begins(system: dict[str, Any]) -> str:
    """Return the electrodes between which the sign of a column's delays changes."""
    at = int(system["channels"][0].partition("-")[0]) + system["begins"]
    return f"{at} and {at + 1}"


def draw_microphones(record: dict[str, Any]) -> Figure:
    """Draw errors of delays along the line of microphones, with intervals; the dots are measured arrivals."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for panel, system in zip(panels.flat, record["extra"]["systems"], strict=True):
        delay, stderr, tau, arrival = (
            8000 * np.array(system[name], dtype=float) for name in ("delay", "stderr", "tau", "arrival")
        )
        at = np.array(system["earlier"]) + 2
        panel.errorbar(
            at, delay - tau, 1.96 * stderr, fmt=".", color="C0", elinewidth=0.8, label="estimated, 95 %"
        )
        panel.plot(at, arrival - tau, "x", color="C1", markersize=4, label="measured first sound")
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.set_title(system["name"], fontsize=9)
    panels[0, 0].set_ylim(-0.8, 0.8)
    panels[0, 0].legend(fontsize=7, frameon=False)
    figure.supxlabel("middle microphone of a pair", fontsize=9)
    figure.supylabel("delay less that by distances (samples of 8 kHz)", fontsize=9)
    return figure


def draw_rivers(cells: dict[str, dict[str, Any]]) -> Figure:
    """Draw the delays of the edges, and AUROC by method."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    system = cells["pairwise"]["extra"]["systems"][0]
    delay, stderr = (np.array(system[name], dtype=float) for name in ("delay", "stderr"))
    order = np.argsort(delay)
    names = [
        f"{system['channels'][system['earlier'][k]]} → {system['channels'][system['later'][k]]}"
        for k in order
    ]
    left.errorbar(delay[order], range(len(order)), xerr=1.96 * stderr[order], fmt=".", elinewidth=0.8)
    left.axvline(0, color="0.6", linewidth=0.8)
    left.set_yticks(range(len(order)), names, fontsize=6)
    left.set_xlabel("delay downstream (days), 95 %")
    scored = [(m, r) for m, r in cells.items() if r["metrics"]["auroc"] is not None]
    for k, (_, record) in enumerate(scored):
        value, bounds = record["metrics"]["auroc"], record["ci95"]["auroc"]
        right.errorbar(
            value, k, xerr=[[max(value - bounds[0], 0)], [max(bounds[1] - value, 0)]], fmt="o", color="C0"
        )
    right.axvline(0.5, color="0.6", linestyle="--", linewidth=0.8)
    right.set_yticks(range(len(scored)), [NAMES[m].split(", a quarter")[0] for m, _ in scored], fontsize=8)
    right.invert_yaxis()
    right.set_xlabel("AUROC of direct edges\n(95 % over stations)")
    return figure


def draw_muscle(record: dict[str, Any]) -> Figure:
    """Draw delays along each column; the band is where nerves end, the sign changes there."""
    figure = Figure(figsize=(9, 3.0), layout="constrained")
    systems = record["extra"]["systems"]
    panels = figure.subplots(1, len(systems), sharey=True, sharex=True)
    for panel, system in zip(panels, systems, strict=True):
        delay, stderr = (1e3 * np.array(system[name], dtype=float) for name in ("delay", "stderr"))
        first = int(system["channels"][0].partition("-")[0])
        at = first + 0.5 + np.array(system["earlier"]) + 0.5
        panel.axhspan(1.3, 2.7, color="C2", alpha=0.15, linewidth=0)
        panel.axhspan(-2.7, -1.3, color="C2", alpha=0.15, linewidth=0)
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.errorbar(at, delay, np.minimum(1.96 * stderr, 6), fmt=".", color="C0", elinewidth=0.8)
        panel.axvline(first + 0.5 + system["begins"], color="C3", linestyle="--", linewidth=1)
        panel.set_title(system["name"], fontsize=9)
    panels[0].set_ylim(-6, 6)
    panels[0].set_ylabel("delay of neighbours (ms), 95 %", fontsize=8)
    figure.supxlabel(
        "electrode, from the far end; dashed: innervation zone, where the sign changes", fontsize=8
    )
    return figure


def page(cells: Cells) -> str:
    """Write the page."""
    speech, water, fibres = (cells[name] for name in ("microphones", "rivers", "muscle"))
    ours, flow = speech["pairwise"]["metrics"], water["pairwise"]["metrics"]
    n_edges = len(water["pairwise"]["extra"]["systems"][0]["later"])
    zone, small = cells.get("electrocorticogram", {}), cells.get("causal-rivers", {})
    hidden = {
        "rms, samples": ("tau_rms_samples", ".3f"), "rms, µs": ("tau_rms_us", ".1f"),
        "rms, measured": ("tau_rms_measured_samples", ".3f"), "coverage, measured": ("coverage95", ".2f"),
        "coverage, distances": ("coverage95_distances", ".2f"), "offset, 48 kHz": ("parity_samples", ".3f"),
        "edges claimed": ("edges_claimed", ".0f"), "left": ("edges_after_source", ".0f"),
    }  # fmt: skip
    label = {f"top-{k}": (f"top{k}", ".0f") for k in (1, 3, 5)} | {"AUROC": ("auroc", ".2f")}
    network = {"direction": ("direction_accuracy", ".2f"), "AUROC": ("auroc", ".3f")}
    measured = any(record["metrics"]["auroc"] is not None for record in small.values())
    told = [r["chance"] for r in zone.values() if r["chance"].get("top1") is not None]
    chance: dict[str, float] = told[0] if told else {}
    shown = ENVIRONMENT.from_string(TEMPLATE.read_text(encoding="utf-8"))
    text: str = shown.render(
        explained=round(6 * ours["one_source"]),
        zones=", ".join(begins(system) for system in fibres["pairwise"]["extra"]["systems"]),
        offset=f"{ours['parity_samples']:.3f}",
        speech=table(speech, hidden),
        speech_silent=silent(speech),
        by_place=against_distances(speech),
        intervals=sources(speech["pairwise"]),
        n_edges=n_edges,
        n_right=round(flow["direction_accuracy"] * n_edges),
        rivers=table(water, network),
        rivers_silent=silent(water),
        apart=differences(water),
        further=further(water["pairwise"]),
        published=", ".join(f"{name} {value:g}" for name, value in PUBLISHED.items()),
        causal_rivers=table(small, network)
        if measured
        else "Not measured here: the release was not at hand.",
        muscle=table(fibres, {"delay, ms": ("delay_ms", ".2f"), "outwards": ("outwards", ".2f")}),
        muscle_silent=silent(fibres),
        zone=table(zone, label),
        zone_silent=silent(zone),
        **{f"chance{k}": f"{chance[f'top{k}']:.2f}" if chance else "–" for k in (1, 3, 5)},
    )
    return text


def main() -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="folder of result files")
    parser.add_argument("docs", type=Path, help="where known_lags.md and its figures go")
    args = parser.parse_args()
    cells = read(args.results)
    figures = {
        "microphones": draw_microphones(cells["microphones"]["pairwise"]),
        "rivers": draw_rivers(cells["rivers"]),
        "muscle": draw_muscle(cells["muscle"]["pairwise"]),
    }
    for name, figure in figures.items():
        with atomic_path(args.docs / f"known_lags_{name}.png") as temporary:
            figure.savefig(temporary, dpi=130, format="png")
    with atomic_path(args.docs / "known_lags.md") as temporary:
        temporary.write_text(page(cells).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
