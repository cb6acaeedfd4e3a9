"""Scores of one fitted model on degraded recordings."""

import pandas as pd
from plot_style import begin, errors, looks, mark_chance, name, new_figure, save, say


def in_words(condition: str) -> str:
    """Name a condition: `dropped_0.25` -> `25 % of channels dropped`."""
    kind, _, amount = condition.partition("_")
    if kind == "dropped":
        return f"{float(amount):.0%} of channels dropped".replace("%", " %")
    if kind == "noise":
        return f"noise at {amount.removesuffix('db')} dB"
    return condition.replace("_", " ") or "as recorded"


def plot_robustness(table: pd.DataFrame, *paths: str) -> None:
    """Draw one panel a dataset; one bar a condition (`metric@condition`), the undegraded score first."""
    parts = table["metric"].astype("str").str.extract(r"^([^@]+)(?:@(.+))?$")
    table = table.assign(base=parts[0], condition=parts[1])
    judged_by = set(
        zip(table.loc[table["primary"], "dataset"], table.loc[table["primary"], "metric"], strict=True)
    )
    pairs = pd.Series(
        list(zip(table["dataset"], table["base"], strict=True)), index=table.index, dtype=object
    )
    table = table[pairs.isin(judged_by)]
    datasets = sorted(table["dataset"].unique())
    figure, panels = new_figure(
        columns=max(len(datasets), 1), height=0.9 + 0.2 * max(table["condition"].nunique() + 1, 3)
    )
    if not datasets:
        say(panels[0], "no robustness cell in this run's plan")
    look = looks(table["method"])
    for panel, dataset in zip(panels, datasets, strict=False):
        rows = table[table["dataset"] == dataset].dropna(subset=["mean"])
        panel.set_title(name(dataset))
        if rows.empty:
            reason = table.loc[table["dataset"] == dataset, "reason"].dropna()
            say(panel, f"{name(dataset)}\nnot scored: {reason.iloc[0] if len(reason) else 'no value'}")
            continue
        order = ["", *dict.fromkeys(rows["condition"].dropna())]
        for k, (method, part) in enumerate(rows.groupby("method")):
            y = [order.index(c if isinstance(c, str) else "") + 0.15 * k for c in part["condition"]]
            panel.errorbar(
                part["mean"],
                y,
                xerr=errors(part),
                label=name(method),
                **(look[method] | {"linestyle": "none"}),
            )
        panel.set_yticks(range(len(order)), map(in_words, order))
        panel.set_ylim(len(order) - 0.5, -0.5)
        mark_chance(panel, rows["chance"].iloc[0], "y")
        panel.set_xlabel(f"{name(rows['base'].iloc[0])}\n{rows['n_subjects'].max():.0f} held-out subjects")
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_robustness(pd.read_csv(job.input.table, dtype={"budget": str}), *job.output)
