"""Focal-lead localization of planted discharges."""

import pandas as pd
from plot_style import CHANCE, begin, errors, legend_below, looks, name, new_figure, save, say

TOPS = ("top1", "top3", "top5")


def plot_planted(table: pd.DataFrame, ablations: set[str], *paths: str) -> None:
    """Draw one panel a signal-to-noise ratio (`top1_5db`): top-1/3/5 by method, dashes are chance.

    Parameters
    ----------
    table : DataFrame
        Scores.
    ablations : set of str
        Methods that have a figure of their own.
    *paths : str
        Where to.
    """
    table = table[~table["method"].isin(ablations)]
    parts = table["metric"].astype("str").str.extract(r"^(top[135])(?:_(.+db))?$")
    table = table.assign(top=parts[0], condition=parts[1]).dropna(subset=["top"])
    by_snr = table.dropna(subset=["condition"])
    table = by_snr if not by_snr.empty else table.assign(condition="all")
    table = table[table["dataset"] == table["dataset"].min()] if not table.empty else table
    conditions = sorted(
        table["condition"].unique(), key=lambda c: -float(c.removesuffix("db")) if c != "all" else 0
    )
    columns = min(max(len(conditions), 1), 2)
    rows_of_panels = -(-max(len(conditions), 1) // columns)
    figure, panels = new_figure(columns=columns, rows=rows_of_panels, height=2.3, sharey=True)
    for panel in panels[len(conditions) :]:
        panel.set_axis_off()
    if not conditions:
        say(panels[0], "no planted discharge in this run's plan")
    look = looks(table["method"])
    for panel, condition in zip(panels, conditions, strict=False):
        rows = table[table["condition"] == condition]
        if rows["mean"].isna().all():
            say(panel, f"not scored: {rows['reason'].dropna().iloc[0]}")
            continue
        step = 0.8 / len(look)
        for k, method in enumerate(look):
            part = rows[rows["method"] == method].sort_values("top").dropna(subset=["mean"])
            x = [TOPS.index(top) + (k - (len(look) - 1) / 2) * step for top in part["top"]]
            style = look[method] | {"linestyle": "none"}
            panel.errorbar(x, part["mean"], yerr=errors(part), label=name(method), **style)
        labels = []
        for position, top in enumerate(TOPS):
            chance = rows.loc[rows["top"] == top, "chance"].dropna()
            if len(chance):
                panel.plot([position - 0.45, position + 0.45], [chance.iloc[0]] * 2, **CHANCE)
            labels.append(name(top) + (f"\nchance {chance.iloc[0]:.2f}" if len(chance) else ""))
        panel.set_xticks(range(len(TOPS)), labels)
        panel.set_xlim(-0.6, len(TOPS) - 0.4)
        panel.set_ylim(0, 1.04)
        level_name = "all levels" if condition == "all" else condition.replace("db", " dB")
        panel.set_title(f"{level_name}, {rows['n_subjects'].max():.0f} subjects")
    for panel in panels[::columns]:
        panel.set_ylabel("share of discharges whose\nlead is among those named")
    legend_below(figure, panels, most=3)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_planted(
        pd.read_csv(job.input.table, dtype={"budget": str}),
        set(job.config["variants"]) - {"cldtrans"},
        *job.output,
    )
