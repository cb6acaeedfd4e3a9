"""Our model, fine-tuned on a task, as a classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cldtrans.config import Config
from cldtrans.data.base import Task
from cldtrans.machine import best_device
from cldtrans.methods.windows import LabelledWindows
from cldtrans.models import CLDTrans
from cldtrans.training.stage2 import adapt, predicted


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
        self.config, self.task, self.modality, self.seed = config, task, modality, seed
        place = best_device()
        self.model = CLDTrans.from_pretrained(str(checkpoint)).to(place)
        self.device = str(place)
        self.name = method
        self.parameters: int | None = sum(p.numel() for p in self.model.parameters())
        self.nfe: float | None = None

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
        )

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]."""
        found, self.nfe = predicted(self.model, "task", self.task, windows, np.arange(len(windows)))
        return found
