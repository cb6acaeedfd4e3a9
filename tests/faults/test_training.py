"""Stage 1 that is told to end, or whose checkpoints are lost: it ends with the same bits."""

import multiprocessing
import os
import random
import signal
from pathlib import Path
from unittest import mock

import pytest
import torch
import toys.small_disk as disks
from toys.faults import POINTS, flip
from toys.stage1 import small_config, train, train_and_die, write_corpora

from cldtrans.training import stage1
from cldtrans.training.guard import Preempted

pytestmark = pytest.mark.slow
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["cldtrans.training.stage1"])
STEPS = 6


def config_of():
    return small_config(STEPS, simulator_fraction=0.0, max_channels=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed training."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("training")
    write_corpora(folder / "shards")
    train(config_of(), folder, "whole")
    return folder


def saved(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def struck_at(step: int, strike) -> mock._patch:
    """Call `strike` before the loss of a step."""
    loss = stage1.Objective.__call__

    def watched(self, module, batch):
        if batch.step == step:
            strike()
        return loss(self, module, batch)

    return mock.patch.object(stage1.Objective, "__call__", watched)


@pytest.mark.fault("SIGTERM and requeue in stage 1")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_requeued_training(whole: Path, seed: int) -> None:
    step, name = random.Random(seed).randrange(1, STEPS - 1), f"term-{seed}"
    with struck_at(step, lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(Preempted):
        train(config_of(), whole, name)
    assert not (whole / name).exists()
    train(config_of(), whole, name)
    assert saved(whole / name) == saved(whole / "whole")


@pytest.mark.fault("stage 1 killed (kill -9)")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_killed_training(whole: Path, seed: int) -> None:
    rng, name = random.Random(seed), f"kill-{seed}"
    arguments = (config_of(), whole, name, rng.randrange(1, STEPS), rng.random() < 0.5)
    child = CONTEXT.Process(target=train_and_die, args=arguments)
    child.start()
    child.join(timeout=300)
    assert child.exitcode == -signal.SIGKILL
    train(config_of(), whole, name)
    assert saved(whole / name) == saved(whole / "whole")


@pytest.mark.fault("a flipped byte in a rolling checkpoint")
@pytest.mark.parametrize("seed", range(POINTS))
def test_a_damaged_checkpoint(whole: Path, seed: int) -> None:
    rng, name = random.Random(seed), f"flip-{seed}"
    with struck_at(4, lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(Preempted):
        train(config_of(), whole, name)
    newest = sorted((whole / f"work-{name}").glob("*/step-*"))[-1]
    flip(newest / rng.choice(sorted(path.name for path in newest.iterdir())), rng.random())
    train(config_of(), whole, name)
    assert saved(whole / name) == saved(whole / "whole")


@pytest.mark.fault("disk full while a checkpoint is written, then freed")
def test_a_full_disk_during_a_checkpoint(whole: Path) -> None:
    work = whole / "work-full"
    with disks.small_disk(work, 100_000):
        filler = work / "somebody-elses"

        def fill() -> None:
            with filler.open("wb") as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                        file.flush()
                except OSError:
                    pass

        with struck_at(3, fill), pytest.raises(Exception, match=r"(?i)space|os error 28"):
            train(config_of(), whole, "full")
        assert not (whole / "full").exists()
        filler.unlink()
        train(config_of(), whole, "full")
    assert saved(whole / "full") == saved(whole / "whole")
