"""The undisturbed chain, copies of it to strike at, and the table of what was survived."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from toys.faults import DATASET, GOAL, POINTS, finish, launch, result
from toys.paths import PROJECT
from toys.workflow import copy_project

_outcomes: dict[str, list[str]] = {}
MADE_BY = {
    "split": [GOAL, f"{GOAL}.sha256"],
    "index": [
        f"data/tiny/shards/{DATASET}/{name}" for name in ("index.parquet", "meta.json", "quarantine.csv")
    ],
    "preprocess": [f"data/tiny/shards/{DATASET}"],
    "download": [f"data/tiny/download/{DATASET}.json", "data/tiny/raw"],
}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the chain has run to its end."""
    folder = copy_project(tmp_path_factory.mktemp("undisturbed"))
    finish(launch(folder, "--cores", "2"), folder)
    assert len(result(folder)) >= 6
    return folder


@pytest.fixture
def before(undisturbed: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Make a copy in which everything is done that comes before a command, and nothing else."""

    def make(command: str) -> Path:
        folder = Path(shutil.copytree(undisturbed, tmp_path / "run", symlinks=True))
        shutil.rmtree(folder / ".snakemake/locks", ignore_errors=True)
        for name, outputs in MADE_BY.items():
            for output in outputs:
                path = folder / output
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            if name == command:
                return folder
        raise AssertionError(f"no command {command} in the chain")

    return make


@pytest.fixture
def truth(undisturbed: Path) -> dict[str, str]:
    """What the chain ends with."""
    return result(undisturbed)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what became of a fault."""
    fault = dict(report.user_properties).get("fault")
    if fault and (report.when == "call" or report.outcome == "skipped"):
        _outcomes.setdefault(str(fault), []).append(report.outcome)


@pytest.fixture(autouse=True)
def _named(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    marker = request.node.get_closest_marker("fault")
    if marker is not None:
        record_property("fault", marker.args[0])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table where `make faults` asks for it."""
    target = os.environ.get("CLDTRANS_FAULTS_TABLE")
    if target and _outcomes:
        write_table(Path(target))


def write_table(page: Path) -> None:
    """Replace the table between the page's marks."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True
    ).stdout.strip()
    lines = ["| fault | tries | survived | failed | skipped |", "|---|---|---|---|---|"]
    for fault, outcomes in sorted(_outcomes.items()):
        counts = [len(outcomes), *(outcomes.count(name) for name in ("passed", "failed", "skipped"))]
        lines.append(f"| {fault} | {' | '.join(map(str, counts))} |")
    text = page.read_text()
    start, end = "<!-- faults -->\n", "<!-- /faults -->"
    head, rest = text.split(start, 1)
    tail = rest.split(end, 1)[1]
    said = f"\nAt commit {commit or 'unknown'}, {POINTS} kill points a fault.\n"
    page.write_text(head + start + "\n".join(lines) + "\n" + said + end + tail)
