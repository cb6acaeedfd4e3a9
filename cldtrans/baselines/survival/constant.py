"""The constant predictor: everybody has the training subjects' Kaplan-Meier curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from cldtrans.baselines.survival.times import only_times
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring.survival import kaplan_meier, left_at


class KaplanMeier:
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    """

    card = Card(
        title="Kaplan-Meier (constant)",
        source="Kaplan and Meier 1958, J. Am. Stat. Assoc. 53:457",
        licence="MIT (ours)",
        reproduced="",
        differs="sees neither signal nor metadata",
    )
    parameters = 0

    def __init__(
        self, task: Any, channels: tuple[str, ...], sample_rate: float, modality: str, seed: int, threads: int
    ) -> None:
        self._times = only_times(task, type(self).__name__)

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Estimate the curve of the training windows."""
        self._curve = 1 - left_at(kaplan_meier(train.y[:, 0], train.y[:, 1] == 1), self._times)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K] of an event until each time."""
        return np.tile(self._curve, (len(windows), 1))
