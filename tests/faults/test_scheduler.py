"""What a scheduler does to jobs in two weeks, on a real Slurm: the run ends as if nothing had been."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from toys.faults import GOAL, POINTS, finish, held, kill_launcher, launch, result, wait_for_held
from toys.slurm import Slurm, wait_for

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
ON_SLURM = ("--profile", "slurm-mi300x", "--slurm-init-seconds-before-status-checks", "2")


def running(slurm: Slurm) -> list[str]:
    return slurm.call("squeue", "--noheader", "--states=RUNNING", "--format=%i").split()


@pytest.fixture
def idle(slurm: Slurm):
    """The Slurm with nothing in its queue, before and after."""
    yield slurm
    slurm.cancel_all()
    if slurm.node_state() not in ("idle", "mix"):
        slurm.node(state="resume")


@pytest.mark.fault("scancel of a running job")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_cancelled_job(
    idle: Slurm, before: Callable[[str], Path], truth: dict[str, str], seed: int
) -> None:
    command = random.Random(seed).choice(["index", "split"])
    folder = before(command)
    with held(folder, command) as place:
        run = launch(folder, *ON_SLURM, extra=idle.environment, hold=place)
        wait_for_held(place, command)
        (job,) = running(idle)
        idle.call("scancel", job)
        wait_for(lambda: job not in idle.queue(), 60, "end of the cancelled job")
    finish(run, folder)
    assert result(folder) == truth and idle.queue() == []


@pytest.mark.fault("a job under Slurm killed (kill -9, as for its memory)")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_killed_job(idle: Slurm, before: Callable[[str], Path], truth: dict[str, str], seed: int) -> None:
    command = random.Random(seed).choice(["index", "split"])
    folder = before(command)
    with held(folder, command) as place:
        run = launch(folder, *ON_SLURM, extra=idle.environment, hold=place)
        os.kill(wait_for_held(place, command), signal.SIGKILL)
    finish(run, folder)
    assert result(folder) == truth and idle.queue() == []


@pytest.mark.fault("node drained while a job runs, then resumed")
def test_a_drained_node(idle: Slurm, before: Callable[[str], Path], truth: dict[str, str]) -> None:
    folder = before("index")
    with held(folder, "index") as place:
        run = launch(folder, *ON_SLURM, extra=idle.environment, hold=place)
        wait_for_held(place, "index")
        idle.node(state="drain", reason="test")
    wait_for(lambda: bool(idle.queue()) and not running(idle), 120, "job that waits for the node")
    idle.node(state="resume")
    finish(run, folder)
    assert result(folder) == truth and idle.queue() == []


@pytest.mark.fault("launcher and Snakemake killed (kill -9), their Slurm jobs left in the queue")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_killed_run(idle: Slurm, before: Callable[[str], Path], truth: dict[str, str], seed: int) -> None:
    command = random.Random(seed).choice(["index", "split"])
    folder = before(command)
    with held(folder, command) as place:
        run = launch(folder, *ON_SLURM, extra=idle.environment, hold=place)
        wait_for_held(place, command)
        (orphan,) = running(idle)
        kill_launcher(run)
        goal = "data/tiny/mirror/MINIATURE.json"  # which is there: nothing but the clearing up
        printed = finish(launch(folder, *ON_SLURM, goal=goal, extra=idle.environment), folder)
        assert "cancelled 1 Slurm jobs" in printed and "removing the lock" in printed
        assert orphan not in idle.queue()
    finish(launch(folder, *ON_SLURM, extra=idle.environment), folder)
    assert result(folder) == truth and idle.queue() == []


@pytest.mark.fault("a request that the partition never meets")
def test_what_would_wait_for_ever_is_refused_before_the_first_job(
    idle: Slurm, before: Callable[[str], Path]
) -> None:
    folder = before("split")
    idle.call("scontrol", "update", "partitionname=mi300x", "maxtime=00:10:00")
    try:
        printed = finish(launch(folder, *ON_SLURM, extra=idle.environment), folder, code=2)
    finally:
        idle.call("scontrol", "update", "partitionname=mi300x", "maxtime=24:00:00")
    assert "split_dataset: runtime 20 min, but partition mi300x allows 10" in printed
    assert idle.queue() == [] and not (folder / GOAL).exists()


@pytest.mark.fault("--set-resources that takes stage 1's GPUs away")
def test_stage_1_without_gpus_is_refused(idle: Slurm, before: Callable[[str], Path]) -> None:
    folder = before("split")
    goal = "results/tiny/checkpoints/stage1/cldtrans/seed-42/model.safetensors"
    options = (*ON_SLURM, "--set-resources=train_stage1:runtime=30")
    printed = finish(launch(folder, *options, goal=goal, extra=idle.environment), folder, code=2)
    assert "train_stage1: asks for no GPU" in printed and "gres=gpu:mi300x:8" in printed
    assert idle.queue() == []
