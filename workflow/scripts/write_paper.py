"""Fill the draft's templates with the tables of this run."""

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from plot_style import begin

from cldtrans.files import atomic_path


def headline(summary: pd.DataFrame) -> str:
    """Write the abstract's last sentence: planted top-1 with interval, chance and n, or why there is none."""
    ours = summary[
        (summary["method"] == "cldtrans")
        & (summary["experiment"] == "planted")
        & (summary["metric"] == "top1")
    ]
    if ours.empty or ours["mean"].isna().all():
        return "This run scored no planted discharges."
    row = ours.iloc[0]
    return (
        f"Without labels, the leading channel of planted discharges is found in {row['mean']:.0%} of trials "
        f"(95% interval {row['ci_low']:.0%} to {row['ci_high']:.0%}, {int(row['n_subjects'])} subjects, "
        f"chance {row['chance']:.1%})."
    )


def write_paper(
    folder: Path, output_md: str, output_tex: str, run: str, miniature: bool, templates: Path
) -> None:
    """Render both drafts from the tables in `folder`."""
    tables = {path.stem: path.read_text().strip() for path in sorted(folder.glob("*.md"))}
    datasets = pd.read_csv(folder / "datasets.csv")
    absent = [
        f"*{row.dataset}*: {row.reason}." for row in datasets.itertuples() if isinstance(row.reason, str)
    ]
    values: dict[str, Any] = {
        "run": run,
        "miniature": miniature,
        "tables": tables,
        "absent": absent,
        "headline": headline(pd.read_csv(folder / "summary.csv", dtype={"budget": str})),
    }
    loader = jinja2.FileSystemLoader(templates)
    markdown = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    latex = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )
    with atomic_path(output_md) as temporary:
        temporary.write_text(markdown.get_template("paper.md.jinja").render(values))
    values["headline"] = values["headline"].replace("%", r"\%")
    with atomic_path(output_tex) as temporary:
        temporary.write_text(latex.get_template("paper.tex.jinja").render(values))


if __name__ == "__main__":
    job = begin()
    write_paper(
        Path(job.input.tables[0]).parent,
        job.output.md,
        job.output.tex,
        job.config["run"],
        bool(job.config["source"]["miniature"]),
        Path(job.scriptdir).parent / "report",
    )
