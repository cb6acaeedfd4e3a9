"""Every result file of a run as tables: csv for programs; HTML, Markdown and LaTeX for people."""

import json
from pathlib import Path

import pandas as pd
from plot_style import begin, name

from cldtrans.files import atomic_path
from cldtrans.scoring.metrics import PRIMARY
from cldtrans.scoring.summary import against_best_baseline, over_seeds, read_results, tidy

HEADLINES = {
    "planted": ("top1",),
    "zeroshot": ("top1", "lobe_accuracy", "side_accuracy", "consistency_top1"),
    "identifiability": ("error_over_bound", "edge_f1"),
    "known_lags": ("tau_rms_samples", "direction_accuracy"),
}
LABELLED = ("fewshot", "robustness")
FLAG = "metadata alone beat chance"
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; color: #222; margin: 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { position: sticky; top: 0; background: #fff; border-bottom: 2px solid #444; text-align: left; }
th, td { padding: .25rem .9rem .25rem 0; vertical-align: top; }
td { border-bottom: 1px solid #ddd; }
"""
CELLS = ["experiment", "dataset", "method", "budget"]
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
        {"dataset": one["dataset"], "metric": metric, "floor": value, "flagged": one["flagged"]}
        for one in floors
        for metric, value in one["metrics"].items()
    ]
    table = pd.DataFrame(rows, columns=["dataset", "metric", "floor", "flagged"]).astype({"floor": float})
    return table.groupby(["dataset", "metric"], as_index=False).agg({"floor": "mean", "flagged": "any"})


def with_floor(table: pd.DataFrame, floors: pd.DataFrame) -> pd.DataFrame:
    """Put the floor of its task beside each row of a labelled experiment, and the flag.

    A score on degraded recordings, `<metric>@<condition>`, stands beside the floor of the metric.
    """
    metric = table["metric"].str.partition("@")[0]
    asked = table["experiment"].isin(LABELLED)
    keys = pd.DataFrame({"dataset": table["dataset"].where(asked, ""), "metric": metric})
    found = keys.merge(floors, how="left", on=["dataset", "metric"]).set_axis(table.index)
    return table.assign(floor=found["floor"], flag=found["flagged"].eq(True).map({True: FLAG, False: None}))


def score_table(cells: pd.DataFrame, kinds: dict[str, str]) -> pd.DataFrame:
    """Summarise cells over seeds with one interval.

    It is over seeds (t) from three on, else over held-out subjects.
    """
    many = cells["n_seeds"] >= 3
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


def training_notes(histories: list[str]) -> pd.DataFrame:
    """Return what a pretraining had to say, such as that it ran without validation."""
    rows = []
    for path in map(Path, histories):
        for note in json.loads(path.read_text()).get("notes", []):
            rows.append(
                {"dataset": f"stage 1, {path.parent.parent.name}, {path.parent.name}", "reason": note}
            )
    return pd.DataFrame(rows, columns=["dataset", "reason"])


def cost_table(records: list[dict]) -> pd.DataFrame:
    """List wall-clock, memory and size of every scored cell."""
    table = pd.DataFrame(records).assign(
        fit_s=[record["metrics"].get("fit_s") for record in records],
        peak_memory_gib=lambda t: (t["peak_memory_bytes"] / 2**30).round(3),
    )
    return table[COST].sort_values(COST[:5], ignore_index=True)


def tuning_table(records: list[dict], scores: pd.DataFrame) -> pd.DataFrame:
    """Set beside each score of a fine-tuning strategy what it cost; costs are means over seeds."""
    tuned = [record for record in records if record["extra"].get("costs")]
    costs = pd.DataFrame([{key: record[key] for key in CELLS} | record["extra"]["costs"] for record in tuned])
    if costs.empty:
        return costs
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


def for_people(table: pd.DataFrame) -> pd.DataFrame:
    """Return the same with known names, scores as `0.81 [0.74, 0.88]`, and a dash where there is none."""
    if "flag" not in table:
        return table.astype(object).where(table.notna(), "–")

    def score(row: pd.Series) -> str:
        if pd.isna(row["mean"]):
            return "–"
        bounds = "" if pd.isna(row["ci_low"]) else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        return f"{row['mean']:.3f}{bounds}"

    shown = pd.DataFrame(
        {
            "experiment": table["experiment"],
            "data": table["dataset"].map(name),
            "method": table["method"].map(name),
            "labels": [("–" if float(budget) == 0 else f"{float(budget):.0%}") for budget in table["budget"]],
            "metric": table["metric"].map(name),
            "score [95 % interval]": [score(row) for _, row in table.iterrows()],
            "chance": ["–" if pd.isna(chance) else f"{chance:.3f}" for chance in table["chance"]],
            "floor": ["–" if pd.isna(floor) else f"{floor:.3f}" for floor in table["floor"]],
            "flag": table["flag"].fillna(""),
            "n subjects": table["n_subjects"].replace(0, "–"),
            "n windows": table["n_windows"].replace(0, "–"),
            "seeds": table["n_seeds"],
            "why not": table["reason"].fillna(""),
        }
    )
    return shown.drop(columns=[column for column in ("flag", "why not") if not shown[column].any()])


def markdown(table: pd.DataFrame) -> str:
    """Write a pipe table."""
    escaped = table.rename(columns=str).astype(str).replace(r"\|", r"\|", regex=True)
    return escaped.to_markdown(index=False, tablefmt="github", disable_numparse=True) + "\n"


def latex(table: pd.DataFrame) -> str:
    """Write a booktabs table."""
    return table.rename(columns=str).to_latex(index=False, escape=True, longtable=True).replace("–", "--")


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
    if table.empty:
        shown = pd.DataFrame({stem: ["No cell of this kind in this run's plan."]})
    for suffix, text in (
        ("csv", table.to_csv(index=False, float_format="%.6g")),
        ("html", html(shown, stem)),
        ("md", markdown(shown)),
        ("tex", latex(shown)),
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
    folder: Path,
) -> None:
    """Write every table of a run."""
    frame = tidy(records)
    cells = over_seeds(frame[frame["metric"] != "fit_s"])  # a time, not a score: see the costs
    floors = floor_table(audit["floors"])
    scores = with_floor(score_table(cells, kinds), floors)
    for experiment in ("fewshot", "planted", "zeroshot", "identifiability", "known_lags", "robustness"):
        write_table(scores[scores["experiment"] == experiment], folder, experiment)
    write_table(scores[scores["primary"]], folder, "summary")
    ours = sorted({record["method"] for record in records} - set(baselines))
    metrics = sorted(set(scores.loc[scores["primary"], "metric"]))
    comparisons = against_best_baseline(frame, ours, baselines, metrics).round(6)
    write_table(with_floor(comparisons, floors), folder, "comparisons")
    write_table(pd.DataFrame(audit["findings"]), folder, "audit")
    write_table(pd.concat([datasets.convert_dtypes(), notes], ignore_index=True), folder, "datasets")
    write_table(tuning_table(records, scores).round(4), folder, "tuning")
    write_table(cost_table(records), folder, "cost")


if __name__ == "__main__":
    job = begin()
    make_tables(
        read_results(job.input.results),
        dataset_table(job.input.stamps, job.input.metas, job.input.quarantines),
        task_kinds(job.input.metas),
        training_notes(job.input.histories),
        sorted(key for key, method in job.config["methods"].items() if not method.get("variant")),
        json.loads(Path(job.input.audit).read_text()),
        Path(job.output.csv[0]).parent,
    )
