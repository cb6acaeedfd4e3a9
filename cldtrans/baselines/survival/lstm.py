"""A recurrent network on the signal with a head of hazards: what a small sequence model reaches.

Hochreiter and Schmidhuber 1997, Neural Comput. 9:1735. Windows are filtered and brought to 50 Hz (EEG) or 100
Hz (ECG), a strided convolution makes tokens of them, and two layers read these in both directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cldtrans.baselines.networks import NetworkClassifier, Recipe, resampled
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

RATE_HZ = {"eeg": 50.0, "ecg": 100.0}
TOKEN_S = 0.32


class _Recurrent(nn.Module):
    """Signals [B, C, T] to logits [B, K]."""

    def __init__(self, n_channels: int, stride: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.tokens = nn.Conv1d(n_channels, width, 2 * stride, stride=stride, padding=stride // 2)
        self.memory = nn.LSTM(width, width, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.memory(self.tokens(x).relu().transpose(1, 2))
        return self.head(states.mean(dim=1))


class Lstm(NetworkClassifier):
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    width : int
        Of a layer, each way.
    **recipe
        Fields of `Recipe`.
    """

    card = Card(
        title="LSTM",
        source="Hochreiter and Schmidhuber 1997, Neural Comput. 9:1735",
        licence="MIT (ours)",
        reproduced="",
        differs="ours: a strided convolution before two bidirectional layers",
    )

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        width: int = 64,
        **recipe: Any,
    ) -> None:
        super().__init__(task, seed, threads, Recipe(**recipe))
        self._channels, self._width = len(channels), width
        self._rate_hz = min(RATE_HZ[modality], sample_rate)
        self._source_hz = sample_rate

    def make(self, n_samples: int) -> nn.Module:
        """Return a network with fresh weights."""
        stride = max(2, round(TOKEN_S * self._rate_hz))
        return _Recurrent(self._channels, stride, self._width, len(self.classes))

    def inputs(self, windows: LabelledWindows, which: np.ndarray) -> Tensor:
        """Return standardised signals [B, C, T'] at the network's rate; masked channels are zero."""
        x = torch.from_numpy(windows.x(which))
        return resampled(x, round(x.shape[-1] * self._rate_hz / self._source_hz))
