"""Pretraining: loss terms, codebook perplexity and validation."""

import json
from pathlib import Path

import pandas as pd
from plot_style import begin, legend_below, looks, name, new_figure, save, say

FEW = 3  # points, of which a line would show little or nothing


def read_histories(paths: list[str]) -> pd.DataFrame:
    """Read histories as a long table: variant, seed, step, term, value."""
    rows = []
    for path in map(Path, paths):
        seed, variant = path.parent.name.removeprefix("seed-"), path.parent.parent.name
        record = json.loads(path.read_text())
        checks = [
            {"step": entry["step"]} | {_shown(term): value for term, value in entry.items() if _shown(term)}
            for entry in record["validations"]
        ]
        for entry in [*record["history"], *checks]:
            step = entry["step"]
            rows += [
                {"variant": variant, "seed": seed, "step": step, "term": term, "value": value}
                for term, value in entry.items()
                if term != "step" and isinstance(value, int | float)
            ]
    return pd.DataFrame(rows, columns=["variant", "seed", "step", "term", "value"])


def _shown(term: str) -> str:
    """Name a validation's number in the figure: the loss that decides, and probes; others have no panel."""
    if term == "loss":
        return "validation loss"
    return term if term.startswith("probe/") else ""


def plot_training(histories: pd.DataFrame, *paths: str) -> None:
    """Draw one panel a term, one line a pretraining, one colour a variant."""
    ranges = histories.groupby("term", sort=False)["value"].agg(["min", "max"])
    terms = list(ranges.index[ranges["min"] < ranges["max"]])  # a constant needs no panel
    columns = min(max(len(terms), 1), 4)
    figure, panels = new_figure(columns=columns, rows=-(-max(len(terms), 1) // columns), height=1.15)
    look = looks(histories["variant"])
    for panel in panels[len(terms) :]:
        panel.set_axis_off()
    if not terms:
        say(panels[0], "no training history")
    for panel, term in zip(panels, terms, strict=False):
        for (variant, _), rows in histories[histories["term"] == term].groupby(["variant", "seed"]):
            style = look[variant] | ({} if len(rows) < FEW else {"marker": None})
            panel.plot(rows["step"], rows["value"], label=name(variant), linewidth=0.8, **style)
        panel.set_title(term.replace("_", " ").replace("/", ": "), fontsize=7, pad=3)
        panel.tick_params(labelsize=6, pad=1)
    for panel in panels[max(len(terms) - columns, 0) : len(terms)]:
        panel.set_xlabel("step", labelpad=1)
    legend_below(figure, panels, most=3)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_training(read_histories(list(job.input.histories)), *job.output)
