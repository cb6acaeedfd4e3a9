"""Stage 2 as training: graph ODE and attention learn the tasks of all labelled corpora at once.

What stays is what stage 1 made of single patches and of pairs of channels, motifs and lags: a code and an
edge mean the same before and after. What moves is the graph over time, the ODE on it, attention, the readout
and the heads, which start from linear probes. A step is of one corpus; all get as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cldtrans.config import Config
from cldtrans.data.base import Task
from cldtrans.methods.windows import LabelledWindows, in_batches
from cldtrans.models import CLDTrans
from cldtrans.training.loader import Batch
from cldtrans.training.loop import TrainingResult, run_training
from cldtrans.training.tasks import BATCH, LabelledCorpus, class_weights, labelled_loop, task_loss

TRAINED = ("adjacency.", "dynamics.", "context.", "readout.", "heads.")
VALIDATED = 1024  # windows of each corpus at most


class Labelled:
    """Training and validation windows of one task, which has a head of its name."""

    def __init__(self, task: Task, train: LabelledWindows, val: LabelledWindows):
        self.task, self.train, self.val = task, train, val
        self.modality = str(train.shards.modality)
        self.weight = torch.as_tensor(
            class_weights(train.y, task.kind, len(task.classes)), dtype=torch.float32
        )


def train_together(
    model: CLDTrans,
    tasks: Mapping[str, Labelled],
    config: Config,
    *,
    seed: int,
    device: torch.device | str,
    work_dir: Path | None,
    settings_sha256: str = "",
    name: str = "stage 2",
) -> TrainingResult:
    """Train `model`, whose heads are there, on all tasks; the best weights on validation are kept.

    Parameters
    ----------
    model : CLDTrans
        Pretrained, with a head a task.
    tasks : mapping
        Windows by the head's name.
    config : Config
        Settings of the run.
    seed : int
        Of everything random.
    device : device or str
        Where it is trained.
    work_dir : Path or None
        Scratch folder for rolling checkpoints; None: a killed run begins again.
    settings_sha256 : str
        Of all that shapes the result; a checkpoint of others is refused.
    name : str
        For messages.
    """

    def loss_fn(module: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        own = tasks[batch.corpus]
        where = own.train.channels
        out = module(batch.x, batch.rate_hz, batch.mask, batch.modality, task=batch.corpus, positions=where)
        return {
            "loss": task_loss(
                out.logits, batch.data["y"], own.task.kind, own.weight.to(out.logits), own.task.classes
            )
        }

    def validate(module: nn.Module) -> dict[str, float]:
        losses = {}
        for key, own in tasks.items():
            rows = np.unique(np.linspace(0, len(own.val) - 1, VALIDATED).round().astype(int))
            corpus = LabelledCorpus(own.val, key, own.modality)
            total = 0.0
            for part in in_batches(len(rows), BATCH):
                arrays = corpus.load(rows[part], np.random.default_rng(0))
                data = {k: torch.from_numpy(value) for k, value in arrays.items()}
                batch = Batch(0, key, own.modality, own.val.rate_hz, data).to(torch.device(device), dtype)
                total += len(batch) * float(loss_fn(module, batch)["loss"])
            losses[f"loss/{key}"] = total / len(rows)
        return {"loss": float(np.mean(list(losses.values()))), **losses}

    dtype = model.fill.weight.dtype
    frozen = [p for key, p in model.named_parameters() if not key.startswith(TRAINED) and p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        return run_training(
            model,
            loss_fn,
            [LabelledCorpus(own.train, key, own.modality) for key, own in tasks.items()],
            labelled_loop(config, config.stage2.steps),
            seed=seed,
            device=device,
            weights=[1 / len(tasks)] * len(tasks),
            validate=validate if all(len(own.val) for own in tasks.values()) else None,
            work_dir=work_dir,
            config_sha256=settings_sha256,
            name=name,
        )
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
