"""Recovery of known lags and edges in simulated worlds."""

import pandas as pd
from plot_style import begin, errors, legend_below, looks, mark_chance, name, new_figure, save, say

PANELS = {
    "error_over_bound": "lag error / Cramér–Rao\nbound",
    "edge_f1": "F1 of the edges",
    "coverage95": "coverage of\n95 % intervals",
}
BEST = {"error_over_bound": (1.0, "bound"), "edge_f1": (1.0, "all right"), "coverage95": (0.95, "95 %")}


def plot_identifiability(table: pd.DataFrame, *paths: str) -> None:
    """Draw one panel a metric, one row a world; the dashed line is the best that can be reached."""
    worlds = sorted(table["dataset"].unique(), key=lambda world: (world != "base", world))
    look = looks(table["method"])
    height = max(1.8, 1.1 + 0.25 * len(worlds))
    figure, panels = new_figure(columns=len(PANELS), height=height, sharey=True)
    for panel, (metric, title) in zip(panels, PANELS.items(), strict=True):
        rows = table[table["metric"] == metric].dropna(subset=["mean"])
        if rows.empty:
            say(panel, f"{title}\nno value in this run")
            continue
        for k, method in enumerate(look):
            part = rows[rows["method"] == method]
            y = [worlds.index(world) + 0.12 * (k - (len(look) - 1) / 2) for world in part["dataset"]]
            panel.errorbar(
                part["mean"],
                y,
                xerr=errors(part),
                label=name(method),
                **(look[method] | {"linestyle": "none"}),
            )
        panel.set_xlabel(title)
        panel.set_xlim(0, max(1.05 * rows["mean"].max(), 1.05))
        if metric == "error_over_bound" and rows["mean"].max() > 10:
            panel.set_xlim(0.5, 2 * rows["mean"].max())
            panel.set_xscale("log")
        mark_chance(panel, BEST[metric][0], "y", BEST[metric][1])
    panels[0].set_yticks(range(len(worlds)), worlds)
    panels[0].set_ylim(len(worlds) - 0.5, -0.5)
    legend_below(figure, panels, most=4)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_identifiability(pd.read_csv(job.input.table, dtype={"budget": str}), *job.output)
