"""Scores on degraded recordings, of fitted models and readouts of planted leads: a curve a kind of damage."""

import pandas as pd
from plot_style import begin, errors, legend_below, looks, mark_chance, name, new_figure, save, say

# By kind: what the axis says, the score as recorded, the unit of amounts, and whether a larger one is milder.
KINDS = {
    "dropped": ("channels lost", "0 %", "", False),
    "noise": ("noise, SNR", "none", "db", True),
    "rate": ("sampling rate", "1", "", True),
    "shift": ("rotation", "0 s", "s", False),
    "montage": ("montage", "bipolar", "", False),
}


def amounts(conditions: list[str], kind: str) -> list[str]:
    """Return the conditions of a kind, the mildest first."""
    _, _, unit, milder = KINDS[kind]
    mine = [one for one in conditions if one.startswith(f"{kind}_")]
    if kind == "montage":
        return mine
    return sorted(mine, key=lambda one: float(one.partition("_")[2].removesuffix(unit)), reverse=milder)


def in_words(condition: str) -> str:
    """Name an amount: `dropped_0.2` -> `20 %`, `noise_10db` -> `10 dB`."""
    kind, _, amount = condition.partition("_")
    if kind == "dropped":
        return f"{float(amount):.0%}".replace("%", " %")
    unit = KINDS[kind][2]
    return f"{amount.removesuffix(unit)} {unit.replace('db', 'dB')}".rstrip()


def plot_robustness(table: pd.DataFrame, *paths: str) -> None:
    """Draw a row of panels a task, a panel a kind of damage; each curve begins at the score as recorded."""
    parts = table["metric"].astype("str").str.extract(r"^([^@:]+)(?:@([^:]+))?$")
    table = table.assign(base=parts[0], condition=parts[1].fillna(""))
    keys = ["experiment", "dataset", "base"]
    judged = table.loc[table["primary"], ["experiment", "dataset", "metric"]].set_axis(keys, axis=1)
    table = table.merge(judged.drop_duplicates(), on=keys)
    tasks = list(table.groupby(keys))
    found = list(table["condition"].unique())
    kinds = [kind for kind in KINDS if amounts(found, kind)]
    figure, panels = new_figure(columns=max(len(kinds), 1), rows=max(len(tasks), 1), sharey="row")
    if not tasks or not kinds:
        say(panels[0], "no robustness cell in this run's plan")
    look = looks(table["method"])
    for row, ((_, dataset, metric), whole) in enumerate(tasks if kinds else []):
        rows = whole.dropna(subset=["mean"])
        for column, kind in enumerate(kinds):
            panel = panels[row * len(kinds) + column]
            order = ["", *amounts(list(rows["condition"].unique()), kind)]
            if len(order) == 1:
                reason = whole["reason"].dropna()
                say(
                    panel, f"{name(dataset)}: {reason.iloc[0] if rows.empty and len(reason) else 'not asked'}"
                )
                continue
            for method, part in rows[rows["condition"].isin(order)].groupby("method"):
                part = part.set_index("condition").reindex(order).dropna(subset=["mean"])
                style = look[str(method)] | ({"linestyle": "none"} if kind == "montage" else {})
                x = [order.index(condition) for condition in part.index]
                panel.errorbar(x, part["mean"], yerr=errors(part), label=name(str(method)), **style)
            mark_chance(panel, rows["chance"].iloc[0])
            words = [KINDS[kind][1], *map(in_words, order[1:])]
            panel.set_xticks(range(len(order)), words, rotation=35, ha="right", rotation_mode="anchor")
            panel.set_xlabel(KINDS[kind][0])
            if column == 0:
                panel.set_ylabel(f"{name(dataset)}\n{name(metric)} (n = {int(rows['n_subjects'].max())})")
    legend_below(figure, panels, most=4)
    save(figure, *paths)


if __name__ == "__main__":
    job = begin()
    plot_robustness(pd.read_csv(job.input.table, dtype={"budget": str}), *job.output)
