"""A dataset is added by what the README shows, and by nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from toys.paths import PROJECT
from toys.workflow import copy_project, snakemake

RESULT = "results/own/fewshot/tapping/feature_linear/budget-1.0/seed-42.json"
PLAN = """
run: own
raw: data/own/raw
threads: 1
source: {url: mirror}
datasets: [tapping]
stage1: {datasets: [tapping]}
stage2: {datasets: [tapping], variants: [], seeds: []}
experiments:
  - target: baselines
    experiment: fewshot
    datasets: [tapping]
    methods: [feature_linear]
    budgets: ["1.0"]
    seeds: [42]
"""


def blocks_of_the_readme() -> dict[str, str]:
    """Code blocks that begin with the name of a file, by that line."""
    section = (PROJECT / "README.md").read_text().split("## Add a dataset or a method", 1)[1]
    blocks = re.findall(r"^```\w+\n# (\S+/\S+?)(?:, in \w+)?\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) == len(dict(blocks)) == 3
    return dict(blocks)


def write_mirror(folder: Path) -> None:
    """Ten subjects, who tap in the beta band or rest."""
    rng = np.random.default_rng(0)
    time_s = np.arange(6000) / 100
    sums = []
    for number in range(10):
        for state in ("rest", "tap"):
            path = folder / f"s{number}" / f"{state}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            rhythm = 30 * np.sin(2 * np.pi * 20 * time_s) if state == "tap" else 0.0
            np.save(path, 20 * rng.standard_normal((2, 6000)) + rhythm)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            sums.append(f"{digest} {path.relative_to(folder).as_posix()}\n")
    (folder / "SHA256SUMS.txt").write_text("".join(sums))


@pytest.mark.workflow
@pytest.mark.slow
def test_the_readmes_dataset_goes_from_files_to_a_score(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    blocks = blocks_of_the_readme()
    for name in ("cldtrans/data/tapping.py", "config/datasets/tapping.yaml"):
        assert not (folder / name).exists()
        (folder / name).write_text(blocks[name])
    registry = folder / "cldtrans/data/__init__.py"
    registry.write_text(
        registry.read_text().replace("DATASETS = {\n", "DATASETS = {\n" + blocks["cldtrans/data/__init__.py"])
    )
    (folder / "own.yaml").write_text(PLAN)
    write_mirror(folder / "mirror/tapping/1.0")
    snakemake(folder, "--cores", "2", RESULT, config="own.yaml")
    record = json.loads((folder / RESULT).read_text())
    assert record["metrics"]["auroc"] == 1.0 and record["n"]["test"] > 0
