"""Scores of fine-tuning strategies against the memory of a step, one panel a dataset and share of labels."""

import pandas as pd
from plot_style import begin, errors, legend_below, looks, mark_chance, name, new_figure, save, say

MIB = 2**20


def plot_tuning(table: pd.DataFrame, *paths: str) -> None:
    """Draw the primary metric with its interval over the bytes that autograd holds in a step."""
    if "step_saved_bytes" not in table:
        figure, panels = new_figure()
        say(panels[0], "no cell of a fine-tuning strategy in this run's plan")
        save(figure, *paths)
        return
    cells = list(table.groupby(["dataset", "budget"], sort=True))
    figure, panels = new_figure(columns=len(cells), height=2.4)
    look = looks(table["method"])
    for panel, ((dataset, budget), rows) in zip(panels, cells, strict=True):
        panel.set_title(f"{name(dataset)}, {float(budget):.0%} of labels")
        scored = rows.dropna(subset=["mean"])
        if scored.empty:
            say(panel, f"{name(dataset)}\nnot scored")
            continue
        for method, part in scored.groupby("method"):
            panel.errorbar(
                part["step_saved_bytes"] / MIB,
                part["mean"],
                yerr=errors(part),
                label=f"{name(method)} ({part['strategy'].iloc[0]})",
                **{**look[method], "linestyle": "none"},
            )
        mark_chance(panel, scored["chance"].iloc[0])
        panel.set_xscale("symlog", linthresh=1)
        panel.set_xlim(left=-0.2, right=2 * scored["step_saved_bytes"].max() / MIB + 1)
        panel.set_xlabel(
            f"held by autograd in a step, MiB\n{scored['n_subjects'].max():.0f} held-out subjects"
        )
        panel.set_ylabel(name(scored["metric"].iloc[0]))
    legend_below(figure, panels, most=3)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_tuning(pd.read_csv(job.input.table, dtype={"budget": str}), *job.output)
