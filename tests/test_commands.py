"""Every command that README and docs show is run, or planned, by this file or by what it names."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from toys.paths import PROJECT
from toys.workflow import copy_project, environment

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
SHELL = {"", "bash", "sh", "console"}

ONE_RESULT = "results/paper/fewshot/ptbxl/cldtrans/budget-0.1/seed-42.json"
# Quick ones, run as they stand in an empty copy of the project.
RUN = {
    "cldtrans run --configfile demo -n",
}
# Long ones, planned only: what stands there with these words more (`-n`) or less.
PLANNED = {
    "cldtrans run --configfile demo --cores 2": ("-n", ""),
    "snakemake --profile profiles/slurm-mi300x smoke": ("-n", ""),
    "snakemake --profile profiles/slurm-mi300x all": ("-n", ""),
    f"snakemake --profile profiles/local --cores 4 {ONE_RESULT}": ("-n", ""),
    "cldtrans estimate --config config/config.yaml --calibrate": ("", "--calibrate"),
}
# Those that continuous integration or another test runs: where, and words that stand there.
ELSEWHERE = {
    "make setup": (".ci/run", "make setup"),
    "make test": (".ci/run", "make test"),
    "make demo": (".ci/run", "make demo"),
    "cldtrans lags recording.edf --start 2990 --stop 3040": ("tests/test_tutorial.py", "lags recording.edf"),
    "cldtrans lags recording.edf --stop 60 --output lags": ("tests/test_tutorial.py", "lags recording.edf"),
    "cldtrans lags recording.edf --fast": ("tests/models/test_amortised.py", "--fast"),
    "cldtrans lags sub-01_task-rest_timeseries.tsv --tr 1.5": ("tests/lag/test_bold.py", "--tr"),
    "cldtrans lags recording.edf --every 2": ("tests/lag/test_over_time.py", "--every"),
    "cldtrans cost --config config/config.yaml --output cost": ("tests/planning/test_prices.py", "--output"),
    "cldtrans run --profile slurm-mi300x": ("tests/workflow/test_plan_on_slurm.py", "slurm-mi300x"),
    "cldtrans check-dataset my_datasets:Tapping recordings": (
        "tests/workflow/test_new_dataset.py",
        "extending.md",
    ),
    "cldtrans run --configfile own.yaml --cores 2": ("tests/workflow/test_new_dataset.py", "extending.md"),
    "cldtrans run --configfile own.yaml methods.yaml --cores 2": (
        "tests/workflow/test_new_dataset.py",
        "extending.md",
    ),
}
# Targets of make that run for long or need what is not here: planned by `make -n`.
MADE = (
    "sample",
    "standard",
    "tiny",
    "coverage",
    "docs",
    "lint",
    "ship",
    "test-slow",
    "setup-rivals",
    "setup-fmri",
    "faults",
)


def commands(page: Path) -> list[str]:
    """Commands of a page's fenced blocks, without comments and folder of the environment."""
    found = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        if language in SHELL:
            lines = (line.partition(" #")[0].strip() for line in block.splitlines())
            found += [line.replace(".venv/bin/", "") for line in lines if line]
    return found


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    words = shlex.split(command)
    path = os.pathsep.join([str(folder), environment().get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment() | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_command_that_a_page_shows_is_run_or_planned(page: Path) -> None:
    known = RUN | set(PLANNED) | set(ELSEWHERE)
    assert [command for command in commands(page) if command not in known] == []


def test_no_command_is_listed_that_no_page_shows() -> None:
    shown = {command for page in PAGES for command in commands(page)}
    assert (RUN | set(PLANNED) | set(ELSEWHERE)) - shown == set()


@pytest.mark.parametrize("command", sorted(ELSEWHERE))
def test_what_runs_it_is_there(command: str) -> None:
    file, words = ELSEWHERE[command]
    assert words in (PROJECT / file).read_text()


def test_targets_of_make_are_run_or_planned() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    run_by_ci = {words.removeprefix("make ") for words in (PROJECT / ".ci/run").read_text().splitlines()}
    assert targets - run_by_ci - set(MADE) == {"help", "clean"}


@pytest.mark.parametrize("target", MADE)
def test_a_long_target_of_make_is_valid(target: str, tmp_path: Path) -> None:
    words = ["make", "-n", target, "MIRROR=" + str(tmp_path)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.workflow
@pytest.mark.parametrize("command", sorted({*RUN, *PLANNED}))
def test_the_command_works_as_typed(command: str, tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    more, less = PLANNED.get(command, ("", ""))
    done = run(f"{command.replace(less, '') if less else command} {more}".strip(), folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
