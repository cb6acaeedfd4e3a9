"""Stage 2: task heads on a pretrained model, by a linear probe and then, where asked, fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from cldtrans.config import Config, LoopConfig
from cldtrans.data.base import Task
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import budget_rows, load_split, split_rows
from cldtrans.errors import DataError
from cldtrans.files import atomic_path, write_json
from cldtrans.methods.linear_probe import LinearProbe
from cldtrans.methods.windows import LabelledWindows, in_batches
from cldtrans.models import CLDTrans
from cldtrans.models.heads import HeadSpec
from cldtrans.training.loader import Batch
from cldtrans.training.loop import TrainingResult, run_training

BATCH = 16
WARMUP_SHARE, VALIDATIONS = 0.1, 10


class LabelledCorpus:
    """Labelled windows for the training loop."""

    def __init__(self, windows: LabelledWindows, name: str, modality: str):
        self.windows, self.name, self.modality = windows, name, modality
        self.rate_hz = windows.rate_hz

    def __len__(self) -> int:
        return len(self.windows)

    def load(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Gather `x`, `mask` and `y`."""
        return {"x": self.windows.signals(rows), "mask": self.windows.mask(rows), "y": self.windows.y[rows]}


def pooled_features(model: CLDTrans, windows: LabelledWindows, modality: str) -> np.ndarray:
    """Compute the model's pooled vectors [n, F] of labelled windows."""
    parts = []
    for which in in_batches(len(windows), BATCH):
        x, mask = windows.signals(which), windows.mask(which)
        out = model.read(x, windows.rate_hz, mask, modality, positions=windows.channels)
        parts.append(out.pooled.float().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, model.n_features(modality)), dtype=np.float32)


def fit_head(
    model: CLDTrans,
    name: str,
    task: Task,
    modality: str,
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
) -> LinearProbe:
    """Attach a head and set it to the linear probe of pooled features and labels; return the probe.

    Parameters
    ----------
    model : CLDTrans
        Gets the head.
    name : str
        Of the head.
    task : Task
        What it predicts.
    modality : one of "eeg", "ecg"
        Of the windows.
    train, val : (array [n, F], array [n] or [n, K])
        Features and labels; validation chooses the penalty.
    """
    probe = LinearProbe(task.kind, task.classes, model.shares(modality))
    probe.fit(*train, *val)
    head = model.attach_head(name, HeadSpec(task.kind, tuple(task.classes), modality))  # type: ignore[arg-type]
    weight, bias = probe.linear()
    head.set_linear(*(torch.as_tensor(value) for value in (probe.mean, probe.scale, weight, bias)))
    return probe


def task_loss(logits: Tensor, y: Tensor, kind: str, weight: Tensor) -> Tensor:
    """Compute the cross-entropy of logits; -1 in y stands for unlabelled.

    Parameters
    ----------
    logits : tensor [B, K]
        Of a head.
    y : tensor [B] or [B, K]
        Labels.
    kind : one of "binary", "multiclass", "multilabel"
        Of the task.
    weight : tensor [K]
        Balances classes (of labels: positive against negative).
    """
    if kind == "multiclass":
        return F.cross_entropy(logits, y.long(), weight=weight, ignore_index=-1)
    if kind == "binary":
        logits, y = logits[:, :1], y[:, None]
    known = y >= 0
    loss = F.binary_cross_entropy_with_logits(
        logits, y.clamp_min(0).to(logits), pos_weight=weight, reduction="none"
    )
    return (loss * known).sum() / known.sum().clamp_min(1)


def class_weights(y: np.ndarray, kind: str, n_classes: int) -> np.ndarray:
    """Return inverse frequencies for exclusive classes, for labels negatives over positives.

    All weights lie between 0.1 and 10.
    """
    if kind == "multiclass":
        counts = np.bincount(y[y >= 0].astype(int), minlength=n_classes).astype(float)
        weight = counts.sum() / (n_classes * np.maximum(counts, 1.0))
    else:
        y = y.reshape(len(y), -1)
        weight = (y == 0).sum(0) / np.maximum((y == 1).sum(0), 1.0)
    return np.clip(weight, 0.1, 10.0)


