"""Lags that physics or clinicians know, by method."""

import pandas as pd
from plot_style import begin, errors, looks, mark_chance, name, new_figure, save, say

PANELS = {"tau_rms_samples": "rms lag error (samples)", "direction_accuracy": "share of directions right"}


def plot_known_lags(table: pd.DataFrame, *paths: str) -> None:
    """Draw one row of panels a set that has values, one panel a metric, one line a method."""
    table = table[table["metric"].isin(PANELS)].dropna(subset=["mean"])
    sets = sorted(table["dataset"].unique())
    methods = list(looks(table["method"]))
    height = 0.9 + 0.18 * max(len(methods), 3)
    figure, panels = new_figure(columns=2, rows=max(len(sets), 1), height=height, sharey="row")
    if not sets:
        say(panels[0], "no lags that physics or clinicians know in this run")
        panels[1].set_axis_off()
    look = looks(methods)
    for k, dataset in enumerate(sets):
        for panel, (metric, title) in zip(panels[2 * k : 2 * k + 2], PANELS.items(), strict=True):
            rows = table[(table["dataset"] == dataset) & (table["metric"] == metric)]
            if rows.empty:
                say(panel, f"{title}: not asked of {name(dataset)}")
                continue
            for _, row in rows.iterrows():
                one, style = (
                    rows[rows["method"] == row["method"]],
                    look[row["method"]] | {"linestyle": "none"},
                )
                panel.errorbar(one["mean"], [methods.index(row["method"])], xerr=errors(one), **style)
            if rows["chance"].notna().any():
                mark_chance(panel, rows["chance"].dropna().iloc[0], "y")
            panel.set_xlabel(title)
            panel.set_title(name(dataset))
            panel.set_yticks(range(len(methods)), map(name, methods))
            panel.set_ylim(len(methods) - 0.5, -0.5)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_known_lags(pd.read_csv(job.input.table, dtype={"budget": str}), *job.output)
