"""The tiny plan on a real Slurm, processes in place of GPUs: one machine's tables, the profile's requests."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toys.slurm import Slurm
from toys.workflow import copy_project, environment

OVERLAY = "loop: {batch_size: 8}\n"  # stage 1's eight processes share a batch
ASKED = {
    "train_stage1": "gres:gpu:mi300x:8",
    "train_stage2": "gres:gpu:mi300x:1",
    "extract_features": "gres:gpu:mi300x:1",
    "score_fewshot": "gres:gpu:mi300x:1",
    "score_fewshot_baseline": "gres:gpu:mi300x:1",
    "score_focal_lead": "gres:gpu:mi300x:1",
}


def run(folder: Path, *options: str, extra: dict[str, str] | None = None, config: str = "tiny") -> None:
    """`cldtrans run` of everything, in a copy of the project."""
    (folder / "overlay.yaml").write_text(OVERLAY)
    words = ["run", "--no-report", "--configfile", f"config/{config}.yaml", "overlay.yaml", *options]
    done = subprocess.run(
        [sys.executable, "-m", "cldtrans", *words],
        cwd=folder,
        env=environment() | (extra or {}),
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def assert_same_tables(one: Path, other: Path) -> None:
    """Every number within 1e-6, every word the same; the cost of a run is its own."""
    names = sorted(path.name for path in one.glob("*.csv") if path.stem != "cost")
    assert names and names == sorted(path.name for path in other.glob("*.csv") if path.stem != "cost")
    for name in names:
        pd.testing.assert_frame_equal(pd.read_csv(one / name), pd.read_csv(other / name), rtol=0, atol=1e-6)


def by_rule(slurm: Slurm) -> dict[str, list[dict[str, str]]]:
    """Jobs that the controller remembers, by rule; of a group, by its first rule."""
    found: dict[str, list[dict[str, str]]] = {}
    for job in slurm.jobs():
        name = job.get("Comment", "").strip().removeprefix("rule_").partition("_wildcards_")[0]
        found.setdefault(name, []).append(job)
    return found


@pytest.mark.workflow
@pytest.mark.long
def test_the_tiny_plan_on_slurm_gives_the_tables_of_one_machine(slurm: Slurm, tmp_path: Path) -> None:
    cluster, machine = tmp_path / "cluster", tmp_path / "machine"
    for folder in (cluster, machine):
        folder.mkdir()
        copy_project(folder)
    options = ("--profile", "slurm-mi300x", "--slurm-init-seconds-before-status-checks", "2")
    run(cluster, *options, extra=slurm.environment)
    assert slurm.queue() == []
    run(machine, "--cores", "2")
    assert_same_tables(cluster / "results/tiny/tables", machine / "results/tiny/tables")
    jobs = by_rule(slurm)
    for rule, gpus in ASKED.items():
        assert jobs[rule], rule
        for job in jobs[rule]:
            assert job["TresPerNode"].strip() == gpus, rule
            assert job["JobState"] == "COMPLETED"
    assert all(job["NumCPUs"] == "96" for job in jobs["train_stage1"])
    for rule in set(jobs) - set(ASKED):
        assert all("gpu" not in job.get("TresPerNode", "") for job in jobs[rule]), rule
    names = {job["JobName"].partition("_")[0] for found in jobs.values() for job in found}
    assert len(names) == 1 and names.pop().startswith("cldtrans-")
    log = (cluster / "logs/tiny/train_stage1/cldtrans/seed-42.log").read_text()
    assert "on 8 x cpu" in log, "one process a GPU"


@pytest.mark.workflow
@pytest.mark.long
def test_the_demo_on_slurm_gives_the_tables_of_one_machine(slurm: Slurm, tmp_path: Path) -> None:
    cluster, machine = tmp_path / "cluster", tmp_path / "machine"
    for folder in (cluster, machine):
        folder.mkdir()
        copy_project(folder)
    run(cluster, "--profile", "slurm-mi300x", extra=slurm.environment, config="demo")
    assert slurm.queue() == []
    run(machine, "--cores", "2", config="demo")
    assert_same_tables(cluster / "results/demo/tables", machine / "results/demo/tables")
