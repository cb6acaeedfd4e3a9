"""A dataset and a method are added by what docs/extending.md shows, and by nothing else."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toys.paths import PROJECT

PAGE = PROJECT / "docs" / "extending.md"
FILES = {"my_datasets.py", "own.yaml", "my_methods.py", "methods.yaml"}


def files_of_the_page() -> dict[str, str]:
    """Code blocks that begin with the name of a file, by that name."""
    blocks = re.findall(
        r"^```\w+\n# (\S+\.(?:py|yaml))\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    assert {name for name, _ in blocks} == FILES and len(blocks) == len(FILES)
    return dict(blocks)


def commands_of_the_page() -> list[str]:
    lines = re.findall(r"^cldtrans .*$", PAGE.read_text(), re.MULTILINE)
    assert [line.split()[1] for line in lines] == ["check-dataset", "run", "run"]
    return lines


def write_recordings(folder: Path) -> None:
    """Ten subjects, who tap in the beta band or rest; no list of sums."""
    rng = np.random.default_rng(0)
    time_s = np.arange(6000) / 100
    for number in range(10):
        for state in ("rest", "tap"):
            path = folder / f"s{number}" / f"{state}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            rhythm = 30 * np.sin(2 * np.pi * 20 * time_s) if state == "tap" else 0.0
            np.save(path, 20 * rng.standard_normal((2, 6000)) + rhythm)


def call(command: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.mark.workflow
@pytest.mark.slow
def test_the_pages_examples_go_from_files_to_scores(tmp_path: Path) -> None:
    for name, text in files_of_the_page().items():
        (tmp_path / name).write_text(text)
    write_recordings(tmp_path / "recordings/tapping/1.0")
    check, dataset, methods = commands_of_the_page()
    assert "all promises are kept" in call(check, tmp_path)
    results = "results/own/fewshot/tapping"
    for command, names in ((dataset, ["feature_linear"]), (methods, ["amplitudes", "forest"])):
        wanted = [f"{results}/{name}/budget-1.0/seed-42.json" for name in names]
        call(f"{command} --no-report {' '.join(wanted)}", tmp_path)
        for path in wanted:
            record = json.loads((tmp_path / path).read_text())
            assert record["n"]["test"] > 0
            # A forest of raw samples finds no rhythm of random phase: that it is scored at all is the point.
            assert record["metrics"]["auroc"] > (0.9 if "forest" not in path else 0.0)
    stamp = json.loads((tmp_path / "data/own/download/tapping.json").read_text())
    assert stamp["status"] == "ok" and "not verified" in stamp["reason"] and stamp["files"] == 20
    assert not (tmp_path / "recordings/tapping/1.0/SHA256SUMS.txt").exists()
    jobs = call(f"{methods} --no-report -n --quiet rules", tmp_path)
    assert "train_stage" not in jobs and "make_tables" in jobs  # of the whole plan, nothing is pretrained
