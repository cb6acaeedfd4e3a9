"""InceptionTime (Ismail Fawaz et al. 2020, Data Min. Knowl. Discov. 34:1936, doi 10.1007/s10618-020-00710-y).

Six inception modules (bottleneck 32; 32 filters each of 40, 20 and 10 samples beside a max-pooling branch;
batch norm; ReLU), a residual connection around every three, global average pooling, a linear layer, and an
ensemble of networks that differ in their initial weights, whose probabilities are averaged (the paper takes
five). Differences from the paper's training: limited by steps instead of 1500 epochs, the step with the
best validation metric is kept, the rate falls as a cosine, and exclusive classes are weighted to balance
because seizures are rare.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.baselines.networks import NetworkClassifier, Recipe, resampled
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

KERNELS = (40, 20, 10)
FILTERS = 32
DEPTH = 6


class InceptionModule(nn.Module):
    """One module, [B, channels, T] -> [B, 4 * FILTERS, T]."""

    def __init__(self, channels: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        narrow = FILTERS if channels > 1 else 1  # a single channel needs no bottleneck
        self.bottleneck = nn.Conv1d(channels, narrow, 1, bias=False) if channels > 1 else nn.Identity()
        self.branches = nn.ModuleList(
            nn.Conv1d(narrow, FILTERS, kernel, padding="same", bias=False) for kernel in kernels
        )
        self.pool = nn.Sequential(
            nn.MaxPool1d(3, stride=1, padding=1), nn.Conv1d(channels, FILTERS, 1, bias=False)
        )
        self.norm = nn.BatchNorm1d(FILTERS * (len(kernels) + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the branches and join them."""
        narrow = self.bottleneck(x)
        return F.relu(
            self.norm(torch.cat([*(branch(narrow) for branch in self.branches), self.pool(x)], dim=1))
        )


class InceptionNetwork(nn.Module):
    """One network, x [B, C, T] -> logits [B, K]."""

    def __init__(self, n_channels: int, n_outputs: int, kernels: tuple[int, ...] = KERNELS) -> None:
        super().__init__()
        width = FILTERS * (len(kernels) + 1)
        self.blocks = nn.ModuleList(
            InceptionModule(width if depth else n_channels, kernels) for depth in range(DEPTH)
        )
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width if k else n_channels, width, 1, bias=False), nn.BatchNorm1d(width))
            for k in range(DEPTH // 3)
        )
        self.head = nn.Linear(width, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [B, K] of windows x [B, C, T]."""
        start = x
        for depth, block in enumerate(self.blocks):
            x = block(x)
            if depth % 3 == 2:
                x = F.relu(x + self.shortcuts[depth // 3](start))
                start = x
        return self.head(x.mean(dim=-1))


class InceptionTime(NetworkClassifier):
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    ensemble : int
        Networks (5 in the paper).
    max_rate_hz : float
        Windows sampled faster are resampled to this rate, as in the published PTB-XL benchmark (100 Hz):
        at 500 Hz the network sees a fifth of the time and costs five times as much.
    **recipe
        As in `Recipe`.
    """

    card = Card(
        title="InceptionTime",
        source="Ismail Fawaz et al. 2020, Data Min. Knowl. Discov. 34:1936",
        licence="MIT (ours, from the paper)",
        reproduced="architecture: parameters counted by hand and against a public port",
        differs="limited by steps, early stop on validation, cosine rate, balanced exclusive classes",
        published=(
            ("ptbxl", "macro AUROC", "0.921 (inception1d)", "Strodthoff et al. 2021, repository, table 4"),
        ),
    )

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        ensemble: int = 5,
        max_rate_hz: float = 100.0,
        **recipe: Any,
    ) -> None:
        self._n_channels = len(channels)
        self._reduction = min(1.0, max_rate_hz / sample_rate)
        super().__init__(task, seed, threads, Recipe(**recipe), ensemble)

    def make(self, n_samples: int) -> nn.Module:
        """Return one network with fresh weights; any length will do."""
        return InceptionNetwork(self._n_channels, len(self.classes))

    def inputs(self, windows: LabelledWindows, which: np.ndarray) -> Tensor:
        """Return signals [n, C, T'] at the network's rate, by cutting the spectrum."""
        x = torch.from_numpy(windows.x(which)).to(self._device)
        return resampled(x, round(x.shape[-1] * self._reduction))
