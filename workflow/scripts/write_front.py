"""The report's first page: headline scores, every figure with its caption, versions and settings."""

import base64
import json
import textwrap
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from plot_style import begin

from cldtrans.files import atomic_path

FIRST = ("planted", "fewshot", "propagation")  # in this order, before all others
SIMULATED = (
    "<b>Simulated signals.</b> This run used the embedded miniature of the datasets. Its numbers show that "
    "the pieces work; they say nothing about real recordings."
)
READING = (
    "Intervals are 95 %: over held-out subjects for fewer than three seeds, else over seeds. Chance comes "
    "from the scored labels. A dash is a score that the data do not define; the tables give the reason. "
    "Every number comes from a result file, <code>results/{run}/&lt;experiment&gt;/&lt;dataset&gt;/"
    "&lt;method&gt;/budget-&lt;b&gt;/seed-&lt;s&gt;.json</code>, which names the settings, data, checkpoint, "
    "commit and versions that it was made with."
)


def caption(name: str, templates: Path) -> str:
    """Return the caption of a figure as HTML."""
    return escape(" ".join((templates / f"figure_{name}.rst").read_text().replace("``", "").split()))


def figure(path: Path, number: int, templates: Path) -> str:
    """Return a figure, embedded, with its caption below."""
    image = base64.encodebytes(path.read_bytes()).decode().rstrip()  # in lines: docutils reads no long ones
    return (
        f'<figure><img alt="{escape(path.stem)}" src="data:image/png;base64,{image}">'
        f"<figcaption><b>Figure {number}.</b> {caption(path.stem, templates)}</figcaption></figure>"
    )


def table(rows: pd.DataFrame) -> str:
    """Return a table that scrolls by itself where the window is narrower."""
    return f'<div class="wide">{rows.to_html(index=False, border=0, na_rep="–")}</div>'


def write_front(
    headline: pd.DataFrame, made: pd.DataFrame, figures: list[Path], config: dict[str, Any], templates: Path
) -> str:
    """Return the page as reStructuredText that holds HTML.

    Parameters
    ----------
    headline, made : DataFrame
        Headline scores, and what made them.
    figures : list of Path
        PNG files.
    config : dict
        Resolved settings.
    templates : Path
        Folder of the captions.
    """
    order = sorted(figures, key=lambda path: (path.stem not in FIRST, path.stem))
    order.sort(key=lambda path: FIRST.index(path.stem) if path.stem in FIRST else len(FIRST))
    first, others = order[: len(FIRST)], order[len(FIRST) :]
    parts = [
        f"<h1>CLD-Trans, run {escape(config['run'])}</h1>",
        f'<p class="note">{SIMULATED}</p>' if config["source"]["miniature"] else "",
        "<h2>Headline scores</h2>",
        table(headline),
        f"<p>{READING.format(run=escape(config['run']))}</p>",
        *(figure(path, number, templates) for number, path in enumerate(first, 1)),
        "<h2>All other figures</h2>",
        *(figure(path, number, templates) for number, path in enumerate(others, len(first) + 1)),
        "<h2>What made these results</h2>",
        table(made),
        "<details><summary>Settings of this run</summary><pre>",
        escape(yaml.safe_dump(config, sort_keys=False, allow_unicode=True)),
        "</pre></details>",
    ]
    body = textwrap.indent("\n".join(parts), "   ")
    return f"{{% raw %}}\n.. raw:: html\n\n{body}\n{{% endraw %}}\n"


if __name__ == "__main__":
    job = begin()
    page = write_front(
        pd.read_csv(job.input.headline, dtype=str),
        pd.read_csv(job.input.made, dtype=str),
        [Path(path) for path in job.input.figures if path.endswith(".png")],
        json.loads(Path(job.input.config).read_text()),
        Path(job.scriptdir).parent / "report",
    )
    with atomic_path(job.output.page) as temporary:
        temporary.write_text(page)
