"""Focal-lead localization of planted discharges."""

import pandas as pd
from plot_style import CHANCE, begin, colours, errors, legend_below, name, new_figure, save, say


def plot_planted(table: pd.DataFrame, *paths: str) -> None:
    """Draw one panel a signal-to-noise ratio (`top1_5db`).

    Bars are top-1/3/5 by method, dashes are chance.
    """
    parts = table["metric"].astype("str").str.extract(r"^(top[135])(?:_(.+db))?$")
    table = table.assign(top=parts[0], condition=parts[1]).dropna(subset=["top"])
    by_snr = table.dropna(subset=["condition"])
    table = by_snr if not by_snr.empty else table.assign(condition="all")
    table = table[table["dataset"] == table["dataset"].min()] if not table.empty else table
    conditions = sorted(
        table["condition"].unique(), key=lambda c: -float(c.removesuffix("db")) if c != "all" else 0
    )
    figure, panels = new_figure(
        columns=max(len(conditions), 1), width=4.6 if len(conditions) < 2 else 3.6, sharey=True
    )
    if not conditions:
        say(panels[0], "no planted discharge in this run's plan")
    colour = colours(sorted(table["method"].unique()))
    for panel, condition in zip(panels, conditions, strict=False):
        rows = table[table["condition"] == condition]
        if rows["mean"].isna().all():
            say(panel, f"not scored: {rows['reason'].dropna().iloc[0]}")
            continue
        bar = 0.8 / len(colour)
        for k, method in enumerate(colour):
            part = rows[rows["method"] == method].sort_values("top").dropna(subset=["mean"])
            x = [
                ["top1", "top3", "top5"].index(top) + (k - (len(colour) - 1) / 2) * bar for top in part["top"]
            ]
            panel.bar(x, part["mean"], bar, color=colour[method], label=name(method))
            panel.errorbar(
                x,
                part["mean"],
                yerr=errors(part),
                fmt="none",
                ecolor="0.2",
                elinewidth=0.8,
            )
        for position, top in enumerate(("top1", "top3", "top5")):
            chance = rows.loc[rows["top"] == top, "chance"].dropna()
            if len(chance):
                panel.plot(
                    [position - 0.45, position + 0.45], [chance.iloc[0]] * 2, **(CHANCE | {"zorder": 3})
                )
        panel.set_xticks(range(3), ["top-1", "top-3", "top-5"])
        panel.set_ylim(0, 1)
        n = rows["n_subjects"].max()
        panel.set_title(
            f"{'all levels' if condition == 'all' else condition.replace('db', ' dB')} (n = {n:.0f} subjects)"
        )
    panels[0].set_ylabel("leading channel found")
    legend_below(figure, panels, most=3)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_planted(pd.read_csv(job.input.table, dtype={"budget": str}), *job.output)
