"""Jobs and runs that are killed on one machine: what is started again ends as if nothing had been."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from toys.faults import POINTS, finish, held, kill_launcher, launch, result, snakemake_of, wait_for_held

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.mark.fault("a job killed (kill -9, as by the kernel when memory is short)")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_killed_job(before: Callable[[str], Path], truth: dict[str, str], seed: int) -> None:
    rng = random.Random(seed)
    command = rng.choice(["download", "preprocess", "index", "split"])
    folder = before(command)
    with held(folder, command) as place:
        run = launch(folder, "--cores", "2", hold=place)
        victim = wait_for_held(place, command)
    time.sleep(rng.uniform(0, 1.5))  # it works on
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    run.wait(timeout=300)
    finish(launch(folder, "--cores", "2"), folder)
    assert result(folder) == truth


@pytest.mark.fault("the run killed (kill -9 of launcher and Snakemake), its job left alive")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_killed_run(before: Callable[[str], Path], truth: dict[str, str], seed: int) -> None:
    rng = random.Random(seed)
    command = rng.choice(["preprocess", "index", "split"])
    folder = before(command)
    with held(folder, command) as place:
        run = launch(folder, "--cores", "2", hold=place)
        orphan = wait_for_held(place, command)
        kill_launcher(run)
        printed = finish(launch(folder, "--cores", "2", goal="data/tiny/mirror/MINIATURE.json"), folder)
        assert "left by a run that was killed" in printed and "removing the lock" in printed
        with pytest.raises(ProcessLookupError):
            os.kill(orphan, 0)
    finish(launch(folder, "--cores", "2"), folder)
    assert result(folder) == truth


@pytest.mark.fault("Snakemake alone killed (kill -9), its launcher alive")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_killed_snakemake(before: Callable[[str], Path], truth: dict[str, str], seed: int) -> None:
    command = random.Random(seed).choice(["index", "split"])
    folder = before(command)
    with held(folder, command) as place:
        run = launch(folder, "--cores", "2", hold=place)
        wait_for_held(place, command)
        os.kill(snakemake_of(run), signal.SIGKILL)
        assert run.wait(timeout=60) == 2
    finish(launch(folder, "--cores", "2"), folder)
    assert result(folder) == truth


@pytest.mark.fault("two launches of one run in one folder, the first detached")
def test_two_launches(before: Callable[[str], Path], truth: dict[str, str]) -> None:
    folder = before("split")
    with held(folder, "split") as place:
        first = launch(folder, "--cores", "2", hold=place)
        wait_for_held(place, "split")
        log = (folder / "launch.log").rename(folder / "first.log")
        printed = finish(launch(folder, "--cores", "2"), folder, code=2)
        assert f"already under way (process {first.pid} on" in printed
        assert first.poll() is None
    assert first.wait(timeout=300) == 0, log.read_text()
    assert result(folder) == truth


@pytest.mark.fault("SIGTERM to a run (a node that shuts down)")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_run_that_is_told_to_end(before: Callable[[str], Path], truth: dict[str, str], seed: int) -> None:
    folder = before("index")
    rng = random.Random(seed)
    run = launch(folder, "--cores", "2")
    time.sleep(rng.uniform(1, 8))
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGTERM)
    run.wait(timeout=300)
    finish(launch(folder, "--cores", "2"), folder)
    assert result(folder) == truth
