"""Make the draft's PDF where a TeX is installed, and say what became of it."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from plot_style import begin

from cldtrans.files import atomic_path, write_json

PASSES = 3  # references, then their pages
TOLERATED_PT = 2.0  # of a line that sticks out
HOW = (
    "no pdflatex on this machine; Debian: apt-get install texlive-latex-recommended texlive-fonts-recommended"
)
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}  # equal drafts are equal files


def compile_paper(source: Path, output: Path, engine: str | None) -> dict[str, Any]:
    """Compile a draft beside which its parts lie.

    Parameters
    ----------
    source : Path
        `paper.tex`.
    output : Path
        The PDF; removed where it cannot be made.
    engine : str or None
        The program `pdflatex`, if there is one.

    Returns
    -------
    dict
        status (`compiled` or `skipped`), reason, pages, and what the log complains of: `undefined` references
        and `overfull_pt`, by which the widest line sticks out.

    Raises
    ------
    RuntimeError
        With TeX's own message, where the draft is not valid.
    """
    if engine is None:
        output.unlink(missing_ok=True)
        return {"status": "skipped", "reason": HOW, "pages": 0, "undefined": [], "overfull_pt": 0.0}
    with tempfile.TemporaryDirectory() as work:
        build = [
            engine,
            "-interaction=nonstopmode",
            "-halt-on-error",
            f"-output-directory={work}",
            source.name,
        ]
        environment = os.environ | ENVIRONMENT | {"BIBINPUTS": f"{source.parent.resolve()}:"}
        for turn in range(PASSES):
            _run(build, source.parent, environment)
            if turn == 0:
                _run([str(Path(engine).with_name("bibtex")), source.stem], Path(work), environment)
        log = Path(work, f"{source.stem}.log").read_text(errors="replace")
        with atomic_path(output) as temporary:
            shutil.copyfile(Path(work, f"{source.stem}.pdf"), temporary)
    pages = re.search(r"Output written on .*?\((\d+) page", log, re.DOTALL)
    widths = [float(width) for width in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide", log)]
    return {
        "status": "compiled",
        "reason": None,
        "pages": int(pages[1]) if pages else 0,
        "undefined": sorted(set(re.findall(r"(?:Reference|Citation) `([^']+)' .*?undefined", log))),
        "overfull_pt": max([width for width in widths if width > TOLERATED_PT], default=0.0),
    }


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        lines = done.stdout.splitlines()
        first = next((k for k, line in enumerate(lines) if line.startswith("!")), max(len(lines) - 20, 0))
        raise RuntimeError(f"{Path(command[0]).name}: " + "\n".join(lines[first : first + 20]))


if __name__ == "__main__":
    job = begin()
    write_json(job.output.build, compile_paper(Path(job.input.tex), Path(job.params.pdf), job.params.engine))
