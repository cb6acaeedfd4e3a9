"""Every result file of a run as tables: csv for programs; HTML, Markdown and LaTeX for people."""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from paper_numbers import escape
from plot_style import begin, name

from cldtrans.config import DIVISIONS
from cldtrans.evaluation import paired
from cldtrans.evaluation.predictions import read_predictions
from cldtrans.files import atomic_path
from cldtrans.methods.cells import Cell
from cldtrans.scoring.intervals import FEWEST_FOR_BOOTSTRAP
from cldtrans.scoring.metrics import PRIMARY
from cldtrans.scoring.summary import (
    FEWEST_SEEDS,
    LOWER_IS_BETTER,
    against_best_baseline,
    over_seeds,
    read_results,
    tidy,
)

HEADLINES = {
    "planted": ("top1",),
    "lead_robustness": ("top1",),
    "reconstruction": ("auroc",),
    "zeroshot": ("top1", "lobe_accuracy", "side_accuracy", "consistency_top1"),
    "identifiability": ("error_over_bound", "edge_f1"),
    "known_lags": ("tau_rms_samples", "direction_accuracy"),
}
OURS = "cldtrans"
FITTED = {"identifiability": "ldsem", "known_lags": "ldsem"}  # experiments that fit instead of training
ORDER = ("planted", "zeroshot", "fewshot", "identifiability", "known_lags")  # of the headline
PLANTED = ", planted"
HEADLINE_ROWS = 10
LABELLED = ("fewshot", *DIVISIONS, "robustness")
# A table holds the experiments whose rows belong side by side.
TABLES = {
    "fewshot": ("fewshot", *DIVISIONS),
    "robustness": ("robustness", "lead_robustness"),
    "zeroshot": ("zeroshot", "reconstruction"),
    **{name: (name,) for name in ("planted", "identifiability", "known_lags")},
}
CAPTIONS = Path(__file__).parents[1] / "report"
WIDEST = 26  # characters of a column of the LaTeX tables before it wraps
BEATEN = "metadata alone beat chance"
LEAKY = "published_leaky"
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #222; margin: 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { position: sticky; top: 0; background: #fff; border-bottom: 2px solid #444; text-align: left; }
th, td { padding: .25rem .9rem .25rem 0; vertical-align: top; }
td { border-bottom: 1px solid #ddd; }
"""
CELLS = ["experiment", "dataset", "method", "budget"]
ORIGIN = ["start", "saw_test_data"]
COST = [
    "experiment",
    "dataset",
    "method",
    "budget",
    "seed",
    "wall_s",
    "fit_s",
    "peak_memory_gib",
    "parameters",
    "trainable_parameters",
    "nfe",
    "device",
]


def task_kinds(metas: list[str]) -> dict[str, str]:
    """Return the kind of task by dataset, of those that have one."""
    contents = [json.loads(Path(meta).read_text()) for meta in metas]
    return {content["dataset"]: content["task"]["kind"] for content in contents if content["task"]}


def primary_metrics(experiment: str, dataset: str, kinds: dict[str, str]) -> tuple[str, ...]:
    """Return the metrics by which an experiment is judged."""
    if experiment in HEADLINES:
        return HEADLINES[experiment]
    return (PRIMARY[kinds[dataset]],) if dataset in kinds else ()


def floor_table(floors: list[dict]) -> pd.DataFrame:
    """Average what metadata alone score over divisions; a task is flagged if one of its divisions is."""
    rows = [
        {
            **{"dataset": one["dataset"], "division": one["division"] or "", "flagged": one["flagged"]},
            **{"metric": metric, "floor": value},
        }
        for one in floors
        for metric, value in one["metrics"].items()
    ]
    keys = ["dataset", "division", "metric"]
    table = pd.DataFrame(rows, columns=[*keys, "floor", "flagged"]).astype({"floor": float})
    return table.groupby(keys, as_index=False).agg({"floor": "mean", "flagged": "any"})


def with_floor(table: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """Put the floor of its task and division beside each row of a labelled experiment, and flags.

    A score on degraded recordings, `<metric>@<condition>`, stands beside the floor of the metric. Flags: the
    metadata alone beat chance, a division is leaky, and a cell is too small to be judged.
    """
    asked = table["experiment"].isin(LABELLED)
    keys = pd.DataFrame(
        {
            "dataset": table["dataset"].where(asked, ""),
            "division": table["experiment"].where(table["experiment"].isin(DIVISIONS), ""),
            "metric": table["metric"].astype("str").str.split("@").str[0],
        }
    )
    found = keys.merge(floors, how="left", on=list(keys)).set_axis(table.index)
    flags = pd.DataFrame(
        {
            LEAKY: table["experiment"] == LEAKY,
            BEATEN: found["flagged"].eq(True),
            **(small_cells(table) if "n_subjects" in table else {}),
        }
    )
    said = ["; ".join(flags.columns[row]) or None for row in flags.to_numpy(dtype=bool)]
    return table.assign(floor=found["floor"], flag=said)


def small_cells(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Find scores of too few subjects for a bootstrap: by what is said of them, which rows."""
    scored = table["mean"].notna()
    counts = range(1, FEWEST_FOR_BOOTSTRAP)
    words = {n: f"too small: {n} subject{'s' if n > 1 else ''}" for n in counts}
    return {words[n]: scored & (table["n_subjects"] == n) for n in counts}


def with_origin(table: pd.DataFrame, records: list[dict]) -> pd.DataFrame:
    """Say of each row where its weights began, and whether they saw the test data, where there are any.

    Seeds of one cell that differ are all named.
    """
    found = pd.DataFrame(
        [
            {**{key: record[key] for key in CELLS}, **{key: record["extra"].get(key) for key in ORIGIN}}
            for record in records
        ],
        columns=[*CELLS, *ORIGIN],
    )
    named = found.groupby(CELLS, as_index=False).agg(lambda one: ", ".join(sorted(set(one.dropna()))) or None)
    return table.merge(named, how="left", on=CELLS)


def score_table(cells: pd.DataFrame, kinds: dict[str, str]) -> pd.DataFrame:
    """Summarise cells over seeds with one interval.

    It is over seeds (t) from three on, else over held-out subjects.
    """
    many = cells["n_seeds"] >= FEWEST_SEEDS
    table = cells.assign(
        ci_low=cells["t_low"].where(many, cells["ci_low"]),
        ci_high=cells["t_high"].where(many, cells["ci_high"]),
        interval=many.map({True: "seeds", False: "subjects"}).where(cells["mean"].notna()),
    )
    primary = [
        metric in primary_metrics(experiment, dataset, kinds)
        for experiment, dataset, metric in zip(
            table["experiment"], table["dataset"], table["metric"], strict=True
        )
    ]
    table = table.assign(primary=primary).drop(columns=["t_low", "t_high"])
    return table.sort_values(["experiment", "dataset", "metric", "budget", "method"], ignore_index=True)


def dataset_table(stamps: list[str], metas: list[str], quarantines: list[str]) -> pd.DataFrame:
    """Make one row a dataset: what was found, used and set aside, and why a dataset is missing."""
    rows = []
    for stamp, meta, quarantine in zip(
        map(Path, stamps), map(Path, metas), map(Path, quarantines), strict=True
    ):
        download, content = json.loads(stamp.read_text()), json.loads(meta.read_text())
        rows.append(
            {
                "dataset": content["dataset"],
                "version": content["version"],
                "status": content["status"],
                "files": download["files"],
                "gigabytes": round(download["bytes"] / 1e9, 3),
                "subjects": content["n_subjects"],
                "recordings": content["n_recordings"],
                "quarantined": len(pd.read_csv(quarantine)),
                "windows": content["n_windows"],
                "channels": len(content["channels"]),
                "rate_hz": content["rate_hz"],
                "reason": content["reason"],
            }
        )
    return pd.DataFrame(rows)


def published_table(rows: list[dict], names: dict[str, dict]) -> pd.DataFrame:
    """List comparisons with published predictions, and a line for each that the user has not supplied."""
    absent = [
        {
            "dataset": dataset,
            "published": one["name"],
            "reason": f"no published predictions supplied: name their file in published.{dataset}.file",
        }
        for dataset, one in names.items()
        if one["file"] is None
    ]
    columns = ["dataset", "method", "budget", "seed", "published", "metric", "ours", "theirs", "difference"]
    columns += ["low", "high", "n_windows", "n_subjects", "reason"]
    return pd.DataFrame([*rows, *absent], columns=columns, dtype=object)


def training_notes(histories: list[str]) -> pd.DataFrame:
    """Return what a pretraining had to say, such as that it ran without validation."""
    rows = []
    for path in map(Path, histories):
        for note in json.loads(path.read_text()).get("notes", []):
            rows.append(
                {"dataset": f"stage 1, {path.parent.parent.name}, {path.parent.name}", "reason": note}
            )
    return pd.DataFrame(rows, columns=["dataset", "reason"])


def paired_intervals(
    records: list[dict], metrics: list[str], predictions: dict[Cell, Path]
) -> Callable[[tuple[Any, ...], tuple[Any, ...]], dict[str, list[float] | None]]:
    """Return what bounds the difference of two cells over their common subjects.

    Classifiers have their predictions, focal leads the means of their subjects.
    """
    by_subject = {cell_of(record): record["extra"].get("by_subject") for record in records}

    def of_cells(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> dict[str, list[float] | None]:
        pair = Cell(*ours), Cell(*theirs)
        if all(cell in predictions for cell in pair):
            ours_said, theirs_said = (read_predictions(predictions[cell]) for cell in pair)
            return paired.of_predictions(ours_said, theirs_said, metrics).ci95
        mine, rival = (by_subject[cell] for cell in pair)
        return paired.of_subjects(mine, rival, metrics).ci95 if mine and rival else {}

    return cache(of_cells)


def cell_of(record: dict) -> Cell:
    """Return the place of a record in the plan."""
    return Cell(*(record[field.name] for field in fields(Cell)))


def cost_table(records: list[dict]) -> pd.DataFrame:
    """List wall-clock, memory and size of every scored cell."""
    table = pd.DataFrame(records).assign(
        fit_s=[record["metrics"].get("fit_s") for record in records],
        peak_memory_gib=lambda t: (t["peak_memory_bytes"] / 2**30).round(3),
        trainable_parameters=[record["extra"].get("trainable_parameters") for record in records],
    )
    return table[COST].sort_values(COST[:5], ignore_index=True)


def tuning_table(records: list[dict], scores: pd.DataFrame) -> pd.DataFrame:
    """Set beside each score of a fine-tuning strategy what it cost; costs are means over seeds."""
    tuned = [record for record in records if record["extra"].get("costs")]
    if not tuned:
        return pd.DataFrame(columns=[*CELLS, "metric", "mean", "strategy"])
    costs = pd.DataFrame([{key: record[key] for key in CELLS} | record["extra"]["costs"] for record in tuned])
    costs = costs.groupby([*CELLS, "strategy"], as_index=False).mean(numeric_only=True)
    columns = [*CELLS, "metric", "mean", "ci_low", "ci_high", "chance", "n_seeds", "n_subjects"]
    table = scores.loc[scores["primary"], columns].merge(costs, on=CELLS)
    for column, cost in (("best for its memory", "step_saved_bytes"), ("best for its time", "step_ms")):
        table[column] = [
            not any(
                (other["mean"] > row["mean"]) & (other[cost] <= row[cost])
                for _, other in table.iterrows()
                if all(other[key] == row[key] for key in CELLS if key != "method")
            )
            for _, row in table.iterrows()
        ]
    return table.sort_values(["dataset", "budget", "step_saved_bytes", "method"], ignore_index=True)


def headline_table(primary: pd.DataFrame, baselines: list[str]) -> pd.DataFrame:
    """Choose at most ten primary scores of ours with the best rival's, chance and n.

    Few labels are represented by the most labels; what ours did not score stays out.
    """
    scored = primary[primary["mean"].notna() & primary["experiment"].isin(ORDER)]
    rows = []
    for (experiment, dataset, metric), group in scored.groupby(
        ["experiment", "dataset", "metric"], sort=False
    ):
        group = group[group["budget"] == max(group["budget"], key=float)]
        ours = group[group["method"] == FITTED.get(experiment, OURS)]
        if ours.empty:
            continue
        row, rivals = (
            ours.iloc[0],
            group[group["method"].isin(baselines) & ~group["method"].isin(ours["method"])],
        )
        sign = -1 if metric in LOWER_IS_BETTER else 1
        best = rivals.loc[(sign * rivals["mean"]).idxmax()] if len(rivals) else None
        share = f", {float(row['budget']):.0%} of labels" if float(row["budget"]) else ""
        where = name(dataset) + (PLANTED if experiment == "planted" else "")
        rows.append(
            {
                "order": ORDER.index(experiment),
                "score": f"{where}: {name(metric)}{share}",
                "ours": estimates(*(group.loc[ours.index, key] for key in ("mean", "ci_low", "ci_high")))[0],
                "best rival": "–" if best is None else f"{best['mean']:.3f} {name(best['method'])}",
                "chance": numbers(ours["chance"])[0],
                "n": "–" if row["n_subjects"] <= 1 else f"{row['n_subjects']:.0f}",
            }
        )
    columns = ["order", "score", "ours", "best rival", "chance", "n"]
    table = pd.DataFrame(rows, columns=columns).sort_values("order", kind="stable", ignore_index=True)
    return table.drop(columns="order").head(HEADLINE_ROWS)


def provenance_table(records: list[dict]) -> pd.DataFrame:
    """List what made this run's results: commits, versions, devices; and how much of it there is."""
    found: dict[str, Any] = {
        "result files": [len(records)],
        "seeds": [record["seed"] for record in records],
        "devices": [record["device"] for record in records],
        "commit": [record["git_commit"] for record in records],
        "with uncommitted changes": [
            {True: "yes", False: "no"}.get(record["git_dirty"]) for record in records
        ],
    }
    for package in dict.fromkeys(key for record in records for key in record["versions"]):
        found[package] = [record["versions"].get(package) for record in records]
    rows = [
        {"what": what, "value": ", ".join(sorted({str(value) for value in values if value is not None}))}
        for what, values in found.items()
    ]
    return pd.DataFrame(rows)


def for_people(table: pd.DataFrame) -> pd.DataFrame:
    """Return the same with known names, scores as `0.81 [0.74, 0.88]`, and a dash where there is none."""
    if "baseline" in table:
        return compared(table)
    if "flag" not in table:
        known = {
            column: table[column].map(name).fillna("–")
            for column in ("dataset", "method", "experiment")
            if column in table
        }
        return table.astype(object).where(table.notna(), "–").assign(**known)

    shown = pd.DataFrame(
        {
            "experiment": table["experiment"].map(name),
            "data": table["dataset"].map(name),
            "method": table["method"].map(name),
            "labels": shares(table["budget"]),
            "metric": table["metric"].map(name),
            "score [95 % interval]": estimates(table["mean"], table["ci_low"], table["ci_high"]),
            "chance": numbers(table["chance"]),
            "floor": numbers(table["floor"]),
            "flag": table["flag"].fillna(""),
            "weights": _or_nothing(table, "start"),
            "saw test data": _or_nothing(table, "saw_test_data"),
            "n subjects": table["n_subjects"].replace(0, "–"),
            "n windows": table["n_windows"].replace(0, "–"),
            "seeds": table["n_seeds"],
            "why not": table["reason"].fillna(""),
        }
    )
    mostly_empty = ("flag", "weights", "saw test data", "why not")
    return shown.drop(columns=[column for column in mostly_empty if not shown[column].any()])


def _or_nothing(table: pd.DataFrame, column: str) -> pd.Series:
    return table[column].fillna("") if column in table else pd.Series("", index=table.index)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Return differences as people read them: three decimals, or a dash and the reason."""
    shown = pd.DataFrame(
        {
            "experiment": table["experiment"].map(name),
            "data": table["dataset"].map(name),
            "labels": shares(table["budget"]),
            "metric": table["metric"].map(name),
            "method": table["method"].map(name),
            "against": table["baseline"].map(name),
            "difference [95 % interval]": estimates(table["difference"], table["low"], table["high"], "+"),
            "seeds": table["n_seeds"],
            "p (Holm)": numbers(table["p_holm"]),
            "effect size": numbers(table["effect_size"]),
            "flag": table["flag"].fillna(""),
            "why not": table["reason"].fillna(""),
        }
    )
    return shown.drop(columns=[column for column in ("flag", "why not") if not shown[column].any()])


def shares(budgets: pd.Series) -> list[str]:
    """Write shares of labels in percent, a dash where none are used."""
    return ["–" if float(budget) == 0 else f"{float(budget):.0%}" for budget in budgets]


def numbers(values: pd.Series) -> list[str]:
    """Write numbers with three decimals, a dash where there is none."""
    return ["–" if pd.isna(value) else f"{value:.3f}" for value in values]


def estimates(values: pd.Series, low: pd.Series, high: pd.Series, sign: str = "") -> list[str]:
    """Write estimates with their intervals, `sign` being that of the format."""
    return [
        "–"
        if pd.isna(value)
        else f"{value:{sign}.3f}" + ("" if pd.isna(below) else f" [{below:{sign}.3f}, {above:{sign}.3f}]")
        for value, below, above in zip(values, low, high, strict=True)
    ]


def markdown(table: pd.DataFrame) -> str:
    """Write a pipe table."""
    escaped = table.rename(columns=str).astype(str).replace(r"\|", r"\|", regex=True)
    return escaped.to_markdown(index=False, tablefmt="github", disable_numparse=True) + "\n"


def latex(table: pd.DataFrame, stem: str, caption: str) -> str:
    """Write a booktabs table over as many pages as it takes, as wide as the text."""
    text, notes = with_notes(table.rename(columns=str).astype(str))
    text = text.drop(
        columns=[column for column in ("experiment",) if column in text and len(set(text[column])) == 1]
    )
    needed = [
        min(max(text[column].str.len().max(), max(map(len, column.split()))), WIDEST) for column in text
    ]
    gaps = 2 * (len(needed) - 1)  # of 2 pt each, beside the columns
    kind, share = r">{\raggedright\arraybackslash}p", gaps * 2 / len(needed)
    columns = "".join(
        rf"{kind}{{\dimexpr{width / sum(needed):.4f}\linewidth-{share:.2f}pt}}" for width in needed
    )
    breakable = text.map(tex_escape).rename(columns=tex_escape)
    body = breakable.to_latex(
        index=False,
        longtable=True,
        column_format=f"@{{}}{columns}@{{}}",
        caption=tex_escape(caption),
        label=f"tab:full-{stem}",
    )
    below = "".join(f"\\noindent$^{{{mark}}}$ {tex_escape(note)}\\par\n" for mark, note in notes.items())
    return f"{{\\tiny\\setlength{{\\tabcolsep}}{{2pt}}\n{body}{below}}}\n"


def with_notes(text: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return a table whose remarks are letters, and the remarks by letter."""
    remarks = [column for column in ("flag", "why not") if column in text]
    if not remarks:
        return text, {}
    said = [note for column in remarks for note in dict.fromkeys(text[column]) if note]
    marks = {note: letters(k) for k, note in enumerate(said)}
    marked = text[remarks].map(lambda note: marks.get(note, ""))
    joined = marked.agg(lambda row: " ".join(filter(None, row)), axis=1)
    return text.drop(columns=remarks).assign(note=joined), {mark: note for note, mark in marks.items()}


def letters(k: int) -> str:
    """Return a, b, ... z, aa, ab, ... by number from 0."""
    return ("" if k < 26 else letters(k // 26 - 1)) + chr(ord("a") + k % 26)


def tex_escape(text: str) -> str:
    """Return plain text as LaTeX that may break after the joints of long names."""
    return re.sub(r"(\\_|[@:/;,-])(?=\S)", r"\1\\allowbreak{}", escape(text))


def html(table: pd.DataFrame, title: str) -> str:
    """Write a page of its own, which the report shows."""
    body = table.to_html(index=False, border=0, na_rep="–")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def write_table(table: pd.DataFrame, folder: Path, stem: str) -> None:
    """Write one table in its four formats."""
    shown = for_people(table)
    caption = " ".join((CAPTIONS / f"table_{stem}.rst").read_text().replace("``", "").split())
    if table.empty:
        shown = pd.DataFrame({stem: ["No cell of this kind in this run's plan."]})
    for suffix, text in (
        ("csv", table.to_csv(index=False, float_format="%.6g")),
        ("html", html(shown, stem)),
        ("md", markdown(shown)),
        ("tex", latex(shown, stem, caption)),
    ):
        with atomic_path(folder / f"{stem}.{suffix}") as temporary:
            temporary.write_text(text)


def make_tables(
    records: list[dict],
    datasets: pd.DataFrame,
    kinds: dict[str, str],
    notes: pd.DataFrame,
    baselines: list[str],
    audit: dict,
    predictions: dict[Cell, Path],
    published: list[dict],
    names: dict[str, dict],
    folder: Path,
) -> None:
    """Write every table of a run."""
    frame = tidy(records)
    cells = over_seeds(frame[frame["metric"] != "fit_s"])  # a time, not a score: see the costs
    floors = floor_table(audit["floors"])
    scores = with_origin(with_floor(score_table(cells, kinds), floors), records)
    for stem, experiments in TABLES.items():
        write_table(scores[scores["experiment"].isin(experiments)], folder, stem)
    write_table(scores[scores["primary"]], folder, "summary")
    write_table(headline_table(scores[scores["primary"]], baselines), folder, "headline")
    ours = sorted({record["method"] for record in records} - set(baselines))
    metrics = sorted(set(scores.loc[scores["primary"], "metric"]))
    paired_by = paired_intervals(records, metrics, predictions)
    asked = [
        metric in primary_metrics(experiment, dataset, kinds)
        for experiment, dataset, metric in zip(
            frame["experiment"], frame["dataset"], frame["metric"], strict=True
        )
    ]
    judged = frame[asked]
    comparisons = against_best_baseline(judged, ours, baselines, metrics, paired_by).round(6)
    write_table(with_floor(comparisons, floors), folder, "comparisons")
    variants = [method for method in ours if method != OURS]
    ablations = against_best_baseline(judged, variants, [OURS], metrics, paired_by).round(6)
    write_table(with_floor(ablations, floors), folder, "ablations")
    write_table(published_table(published, names), folder, "published")
    write_table(provenance_table(records), folder, "provenance")
    write_table(pd.DataFrame(audit["findings"]), folder, "audit")
    write_table(pd.concat([datasets.convert_dtypes(), notes], ignore_index=True), folder, "datasets")
    write_table(tuning_table(records, scores).round(4), folder, "tuning")
    write_table(cost_table(records), folder, "cost")


if __name__ == "__main__":
    job = begin()
    results = read_results(job.input.results)
    cells_of_run = [cell_of(record) for record in results]
    make_tables(
        results,
        dataset_table(job.input.stamps, job.input.metas, job.input.quarantines),
        task_kinds(job.input.metas),
        training_notes(job.input.histories),
        sorted(key for key, method in job.config["methods"].items() if not method.get("variant")),
        json.loads(Path(job.input.audit).read_text()),
        {
            cell: Path(cell.path(job.config["run"])).with_suffix(".parquet")
            for cell in cells_of_run
            if cell.experiment in TABLES["fewshot"]
        },
        [row for path in job.input.published for row in json.loads(Path(path).read_text())],
        job.config["published"],
        Path(job.output.csv[0]).parent,
    )
