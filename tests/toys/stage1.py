"""Real stage 1, made small. Functions of child processes live here, because children import them by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from toys.model import SETTINGS
from toys.paths import PROJECT
from toys.shards import write_shards

from cldtrans.config import Config, Stage1Config, resolve
from cldtrans.models.modality import RATE_HZ
from cldtrans.training import stage1
from cldtrans.training.loader import Batch
from cldtrans.training.loop import TrainingResult
from cldtrans.training.worlds import WorldCorpus

WEIGHTS = {
    "waveform": 1.0,
    "spectrum": 1.0,
    "commitment": 0.25,
    "ldsem": 0.1,
    "innovations": 1.0,
    "sparsity": 0.01,
    "smoothness": 0.01,
    "energy": 0.001,
    "fill": 0.5,
    "masked": 1.0,
    "edge": 1.0,
    "lag": 0.3,
    "lead": 0.3,
}
STAGE1 = Stage1Config.model_validate(
    {
        "datasets": ["eegmmidb", "ptbxl"],
        "validation_windows": 8,
        "probe": [],
        "max_channels": None,
        "crop_s": None,
        "simulator_fraction": 0.25,
        "mask_fraction": 0.3,
        "span_fraction": 0.4,
        "spans_every": 2,
        "weights": WEIGHTS,
    }
)


def small_config(steps=4, **stage1):
    config = resolve([*sorted((PROJECT / "config/datasets").glob("*.yaml")), PROJECT / "config/config.yaml"])
    settings = config.model_dump(mode="json")
    settings["model"] = SETTINGS
    settings["stage1"] = {**STAGE1.model_dump(mode="json"), **stage1}
    settings["loop"] |= {
        "steps": steps,
        "batch_size": 4,
        "micro_batch": 4,
        "warmup_steps": 1,
        "precision": "float32",
        "checkpoint_every": 2,
        "validate_every": 2,
        "num_workers": 0,
    }
    return Config.model_validate(settings)


def batch_of(x, modality="eeg", **data):
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    places = torch.randn(x.shape[1], 3, dtype=x.dtype).expand(len(x), -1, -1)
    return Batch(3, "corpus", modality, RATE_HZ[modality], {"x": x, "mask": mask, "places": places, **data})


def world_batch(modality="eeg", n=4):
    corpus = WorldCorpus(modality, SETTINGS["tau_max_s"][modality], seed=5)
    arrays = corpus.load(np.arange(n), np.random.default_rng(1))
    data = {key: torch.from_numpy(value) for key, value in arrays.items()}
    return Batch(0, corpus.name, modality, corpus.rate_hz, data)


def write_corpora(folder, n_subjects=6):
    rng = np.random.default_rng(0)
    eeg = pd.DataFrame({"subject": [f"s{k % n_subjects}" for k in range(12)], "recording": "r"})
    ecg = pd.DataFrame({"subject": [f"p{k}" for k in range(20)], "recording": "r"})
    ecg["fold"] = [1 + k % 10 for k in range(20)]
    for name, index, shape, rate_hz in (
        ("eegmmidb", eeg, (6, 480), 160.0),
        ("ptbxl", ecg, (12, 1000), 500.0),
    ):
        write_shards(
            folder / name,
            rng.standard_normal((len(index), *shape)),
            index,
            channels=tuple(f"c{k}" for k in range(shape[0])),
            sample_rate=rate_hz,
            task=None,
            modality="eeg" if name == "eegmmidb" else "ecg",
        )


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
            mock.patch.object(Path, "rename", kill_self).start()  # the last act of writing a checkpoint
        return step(self, module, batch)

    mock.patch.object(stage1.Objective, "__call__", watched).start()
    train(config, folder, name)


def train_rank(
    config: Config, folder: Path, name: str, rank: int, world_size: int, port: int, seed: int = 3
) -> None:
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
    train(config, folder, name, seed)


def train(config: Config, folder: Path, name: str, seed: int = 3) -> TrainingResult | None:
    """Stage 1 of the default variant from `folder/shards` to `folder/name`."""
    with mock.patch.object(stage1, "VALIDATION_WORLDS", 2):
        return stage1.train_stage1(
            config, "cldtrans", seed, folder / "shards", folder / name, folder / f"work-{name}"
        )
