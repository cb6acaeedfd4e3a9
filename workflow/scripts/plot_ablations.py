"""What each part of the model is worth: variants less the whole model, on the same subjects."""

import pandas as pd
from plot_style import CHANCE, begin, errors, looks, name, new_figure, save, say


def plot_ablations(table: pd.DataFrame, *paths: str) -> None:
    """Draw one panel an experiment and dataset, one row a variant; the dashed line is no difference."""
    table = table.dropna(subset=["difference"]).rename(
        columns={"difference": "mean", "low": "ci_low", "high": "ci_high"}
    )
    asked = list(table.groupby(["experiment", "dataset", "metric", "budget"], sort=False))
    variants = sorted(table["method"].unique())
    columns = min(max(len(asked), 1), 3)
    rows_of_panels = -(-max(len(asked), 1) // columns)
    height = 1.0 + 0.2 * max(len(variants), 3)
    figure, panels = new_figure(columns=columns, rows=rows_of_panels, height=height, sharey=True)
    for panel in panels[len(asked) :]:
        panel.set_axis_off()
    if not asked:
        say(panels[0], "no variant beside the whole model in this run's plan")
    look = looks(variants)
    for panel, ((experiment, dataset, metric, budget), rows) in zip(panels, asked, strict=False):
        for method in variants:
            part = rows[rows["method"] == method]
            y = [variants.index(method)] * len(part)
            panel.errorbar(part["mean"], y, xerr=errors(part), **(look[method] | {"linestyle": "none"}))
        panel.axvline(0, **CHANCE)
        share = f", {float(budget):.0%} of labels" if float(budget) else ""
        panel.set_title(f"{name(dataset)}, {name(experiment)}{share}", fontsize=7)
        panel.set_xlabel(f"difference of {name(metric)}")
        panel.set_yticks(range(len(variants)), map(name, variants))
        panel.set_ylim(len(variants) - 0.5, -0.5)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_ablations(pd.read_csv(job.input.table, dtype={"budget": str}), *job.output)
