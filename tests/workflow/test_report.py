"""The report's first page as a person sees it, in Chromium, on a laptop's screen and on half of it."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from toys.browser import CHROMIUM, look_at
from toys.paths import PROJECT
from toys.workflow import environment
from write_front import FIRST, caption, write_front

mpl.use("Agg")
TEMPLATES = PROJECT / "workflow" / "report"
SNAKEFILE = """
report: "front.rst"
rule all:
    output: report("planted.png", category="Figures", labels={"figure": "planted"}, caption="c.rst")
    shell: "cp drawn.png {output}"
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with our first page and style."""
    from matplotlib import pyplot as plt

    folder = tmp_path_factory.mktemp("report")
    figures = []
    for name in (*FIRST, "training"):
        figure = plt.figure(figsize=(5.5, 2))
        figure.figimage(np.random.default_rng(0).random((300, 900)))  # a file of many bytes
        figure.savefig(folder / f"{name}.png", dpi=200)
        plt.close(figure)
        figures.append(folder / f"{name}.png")
    (folder / "planted.png").rename(folder / "drawn.png")
    row = {
        "score": "CHB-MIT, planted: top-1", "ours": "0.969 [0.805, 0.990]",
        "best rival": "0.979 Single source", "chance": "0.056", "n": "12",
    }  # fmt: skip
    config = {"run": "tiny", "source": {"miniature": "tiny"}, "long": "x" * 300}
    made = pd.DataFrame({"what": ["commit", "torch"], "value": ["0" * 40, "2.13.0"]})
    (folder / "planted.png").write_bytes((folder / "drawn.png").read_bytes())
    page = write_front(pd.DataFrame([row] * 10), made, figures, config, TEMPLATES)
    (folder / "planted.png").unlink()
    (folder / "front.rst").write_text(page)
    (folder / "c.rst").write_text("A caption.\n")
    (folder / "Snakefile").write_text(SNAKEFILE)
    style = ["--report", "report.html", "--report-stylesheet", str(TEMPLATES / "report.css")]
    for options in (["--cores", "1"], style):
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *options],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return folder / "report.html"


def test_every_figure_and_table_of_the_plan_has_a_caption() -> None:
    from cldtrans.planning.plan import FIGURES, TABLES

    for name in FIGURES:
        assert len(caption(name, TEMPLATES)) > 40, name
    for name in TABLES:
        assert (TEMPLATES / f"table_{name}.rst").read_text().strip(), name


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 800])
def test_the_first_page_is_readable(report: Path, width: int, tmp_path: Path) -> None:
    seen = look_at(report, width, tmp_path)
    assert seen.errors == []
    assert seen.beyond == 0
    assert seen.wide == []
    for words in ("Headline scores", "0.969 [0.805, 0.990]", "Simulated signals", "Figure 3.", "commit"):
        assert words in seen.text
    assert "whose leading channel is among" in seen.text  # a caption
    assert "System Message" not in seen.text
    assert (tmp_path / f"{width}.png").stat().st_size > 10_000
