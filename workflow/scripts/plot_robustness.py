"""Scores of one fitted model on degraded recordings."""

import pandas as pd
from plot_style import CHANCE, begin, colours, errors, name, new_figure, save, say


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
    figure, panels = new_figure(columns=max(len(datasets), 1), width=5.2, height=3.0)
    if not datasets:
        say(panels[0], "no robustness cell in this run's plan")
    colour = colours(sorted(table["method"].unique()))
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
                fmt="o",
                color=colour[method],
                capsize=2,
                markersize=4,
                label=name(method),
            )
        panel.set_yticks(range(len(order)), map(in_words, order))
        panel.set_ylim(len(order) - 0.5, -0.5)
        panel.axvline(rows["chance"].iloc[0], **CHANCE)
        panel.text(rows["chance"].iloc[0], -0.5, " chance", color=CHANCE["color"], va="top", fontsize=8)
        panel.set_xlabel(
            f"{name(rows['base'].iloc[0])} (n = {int(rows['n_subjects'].max())} held-out subjects)"
        )
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_robustness(pd.read_csv(job.input.table, dtype={"budget": str}), *job.output)
