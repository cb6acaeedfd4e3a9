"""What the draft says of results: sentences that follow from the tables, whichever way these turned out."""

from collections.abc import Callable

import pandas as pd
from paper_numbers import Numbers
from plot_style import name

from cldtrans.scoring.summary import FEWEST_SEEDS, LOWER_IS_BETTER

OURS = "cldtrans"


def score(row: pd.Series, number: Numbers) -> str:
    """Return a score with its interval, chance and n, as far as they are known."""
    key = "/".join(str(row[part]) for part in ("experiment", "dataset", "method", "budget", "metric"))

    def quoted(what: str, digits: int) -> str:
        return number(f"{key}/{what}", f"{row[what]:.{digits}f}")

    parts = []
    if pd.notna(row["ci_low"]):
        parts.append(f"95 % interval {quoted('ci_low', 3)} to {quoted('ci_high', 3)}")
    if pd.notna(row["chance"]):
        parts.append(f"chance {quoted('chance', 3)}")
    if pd.notna(row["floor"]):
        parts.append(f"metadata alone {quoted('floor', 3)}")
    if row["n_subjects"] > 1:
        parts.append(f"{quoted('n_subjects', 0)} subjects")
    return f"{quoted('mean', 3)} ({'; '.join(parts)})"


def against_chance(row: pd.Series) -> str:
    """Say whether the interval tells a score from the greater of chance and what metadata alone score."""
    if pd.isna(row["chance"]):
        return ""
    if pd.isna(row["ci_low"]):
        return ", with no interval to set against chance"
    better = -1 if row["metric"].partition("@")[0] in LOWER_IS_BETTER else 1
    bar, what = row["chance"], "chance"
    if pd.notna(row["floor"]) and row["floor"] > bar:
        bar, what = row["floor"], "what metadata alone score"
    near, far = sorted((better * row["ci_low"], better * row["ci_high"]))
    if near > better * bar:
        return f", above {what}"
    return f", below {what}" if far < better * bar else f", not told apart from {what}"


def headline(summary: pd.DataFrame, number: Numbers) -> str:
    """Return the abstract's result: planted discharges, or why there is none."""
    rows = summary[(summary["experiment"] == "planted") & (summary["metric"] == "top1")]
    ours = rows[(rows["method"] == OURS) & rows["mean"].notna()]
    if ours.empty:
        return "This run scored no planted discharges with the trained model."
    row = ours.iloc[0]
    return (
        "Asked without labels for the channel that leads a planted discharge, the trained model names it "
        f"first in a share of {score(row, number)}{against_chance(row)}."
    )


def verdict(row: pd.Series) -> str:
    """Return `better`, `worse` or `level` by the interval of a difference, `unknown` without one."""
    if pd.isna(row["low"]):
        return "unknown"
    sign = -1 if row["metric"].partition("@")[0] in LOWER_IS_BETTER else 1
    near, far = sorted((sign * row["low"], sign * row["high"]))
    return "better" if near > 0 else "worse" if far < 0 else "level"


def tally(comparisons: pd.DataFrame, number: Numbers, key: str, what: str) -> str:
    """Count how differences turned out."""
    if comparisons.empty:
        return f"This run compared nothing of {what}."
    found = comparisons.apply(verdict, axis=1).value_counts()
    counts = {kind: number(f"{key}/{kind}", str(found.get(kind, 0))) for kind in ("better", "worse", "level")}
    text = (
        f"Of {number(f'{key}/all', str(len(comparisons)))} comparisons of {what}, {counts['better']} have a "
        f"95 % interval of the difference that favours the first, {counts['worse']} one that favours the "
        f"second, and {counts['level']} one that holds zero"
    )
    if found.get("unknown"):
        text += f"; {number(f'{key}/unknown', str(found['unknown']))} have no interval"
    return text + "."


def difference(row: pd.Series, number: Numbers) -> str:
    """Return a sentence on one comparison."""
    key = "/".join(
        str(row[part]) for part in ("experiment", "dataset", "method", "baseline", "budget", "metric")
    )
    said = {
        "better": "does better than",
        "worse": "does worse than",
        "level": "is not told apart from",
        "unknown": "is compared without an interval with",
    }[verdict(row)]
    interval = ""
    if pd.notna(row["low"]):
        low, high = (number(f"{key}/difference/{end}", f"{row[end]:+.3f}") for end in ("low", "high"))
        interval = f"; 95 % interval {low} to {high}"
    value = number(f"{key}/difference", f"{row['difference']:+.3f}")
    return (
        f"On {name(row['dataset'])}{_labels(row, number)}, {name(row['method'])} {said} "
        f"{name(row['baseline'])} by {name(row['metric'])} (difference {value}{interval})."
    )


