"""Few-shot scores against the share of labels, one panel a dataset."""

import pandas as pd
from plot_style import begin, errors, legend_below, looks, mark_chance, name, new_figure, save, say

MOST = 3  # panels side by side


def plot_fewshot(table: pd.DataFrame, ablations: set[str], *paths: str) -> None:
    """Draw the primary metric by budget and method, with intervals, chance and the number of subjects.

    Parameters
    ----------
    table : DataFrame
        Scores.
    ablations : set of str
        Methods that have a figure of their own.
    *paths : str
        Where to.
    """
    table = table[table["primary"].astype(bool) & ~table["method"].isin(ablations)]
    table = table[table["experiment"] == "fewshot"]
    primary = dict(zip(table["dataset"], table["metric"], strict=True))
    datasets = sorted(primary)
    columns = min(max(len(datasets), 1), MOST)
    figure, panels = new_figure(columns=columns, rows=-(-len(datasets) // columns) or 1, height=2.4)
    look = looks(table["method"])
    if not datasets:
        say(panels[0], "no few-shot cell in this run's plan")
    for panel in panels[len(datasets) :]:
        panel.set_axis_off()
    for panel, dataset in zip(panels, datasets, strict=False):
        rows = table[(table["dataset"] == dataset) & (table["metric"] == primary[dataset])]
        scored = rows.dropna(subset=["mean"])
        panel.set_title(name(dataset))
        if scored.empty:
            say(panel, f"{name(dataset)}\nnot scored: {rows['reason'].dropna().iloc[0]}")
            continue
        budgets = sorted(rows["budget"].unique(), key=float)
        methods = [method for method in look if method in set(scored["method"])]
        for k, method in enumerate(methods):
            part = scored[scored["method"] == method].sort_values(
                "budget", key=lambda column: column.astype(float)
            )
            x = [budgets.index(budget) + (k - (len(methods) - 1) / 2) * 0.09 for budget in part["budget"]]
            panel.errorbar(x, part["mean"], yerr=errors(part), label=name(method), **look[method])
        mark_chance(panel, scored["chance"].iloc[0])
        panel.set_xticks(range(len(budgets)), [f"{float(budget):.0%}" for budget in budgets])
        panel.set_xlim(-0.5, len(budgets) - 0.5)
        panel.set_xlabel(f"share of labels\n{scored['n_subjects'].max():.0f} held-out subjects")
        panel.set_ylabel(name(primary[dataset]))
    legend_below(figure, panels, most=3)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_fewshot(
        pd.read_csv(job.input.table, dtype={"budget": str}),
        set(job.config["variants"]) - {"cldtrans"},
        *job.output,
    )
