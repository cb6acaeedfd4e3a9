"""Fill the draft's templates with the tables of this run."""

import json
import shutil
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from paper_claims import (
    difference,
    headline,
    identifiability,
    limitations,
    robustness,
    scores,
    tally,
)
from paper_numbers import Numbers, escape
from paper_tables import matrix
from plot_style import begin, name

from cldtrans.files import atomic_path

INTERVALS = "Below each score its 95\\,\\% interval; best in bold."
MATRICES = {
    "focal": "Focal lead without labels. Grades of truth are columns of their own and never pooled. "
    + INTERVALS,
    "fewshot": "Few-shot classification of held-out subjects. " + INTERVALS,
    "identifiability": "Recovery of known lags and edges in simulated worlds; a lag error of 1 is the bound.",
    "ablations": "Variants of the model, each with one part changed. " + INTERVALS,
    "robustness": "One fitted model on recordings as they are and degraded. " + INTERVALS,
    "known": "Lags that physics or clinicians know. " + INTERVALS,
}
PLACE = ["experiment", "dataset", "budget", "metric"]
FULL = (
    "fewshot",
    "planted",
    "zeroshot",
    "identifiability",
    "known_lags",
    "robustness",
    "comparisons",
    "ablations",
    "tuning",
    "published",
    "cost",
    "audit",
)


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the finished tables by name; one without columns is of nothing in this run's plan."""
    files = sorted(folder.glob("*.csv"))
    return {
        path.stem: pd.read_csv(path, dtype={"budget": str}) if path.read_text().strip() else pd.DataFrame()
        for path in files
    }


def main_tables(tables: dict[str, pd.DataFrame], variants: list[str]) -> dict[str, str]:
    """Return the tables of the text by name."""
    summary, degraded = tables["summary"], tables["robustness"]
    degraded = degraded[degraded["experiment"] == "robustness"]  # leads have several methods: the figure's
    ablated = [method for method in variants if method != "cldtrans"]
    whole = summary[~summary["method"].isin(ablated)]
    primary = degraded[degraded["primary"] | degraded["metric"].str.contains("@")]
    stems = set(degraded.loc[degraded["primary"], "metric"])
    places = summary[PLACE].apply(tuple, axis=1)
    changed = summary["method"].isin(ablated)
    of_parts = summary[(changed | (summary["method"] == "cldtrans")) & places.isin(places[changed])]
    rows: dict[str, tuple[pd.DataFrame, str, tuple[str, ...]]] = {
        "focal": (
            whole[whole["experiment"].isin(["planted", "zeroshot"])],
            "method",
            ("experiment", "dataset", "metric"),
        ),
        "fewshot": (whole[whole["experiment"] == "fewshot"], "method", ("dataset", "metric", "budget")),
        "identifiability": (whole[whole["experiment"] == "identifiability"], "dataset", ("metric", "method")),
        "ablations": (of_parts, "method", ("experiment", "dataset", "metric", "budget")),
        "robustness": (
            primary[primary["metric"].astype("str").str.split("@").str[0].isin(stems)],
            "dataset",
            ("metric",),
        ),
        "known": (whole[whole["experiment"] == "known_lags"], "method", ("dataset", "metric")),
    }
    return {
        key: matrix(table, line, column, MATRICES[key], f"tab:{key}", across=line == "dataset")
        for key, (table, line, column) in rows.items()
    }


def statements(
    tables: dict[str, pd.DataFrame], config: dict[str, Any], number: Numbers
) -> dict[str, list[str]]:
    """Return the sentences of each part of the draft."""
    summary = tables["summary"]
    of = {key: summary[summary["experiment"] == key] for key in summary["experiment"].unique()}
    nothing = summary.iloc[:0]
    comparisons, cost = tables["comparisons"], tables["cost"]
    ours = comparisons[comparisons["method"] == "cldtrans"]
    made = tables["provenance"].set_index("what")["value"].to_dict()
    return {
        "headline": [
            headline(summary, number),
            tally(ours, number, "tally/ours", "the trained model with the best rival of its cell"),
        ],
        "planted": scores(of.get("planted", nothing), number),
        "zeroshot": scores(of.get("zeroshot", nothing), number),
        "fewshot": scores(of.get("fewshot", nothing), number),
        "focal_differences": [
            difference(row, number)
            for _, row in ours[ours["experiment"].isin(["planted", "zeroshot"])].iterrows()
        ],
        "fewshot_differences": [
            difference(row, number) for _, row in ours[ours["experiment"] == "fewshot"].iterrows()
        ],
        "ablations": [
            tally(tables["ablations"], number, "tally/ablations", "a variant with the whole model")
        ],
        "identifiability": identifiability(of.get("identifiability", nothing), number),
        "known": scores(of.get("known_lags", nothing), number),
        "robustness": robustness(tables["robustness"], number),
        "limitations": limitations(summary, tables["datasets"], bool(config["source"]["miniature"]), number),
        "compute": [compute(cost, number)],
        "made": [
            f"{key}: {made[key]}"
            for key in ("commit", "with uncommitted changes", "cldtrans", "torch")
            if key in made
        ],
    }