def scores(rows: pd.DataFrame, number: Numbers) -> list[str]:
    """Return a sentence on each of our scores."""
    said = []
    for _, row in rows[rows["method"] == OURS].iterrows():
        where = f"On {name(row['dataset'])}{_labels(row, number)}"
        if pd.isna(row["mean"]):
            said.append(f"{where}, {name(row['metric'])} is not defined: {row['reason']}.")
        else:
            said.append(f"{where}, {name(row['metric'])} is {score(row, number)}{against_chance(row)}.")
    return said


def identifiability(rows: pd.DataFrame, number: Numbers) -> list[str]:
    """Return a sentence on each simulated world that the LD-SEM was fitted to."""
    said = []
    fitted = rows[rows["method"] == "ldsem"]
    for world, group in fitted.groupby("dataset", sort=False):
        values = group.set_index("metric")["mean"]
        parts = []
        for metric, text in (
            ("error_over_bound", "the lag error is {} times the Cramér–Rao bound"),
            ("edge_f1", "edges are found with F1 {}"),
        ):
            if metric in values and pd.notna(values[metric]):
                key = f"identifiability/{world}/ldsem/{metric}/mean"
                parts.append(text.format(number(key, f"{values[metric]:.2f}")))
        if parts:
            said.append(f"In the world {world}, {' and '.join(parts)}.")
    return said


def robustness(rows: pd.DataFrame, number: Numbers) -> list[str]:
    """Return a sentence on what each way of degrading recordings costs."""
    said: list[str] = []
    if rows.empty:
        return said
    rows = rows[~rows["metric"].str.contains(":")]  # of readouts, the default one
    primary = rows[rows["primary"]]
    for _, clean in primary[(primary["method"] == OURS) & primary["mean"].notna()].iterrows():
        stem = clean["metric"] + "@"
        same = (
            (rows["dataset"] == clean["dataset"])
            & (rows["method"] == OURS)
            & (rows["budget"] == clean["budget"])
        )
        degraded = rows[same & rows["metric"].str.startswith(stem) & rows["mean"].notna()]
        changes = []
        for metric, value in zip(degraded["metric"], degraded["mean"] - clean["mean"], strict=True):
            key = f"robustness/{clean['dataset']}/{clean['budget']}/{metric}/change"
            changes.append(f"{number(key, f'{value:+.3f}')} with {condition(metric.removeprefix(stem))}")
        if changes:
            said.append(
                f"On {name(clean['dataset'])}, {name(clean['metric'])} changes by {', by '.join(changes)}."
            )
    return said


def condition(key: str) -> str:
    """Return a way of degrading recordings in words, such as `noise_10db`."""
    words: dict[str, Callable[[str], str]] = {
        "noise": lambda rest: f"noise at {rest.removesuffix('db')} dB",
        "dropped": lambda rest: f"{float(rest):.0%} of the channels dropped",
        "rate": lambda rest: f"the sampling rate times {rest}",
        "shift": lambda rest: f"a shift of {rest.removesuffix('s')} s",
        "montage": lambda rest: f"the {rest} montage",
    }
    kind, _, rest = key.partition("_")
    return words[kind](rest) if kind in words else key.replace("_", " ")


def limitations(summary: pd.DataFrame, datasets: pd.DataFrame, miniature: bool, number: Numbers) -> list[str]:
    """Return what stands against believing this run's results."""
    said = []
    if miniature:
        said.append("All recordings of this run are simulated; nothing here is evidence about people.")
    flagged = sorted({name(row.dataset) for row in summary.itertuples() if isinstance(row.flag, str)})
    if flagged:
        said.append(
            f"Metadata alone beat chance on {', '.join(flagged)}: part of those scores needs no signal."
        )
    seeds = summary.loc[summary["mean"].notna(), "n_seeds"]
    if len(seeds) and seeds.min() < FEWEST_SEEDS:
        few = number("limits/seeds", str(int(seeds.min())))
        said.append(
            f"Some cells rest on {few} seed{'s' if seeds.min() > 1 else ''} only; their intervals are over "
            "subjects and leave the spread between trainings out."
        )
    people = summary.loc[summary["mean"].notna() & (summary["n_subjects"] > 1), "n_subjects"]
    if len(people):
        fewest = number("limits/subjects", str(int(people.min())))
        said.append(f"The smallest test set has {fewest} subjects.")
    for row in datasets.itertuples():
        if isinstance(row.reason, str):
            said.append(f"{name(str(row.dataset))}: {row.reason}.")
    return said


def _labels(row: pd.Series, number: Numbers) -> str:
    share = float(row["budget"])
    return f" with {number('labels/' + row['budget'], f'{share:.0%}')} of the labels" if share else ""
