"""Tasks for the training loop: labelled windows, the loss of a head, and how long it learns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from cldtrans.config import Config, LoopConfig
from cldtrans.methods.search import LOOKS, PATIENCE
from cldtrans.methods.windows import LabelledWindows, in_batches
from cldtrans.models import CLDTrans
from cldtrans.models.hazards import event_probabilities, hazard_loss

BATCH = 16  # windows at a time where nothing is learned
WARMUP_SHARE = 0.1


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


def task_loss(logits: Tensor, y: Tensor, kind: str, weight: Tensor, classes: Sequence[str] = ()) -> Tensor:
    """Compute the cross-entropy of logits, of hazards for a time to an event; -1 in y stands for unlabelled.

    Parameters
    ----------
    logits : tensor [B, K]
        Of a head.
    y : tensor [B] or [B, K]
        Labels.
    kind : one of "binary", "multiclass", "multilabel", "time_to_event"
        Of the task.
    weight : tensor [K]
        Balances classes (of labels: positive against negative).
    classes : sequence of str
        Of a time to an event: ends of the intervals in seconds.
    """
    if kind == "time_to_event":
        return hazard_loss(logits, y, classes)
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
    if kind == "time_to_event":
        return np.ones(n_classes)
    if kind == "multiclass":
        counts = np.bincount(y[y >= 0].astype(int), minlength=n_classes).astype(float)
        weight = counts.sum() / (n_classes * np.maximum(counts, 1.0))
    else:
        y = y.reshape(len(y), -1)
        weight = (y == 0).sum(0) / np.maximum((y == 1).sum(0), 1.0)
    return np.clip(weight, 0.1, 10.0)


def probabilities(logits: Tensor, kind: str) -> np.ndarray:
    """Turn logits [n, K'] of a head into probabilities [n, K]."""
    if kind == "time_to_event":
        return event_probabilities(logits).numpy()
    if kind == "multiclass":
        return logits.softmax(-1).numpy()
    positive = logits.sigmoid().numpy()
    return np.concatenate([1 - positive, positive], 1) if kind == "binary" else positive


def pooled_features(model: CLDTrans, windows: LabelledWindows, modality: str) -> np.ndarray:
    """Compute the model's pooled vectors [n, F] of labelled windows."""
    parts = []
    for which in in_batches(len(windows), BATCH):
        x, mask = windows.signals(which), windows.mask(which)
        out = model.read(x, windows.rate_hz, mask, modality, positions=windows.channels)
        parts.append(out.pooled.float().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, model.n_features(modality)), dtype=np.float32)


def labelled_loop(config: Config, steps: int) -> LoopConfig:
    """Return the training loop's settings with so many steps, and stage 2's batch and learning rate.

    It looks at validation windows as often as a baseline does, and is as patient.
    """
    changes = {
        "steps": steps,
        "batch_size": config.stage2.finetune_batch,
        "learning_rate": config.stage2.finetune_learning_rate,
        "warmup_steps": round(WARMUP_SHARE * steps),
        "validate_every": max(1, steps // LOOKS),
        "patience": PATIENCE,
    }
    return config.loop.model_copy(update=changes)
