"""Real stage 1, made small. Functions of child processes live here, because children import them by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from cldtrans.config import Config
from cldtrans.training import stage1
from cldtrans.training.loop import TrainingResult


def kill_self(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(config: Config, folder: Path, name: str, die_at: int | None, while_saving: bool) -> None:
    """Train to `folder/name`, killing itself with SIGKILL at a step or inside the save that follows it."""
    torch.set_num_threads(1)
    step = stage1.Objective.__call__

    def watched(self, module, batch):
        if batch.step == die_at:
            if not while_saving:
                kill_self()
            Path.rename = kill_self  # the last act of writing a checkpoint
        return step(self, module, batch)

    stage1.Objective.__call__ = watched
    train(config, folder, name)


def train_rank(config: Config, folder: Path, name: str, rank: int, world_size: int, port: int) -> None:
    """One rank in float64, as torchrun would start it; every rank writes the model that it ends with."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    run_training = stage1.run_training

    def and_keep(module, *args, **options) -> TrainingResult:
        result = run_training(module, *args, **options)
        torch.save(module.state_dict(), folder / f"{name}-{rank}.pt")
        return result

    stage1.run_training = and_keep
    train(config, folder, name)


def train(config: Config, folder: Path, name: str) -> TrainingResult | None:
    """Stage 1 of the default variant from `folder/shards` to `folder/name`."""
    stage1.VALIDATION_WORLDS = 2
    return stage1.train_stage1(
        config, "cldtrans", 3, folder / "shards", folder / name, folder / f"work-{name}"
    )
