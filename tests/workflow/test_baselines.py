"""Every baseline of the paper's plan goes through the workflow at miniature scale, to a result file."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from toys.paths import PROJECT
from toys.workflow import copy_project, snakemake

from cldtrans.baselines.networks import NetworkClassifier
from cldtrans.config import load_any
from cldtrans.methods.cells import Cell
from cldtrans.methods.factories import find

PAPER = load_any([PROJECT / "config" / "config.yaml"])
DATASETS = ["chbmit", "eegmmidb", "sleepedf", "ptbxl", "mimic_ecg", "siena"]
EXPERIMENTS = ["fewshot", "identifiability", "planted", "zeroshot"]
ONE_STEP = {"steps": 1, "batch_size": 2, "validate_every": 1}
SHORT: dict[str, dict[str, Any]] = {
    "boosted_features": {"rounds": 2},
    "inception_time": {"ensemble": 1},
    "random_kernels": {"features": 84},
}


def cells() -> list[Cell]:
    """One cell of each (experiment, dataset, method) of the plan's baselines, of the datasets there are."""
    there = {*DATASETS, "base"}
    found = {
        Cell(block.experiment, dataset, method, block.budgets[-1], 42)
        for block in PAPER.experiments
        for dataset in block.datasets
        for method in block.methods
        if method in PAPER.methods and dataset in there and block.experiment in EXPERIMENTS
    }
    return sorted(found)


def is_network(method: str) -> bool:
    spec = PAPER.methods[method].classifier
    factory = None if spec is None else find(spec)
    return inspect.isclass(factory) and issubclass(factory, NetworkClassifier)


def overlay() -> dict[str, Any]:
    settings = {
        name: {**(ONE_STEP if is_network(name) else {}), **SHORT.get(name, {})} for name in PAPER.methods
    }
    return {
        "datasets": DATASETS,
        "preprocess": {name: {"dtype": "float32", "shards": 1, "batches": 1} for name in DATASETS},
        "methods": {name: {"settings": given} for name, given in settings.items() if given},
        "experiments": [
            {
                "target": "baselines",
                "experiment": cell.experiment,
                "datasets": [cell.dataset],
                "methods": [cell.method],
                "budgets": [cell.budget],
                "seeds": [cell.seed],
            }
            for cell in cells()
        ],
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the plan's overlay."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    (folder / "own.yaml").write_text(yaml.safe_dump(overlay()))
    return folder


@pytest.mark.workflow
@pytest.mark.long
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_baseline_goes_through_the_workflow(project: Path, experiment: str) -> None:
    pytest.importorskip("linear_attention_transformer", reason="the extra baselines is not installed")
    asked = [cell for cell in cells() if cell.experiment == experiment]
    goals = [cell.path("tiny") for cell in asked]
    words = ("--cores", "1", "--configfile", "config/tiny.yaml", "own.yaml", "--")
    snakemake(project, *words, *goals, config=None, timeout_s=3600)
    for cell, goal in zip(asked, goals, strict=True):
        record = json.loads((project / goal).read_text())
        assert record["wall_s"] > 0 and record["peak_memory_bytes"] > 0, cell
        for name, value in record["metrics"].items():
            assert value is not None or name in record["reasons"], (cell, name)
        if any(value is not None for value in record["metrics"].values()):
            assert record["chance"], cell
        if cell.method.endswith("_gradient"):
            assert record["extra"]["start"] == "from scratch", cell
        if experiment == "fewshot" and is_network(cell.method):
            assert record["extra"]["start"] == "from scratch", cell
            assert record["extra"]["saw_test_data"] == "no", cell
            assert record["extra"]["trainable_parameters"] == record["parameters"] > 1000, cell
            assert any(name.endswith("@random_twin") for name in record["metrics"]), cell
