"""A small model with all that makes training hard to resume and to divide: a moving codebook, dropout, one
decoder a modality (without gradient in the other's batches), two corpora of different channel counts.

Functions that child processes run live here, because children import them by name.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cldtrans.config import LoopConfig
from cldtrans.machine import all_reduce_sum_
from cldtrans.training import distributed
from cldtrans.training.loader import Batch, ShardCorpus
from cldtrans.training.loop import TrainingResult, run_training

SAMPLES = 24


class FakeShards:
    """The methods of a ShardSet that training uses, over an array."""

    def __init__(self, windows: int, channels: int, modality: str, sample_rate: float, seed: int = 0):
        rng = np.random.default_rng([seed, channels])
        steps = rng.standard_normal((windows, channels, SAMPLES)).astype(np.float32)
        self.data = np.cumsum(steps, axis=2) / 3
        self.modality, self.rate_hz = modality, sample_rate
        self.channels = tuple(f"c{k}" for k in range(channels))

    def windows(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return np.take(self.data, rows, axis=0, out=out)

    def mask(self, rows: np.ndarray) -> np.ndarray:
        return np.ones((len(rows), self.data.shape[1]), dtype=bool)

    def labels(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows) % 3


def toy_corpora() -> list[ShardCorpus]:
    eeg, ecg = FakeShards(90, 5, "eeg", 160.0), FakeShards(50, 3, "ecg", 500.0)
    return [ShardCorpus("eeg", eeg, np.arange(90)), ShardCorpus("ecg", ecg, np.arange(40))]


def loop_config(**changes) -> LoopConfig:
    settings: dict[str, Any] = {
        "steps": 20,
        "batch_size": 8,
        "micro_batch": 8,
        "learning_rate": 0.01,
        "warmup_steps": 3,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "ema_decay": 0.0,
        "precision": "float32",
        "checkpoint_every": 5,
        "validate_every": 10,
        "patience": 100,
        "divergence_factor": 10.0,
        "compile": False,
        "num_workers": 1,
    }
    return LoopConfig(**(settings | changes))


class ToyModel(nn.Module):
    """Encoder, EMA codebook of 6 codes, one decoder a modality."""

    codes: Tensor
    counts: Tensor
    new_counts: Tensor
    new_sums: Tensor

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.encoder = nn.Linear(SAMPLES, 4)
        self.decoders = nn.ModuleDict({name: nn.Linear(4, SAMPLES) for name in ("eeg", "ecg")})
        self.dropout = nn.Dropout(dropout)
        for name, value in {
            "codes": torch.randn(6, 4),
            "counts": torch.ones(6),
            "new_counts": torch.zeros(6),
            "new_sums": torch.zeros(6, 4),
        }.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        z = self.encoder(self.dropout(x))
        nearest = torch.cdist(z.detach().reshape(-1, 4), self.codes).argmin(1)
        if self.training:
            hits = nn.functional.one_hot(nearest, 6).to(z.dtype)
            self.new_counts += hits.sum(0)
            self.new_sums += hits.T @ z.detach().reshape(-1, 4)
        code = self.codes[nearest].view_as(z)
        return self.decoders[modality](z + (code - z).detach()), ((z - code) ** 2).mean()

    @torch.no_grad()
    def step_end(self) -> None:
        all_reduce_sum_(self.new_counts, self.new_sums)
        self.counts.mul_(0.9).add_(self.new_counts, alpha=0.1)
        hit = self.new_counts > 0
        mean = self.new_sums[hit] / self.new_counts[hit, None]
        self.codes[hit] = 0.9 * self.codes[hit] + 0.1 * mean
        self.new_counts.zero_()
        self.new_sums.zero_()


def toy(seed: int = 0) -> ToyModel:
    torch.manual_seed(seed)
    return ToyModel()


def same(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


def toy_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    output, commitment = model(batch.x, batch.modality)
    reconstruction = ((output - batch.x) ** 2).mean()
    return {"loss": reconstruction + 0.1 * commitment, "reconstruction": reconstruction, "vq": commitment}


def toy_validation(model: nn.Module) -> dict[str, float]:
    x = torch.from_numpy(FakeShards(16, 5, "eeg", 160.0, seed=9).data).to(next(model.parameters()).dtype)
    return {"loss": float(((model(x, "eeg")[0] - x) ** 2).mean())}


def train_toy(
    model: ToyModel, loop: LoopConfig, seed: int = 1, loss=toy_loss, validate=toy_validation, **options
) -> TrainingResult:
    return run_training(
        model,
        loss,
        toy_corpora(),
        loop,
        seed=seed,
        validate=validate,
        step_end=lambda _: model.step_end(),
        **options,
    )


def train_and_save(
    out: Path, work_dir: Path, die_at: int | None, while_saving: bool, loop: LoopConfig
) -> None:
    """Child process: train, killing itself with SIGKILL at a step or inside the save that follows it."""
    torch.set_num_threads(1)
    torch.manual_seed(5)
    model = ToyModel(dropout=0.2)

    def die(*_) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if batch.step == die_at:
            if while_saving:
                mock.patch.object(Path, "rename", die).start()  # the last act of writing a checkpoint
            else:
                die()
        return toy_loss(model, batch)

    result = train_toy(model, loop, loss=loss, work_dir=work_dir, config_sha256="same")
    history = torch.tensor([row["loss"] for row in result.history], dtype=torch.float64)
    save_file(model.state_dict() | {"history": history}, out)


def train_rank(
    rank: int, world_size: int, port: int, folder: Path, loop: LoopConfig, send_term: bool
) -> None:
    """Child process: one rank of a gloo run in float64, as torchrun would start it."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.manual_seed(rank)  # broadcasting must make up for this
    with distributed.process_group() as device:
        model = ToyModel().double()

        def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            if send_term and rank == 1 and batch.step == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            return toy_loss(model, batch)

        options: dict[str, Any] = {"work_dir": folder / "work", "config_sha256": "same", "device": device}
        result = train_toy(model, loop, loss=loss, **options)
        losses = torch.tensor([row["loss"] for row in result.history], dtype=torch.float64)
        save_file(model.state_dict() | {"losses": losses}, folder / f"rank-{rank}.safetensors")
