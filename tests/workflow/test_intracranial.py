"""A folder of intracranial recordings, named in an overlay, becomes result files; an absent one is a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys.ieeg import write_bids
from toys.workflow import copy_project, snakemake

RESULT = "results/own/zeroshot/{set}/single_source/budget-0/seed-42.json"
PLAN = """
run: own
threads: 1
source: {url: mirror}
zeroshot: {intracranial: {ieeg: {folder: recordings}}}
experiments:
  - target: baselines
    experiment: zeroshot
    datasets: [ecog, ieeg]
    methods: [single_source]
    budgets: ["0"]
    seeds: [42]
"""


@pytest.mark.workflow
@pytest.mark.slow
def test_a_bids_folder_goes_to_a_score_and_an_absent_set_to_a_line(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    (folder / "own.yaml").write_text(PLAN)
    write_bids(folder / "recordings")
    goals = [RESULT.format(set=name) for name in ("ieeg", "ecog")]
    output = snakemake(folder, "--cores", "1", *goals, config="own.yaml")
    assert "rule preprocess_batch" not in output
    found, absent = (json.loads((folder / goal).read_text()) for goal in goals)
    assert found["metrics"]["top1"] == 1.0 and found["n"]["test"] == 2
    assert "zeroshot.intracranial.ecog.folder is null" in absent["reasons"]["top1"]
    assert "Nothing to be done" in snakemake(folder, "-n", *goals, config="own.yaml")
    events = next((folder / "recordings").rglob("*_events.tsv"))
    events.write_text(events.read_text() + "88\tn/a\teyes open\n")
    assert "Nothing to be done" not in snakemake(folder, "-n", *goals, config="own.yaml")
