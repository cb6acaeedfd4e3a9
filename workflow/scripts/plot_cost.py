"""What a score costs: primary metric against parameters and against time."""

import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter
from plot_style import begin, errors, legend_below, looks, mark_chance, name, new_figure, save, say

AXES = {"parameters": "trained parameters", "wall_s": "seconds a cell"}


def plot_cost(cost: pd.DataFrame, summary: pd.DataFrame, *paths: str) -> None:
    """Draw few-shot cells with the most labels: one row a dataset, score against each kind of cost.

    Parameters
    ----------
    cost : DataFrame
        Costs of every cell.
    summary : DataFrame
        Primary scores.
    *paths : str
        Where to.
    """
    scored = summary[(summary["experiment"] == "fewshot") & summary["mean"].notna()]
    datasets = sorted(scored["dataset"].unique())
    spent = cost.groupby(["experiment", "dataset", "method", "budget"], as_index=False)[list(AXES)].mean()
    figure, panels = new_figure(columns=2, rows=max(len(datasets), 1), height=1.7)
    if not datasets:
        say(panels[0], "no few-shot cell in this run's plan")
        panels[1].set_axis_off()
    look = looks(scored["method"])
    for k, dataset in enumerate(datasets):
        rows = scored[scored["dataset"] == dataset]
        most = max(rows["budget"], key=float)
        both = rows[rows["budget"] == most].merge(spent, on=["experiment", "dataset", "method", "budget"])
        for panel, (axis, label) in zip(panels[2 * k : 2 * k + 2], AXES.items(), strict=True):
            known = both[both[axis] > 0]  # a constant trains nothing, and has no place on a log axis
            for _, row in known.iterrows():
                style = look[row["method"]] | {"linestyle": "none"}
                reach = errors(row.to_frame().T.astype({"mean": float, "ci_low": float, "ci_high": float}))
                panel.errorbar(row[axis], row["mean"], yerr=reach, label=name(row["method"]), **style)
            if known.empty:
                say(panel, f"{label}: not recorded")
                continue
            panel.set_xscale("log")
            panel.set_xlim(
                10 ** np.floor(np.log10(known[axis].min() / 1.3)),
                10 ** np.ceil(np.log10(known[axis].max() * 1.3)),
            )
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_xlabel(label)
            panel.set_ylabel(name(rows["metric"].iloc[0]))
            panel.set_title(f"{name(dataset)}, {float(most):.0%} of labels", fontsize=7)
            mark_chance(panel, rows["chance"].iloc[0])
    legend_below(figure, panels, most=3)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    read = {"dtype": {"budget": str}}
    plot_cost(pd.read_csv(job.input.table, **read), pd.read_csv(job.input.summary, **read), *job.output)