def compute(cost: pd.DataFrame, number: Numbers) -> str:
    """Return the compute statement of the scored cells."""
    hours = number("compute/hours", f"{cost['wall_s'].sum() / 3600:.2f}")
    largest = number("compute/memory", f"{cost['peak_memory_gib'].max():.1f}")
    devices = ", ".join(sorted(cost["device"].dropna().unique()))
    return (
        f"The {number('compute/cells', str(len(cost)))} scored cells took {hours} h of wall-clock in all on "
        f"{devices}, and at most {largest} GiB of memory each; pretraining is not in this sum."
    )


def settings(config: dict[str, Any], number: Numbers) -> dict[str, str]:
    """Return the settings that the text names, as macros."""
    model, loop = config["model"], config["loop"]
    seeds = sorted({seed for block in config["experiments"] for seed in block["seeds"]})
    named = {
        "codebook": str(model["codebook_size"]),
        "width": str(model["width"]),
        "layers": str(model["layers"]),
        "sources": str(model["sources"]),
        "tau/eeg": f"{model['tau_max_s']['eeg'] * 1e3:g}",
        "tau/ecg": f"{model['tau_max_s']['ecg'] * 1e3:g}",
        "batch": str(loop["batch_size"]),
        "length": f"{loop['steps']} steps" if loop["steps"] else f"{loop['epochs']:g} epochs",
        "rate": f"{loop['learning_rate']:g}",
        "seeds": ", ".join(map(str, seeds)),
        "trials": str(config["planted"]["trials"]),
        "snr": ", ".join(f"{level:g}" for level in config["planted"]["snr_db"]),
        "corpora": ", ".join(name(dataset) for dataset in config["stage1"]["datasets"]),
    }
    return {key: number.latex(number(f"set/{key}", text)) for key, text in named.items()}


def write_paper(
    folder: Path,
    output: Path,
    config: dict[str, Any],
    templates: Path,
    figures: list[str],
    style: Path | None = None,
) -> None:
    """Write the draft in both formats, its numbers, tables and bibliography.

    Parameters
    ----------
    folder : Path
        Finished tables.
    output : Path
        Folder of the draft.
    config : dict
        Resolved settings.
    templates : Path
        Folder of the templates and the bibliography.
    figures : list of str
        Names of the figures that this run has.
    style : Path, optional
        A conference's LaTeX style; the draft imitates its page without.
    """
    tables, number = read_tables(folder), Numbers()
    said = statements(tables, config, number)
    values = {
        "run": config["run"],
        "miniature": bool(config["source"]["miniature"]),
        "figures": figures,
        "full": [key for key in FULL if key in tables],
        "style": style.stem if style else None,
    }
    parts = {
        "numbers.tex": "",
        "data.tex": data_table(tables["datasets"]),
        **{f"table-{key}.tex": text for key, text in main_tables(tables, list(config["variants"])).items()},
    }
    options: dict[str, Any] = {
        "loader": jinja2.FileSystemLoader(templates),
        "undefined": jinja2.StrictUndefined,
    }
    markdown = jinja2.Environment(**options, keep_trailing_newline=True)
    latex = jinja2.Environment(
        **options,
        keep_trailing_newline=True,
        trim_blocks=True,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )
    plain = {key: " ".join(map(number.plain, sentences)) for key, sentences in said.items()}
    texts = {path.stem: path.read_text().strip() for path in sorted(folder.glob("*.md"))}
    parts["paper.md"] = markdown.get_template("paper.md.jinja").render(values, said=plain, tables=texts)
    tex = {key: "\n".join(map(number.latex, sentences)) for key, sentences in said.items()}
    parts["paper.tex"] = latex.get_template("paper.tex.jinja").render(
        values, said=tex, set=settings(config, number), escape=escape
    )
    parts["numbers.tex"] = number.definitions()
    parts["references.bib"] = (templates / "references.bib").read_text()
    for file, text in parts.items():
        with atomic_path(output / file) as temporary:
            temporary.write_text(text)
    if style:
        shutil.copyfile(style, output / style.name)


def data_table(datasets: pd.DataFrame) -> str:
    """Return the table of datasets."""
    columns = [
        "dataset",
        "version",
        "subjects",
        "recordings",
        "quarantined",
        "windows",
        "channels",
        "rate_hz",
    ]
    heads = ["dataset", "version", "subjects", "recordings", "set aside", "windows", "channels", "rate, Hz"]
    known = datasets[datasets["subjects"].notna()]
    rows = [
        " & ".join(
            [
                escape(name(row["dataset"])),
                escape(str(row["version"])),
                *(f"{row[c]:.0f}" for c in columns[2:]),
            ]
        )
        for _, row in known.iterrows()
    ]
    body = " \\\\\n".join([" & ".join(heads), *rows]).replace("\\\\\n", "\\\\\n\\midrule\n", 1)
    return (
        "\\begin{table}[t]\\centering\\small\n"
        "\\caption{Data of this run, as found and prepared.}\\label{tab:data}\n"
        f"\\begin{{tabular}}{{@{{}}ll*{{{len(columns) - 2}}}{{r}}@{{}}}}\n\\toprule\n"
        f"{body} \\\\\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


if __name__ == "__main__":
    job = begin()
    write_paper(
        Path(job.input.tables[0]).parent,
        Path(job.output.tex).parent,
        json.loads(Path(job.input.config).read_text()),
        Path(job.scriptdir).parent / "report" / "paper",
        sorted({Path(figure).stem for figure in job.input.figures}),
        Path(job.params.style) if job.params.style else None,
    )
