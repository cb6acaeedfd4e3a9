"""Our model, fine-tuned on a task, as a classifier."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Self

import numpy as np
import torch

from cldtrans.config import Config
from cldtrans.data.base import Task
from cldtrans.machine import best_device
from cldtrans.methods.features import START_WINDOWS
from cldtrans.methods.random_twin import fresh_weights
from cldtrans.methods.tuning import Tuning
from cldtrans.methods.windows import LabelledWindows, in_batches
from cldtrans.models import CLDTrans
from cldtrans.training.stage2 import adapt, predicted
from cldtrans.training.tasks import BATCH


class FineTuned:
    """The few-shot classifier: a stage-1 checkpoint adapted to one task.

    Parameters
    ----------
    config : Config
        Settings of the run.
    method : str
        Name of the variant.
    checkpoint : Path
        Folder of the stage-1 model.
    task : Task
        What is predicted.
    modality : one of "eeg", "ecg"
        Of the windows.
    seed : int
        Of everything random.
    threads : int
        torch's; part of the result's last bits.
    """

    def __init__(
        self,
        config: Config,
        method: str,
        checkpoint: Path,
        task: Task,
        modality: str,
        *,
        seed: int,
        threads: int,
    ):
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self._again = (config, method, checkpoint, task, modality)
        self.config, self.task, self.modality, self.seed = config, task, modality, seed
        place = best_device()
        self.model = CLDTrans.from_pretrained(str(checkpoint)).to(place)
        self.device = str(place)
        self.name = method
        self.notes: list[str] = []
        self.parameters: int | None = sum(p.numel() for p in self.model.parameters())
        self.nfe: float | None = None
        self.tuning: Tuning | None = None

    @property
    def has_rate(self) -> bool:
        """Tell whether weights are learned at a rate: not where the linear probe is all."""
        return self.config.stage2.finetune_steps > 0

    def at_rate(self, factor: float) -> Self:
        """Return another, not fitted, at its learning rate times a factor."""
        stage2, other = self.config.stage2, copy.copy(self)
        rate = {"finetune_learning_rate": factor * stage2.finetune_learning_rate}
        other.config = self.config.model_copy(update={"stage2": stage2.model_copy(update=rate)})
        other.model, other.notes = copy.deepcopy(self.model), []
        other.tuning = copy.deepcopy(self.tuning)
        return other

    def twin(self) -> FineTuned:
        """Return the random twin: fresh weights, fine-tuned alike."""
        twin = FineTunedTwin(*self._again, seed=self.seed, threads=torch.get_num_threads())
        twin.tuning = copy.deepcopy(self.tuning)
        return twin

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Adapt to the training windows; validation stops."""
        adapt(
            self.model,
            self.task,
            train,
            val,
            self.config,
            modality=self.modality,
            name="task",
            seed=self.seed,
            tuning=self.tuning,
        )

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]."""
        found, self.nfe = predicted(self.model, "task", self.task, windows, np.arange(len(windows)))
        return found


class FineTunedTwin(FineTuned):
    """The random twin: the checkpoint gives settings and no weights."""

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Start the codebook from training windows, then adapt as the original does."""
        some = np.linspace(0, len(train) - 1, min(len(train), START_WINDOWS)).round().astype(int)
        parts = (some[part] for part in in_batches(len(some), BATCH))
        windows = ((train.signals(rows), train.mask(rows)) for rows in parts)
        self.model = fresh_weights(self.model, windows, train.rate_hz, self.modality, self.seed)
        super().fit(train, val)