def finetune(
    model: CLDTrans,
    name: str,
    task: Task,
    modality: str,
    train: LabelledWindows,
    val: LabelledWindows,
    config: Config,
    seed: int,
) -> TrainingResult:
    """Train the whole network and the head `name` on the task; the best weights on validation are kept."""
    loop = finetuning_loop(config)
    device = model.fill.weight.device
    weight = torch.as_tensor(class_weights(train.y, task.kind, len(task.classes)), dtype=torch.float32)

    def loss_fn(module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        out = module(batch.x, batch.rate_hz, batch.mask, batch.modality, task=name, positions=train.channels)
        return {"loss": task_loss(out.logits, batch.data["y"], task.kind, weight.to(out.logits))}

    def validate(module: nn.Module) -> dict[str, float]:
        total, n = 0.0, 0
        for start in range(0, len(val), BATCH):
            which = np.arange(start, min(len(val), start + BATCH))
            arrays = LabelledCorpus(val, name, modality).load(which, np.random.default_rng(0))
            data = {key: torch.from_numpy(value) for key, value in arrays.items()}
            batch = Batch(0, name, modality, val.rate_hz, data)
            total += len(which) * float(loss_fn(module, batch.to(device, torch.float32))["loss"])
            n += len(which)
        return {"loss": total / n}

    return run_training(
        model,
        loss_fn,
        [LabelledCorpus(train, name, modality)],
        loop,
        seed=seed,
        device=device,
        validate=validate if len(val) else None,
        step_end=lambda module: module.update_codebooks(),  # type: ignore
        name=f"fine-tuning {name}",
    )


def finetuning_loop(config: Config) -> LoopConfig:
    """Return the training loop's settings with stage 2's steps, batch and learning rate."""
    steps = config.stage2.finetune_steps
    changes: dict[str, Any] = {
        "steps": steps,
        "batch_size": config.stage2.finetune_batch,
        "learning_rate": config.stage2.finetune_learning_rate,
        "warmup_steps": round(WARMUP_SHARE * steps),
        "validate_every": max(1, steps // VALIDATIONS),
        "checkpoint_every": steps,
    }
    return config.loop.model_copy(update=changes)


def adapt(
    model: CLDTrans,
    task: Task,
    train: LabelledWindows,
    val: LabelledWindows,
    config: Config,
    *,
    modality: str,
    name: str = "task",
    seed: int = 0,
) -> TrainingResult | None:
    """Give `model` a head for a task: a linear probe, then `finetune_steps` of all weights."""
    model.eval()
    fit_head(
        model,
        name,
        task,
        modality,
        (pooled_features(model, train, modality), train.y),
        (pooled_features(model, val, modality), val.y),
    )
    if config.stage2.finetune_steps == 0:
        return None
    result = finetune(model, name, task, modality, train, val, config, seed)
    model.eval()
    return result


def train_stage2(
    config: Config,
    name: str,
    seed: int,
    shards: Path,
    splits: Path,
    features: Path,
    checkpoint: Path,
    output: Path,
) -> None:
    """Train one head a labelled dataset, with all its training labels, on one stage-1 checkpoint.

    Parameters
    ----------
    config : Config
        Settings of the run.
    name : str
        The variant.
    seed : int
        Of split and training.
    shards : Path
        Folder of the datasets' shard folders.
    splits : Path
        Folder of `<dataset>/seed-<s>.csv`.
    features : Path
        Holds `<dataset>/<variant>/seed-<s>.npz`.
    checkpoint : Path
        Folder of the stage-1 model.
    output : Path
        Checkpoint folder to write.
    """
    model = CLDTrans.from_pretrained(str(checkpoint)).eval()
    heads: dict[str, Any] = {}
    notes: list[str] = []
    for dataset in tqdm(config.stage2.datasets, desc="heads", disable=None):
        windows = ShardSet(shards / dataset)
        if windows.reason is not None or windows.task is None:
            notes.append(f"{dataset}: no head ({windows.reason or 'no labels'})")
            continue
        split = load_split(splits / dataset / f"seed-{seed}.csv")
        train, val = budget_rows(windows, split, "1.0", seed), split_rows(windows, split, "val")
        labels = windows.labels(train)
        if len(train) == 0 or len(np.unique(labels)) < 2:
            notes.append(f"{dataset}: no head (training windows hold fewer than two classes)")
            continue
        with np.load(features / dataset / name / f"seed-{seed}.npz") as content:
            pooled = content["features"]
        if len(pooled) != len(windows):
            raise DataError(
                f"features of {dataset} hold {len(pooled)} windows, its index {len(windows)}; make them again"
            )
        probe = fit_head(
            model,
            dataset,
            windows.task,
            windows.modality,
            (pooled[train], labels),
            (pooled[val], windows.labels(val)),
        )
        heads[dataset] = {"penalty": probe.penalty, "windows": len(train), "notes": probe.notes}
    for note in notes:
        tqdm.write(f"stage 2: {note}")
    model.describe(stage="2, linear heads with all training labels", heads=", ".join(heads) or "none")
    with atomic_path(output) as folder:
        model.save_pretrained(folder)
        write_json(folder / "training.json", {"heads": heads, "notes": notes})
