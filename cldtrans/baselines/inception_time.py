"""InceptionTime (Ismail Fawaz et al. 2020, Data Min. Knowl. Discov. 34:1936, doi 10.1007/s10618-020-00710-y).

Six inception modules (bottleneck 32; 32 filters each of 40, 20 and 10 samples beside a max-pooling branch;
batch norm; ReLU), a residual connection around every three, global average pooling, a linear layer, and an
ensemble of networks that differ in their initial weights, whose probabilities are averaged (the paper takes
five). Differences from the paper's training: limited by steps instead of 1500 epochs, the step with the
best validation metric is kept, the rate falls as a cosine, and exclusive classes are weighted to balance
because seizures are rare.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from cldtrans.machine import best_device
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring.metrics import PRIMARY, classification

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


class InceptionTime:
    """The `classifier` factory of the config.

    Parameters
    ----------
    task : Task
        What is predicted.
    channels : tuple of str
        Names of the C channels.
    sample_rate : float
        Hertz.
    modality : one of "eeg", "ecg"
        Of the windows; not used.
    seed : int
        Of weights and batches.
    threads : int
        torch's; part of the result's last bits.
    steps : int
        Optimiser steps of one network.
    ensemble : int
        Networks (5 in the paper).
    batch_size : int
        Windows a step.
    learning_rate : float
        Peak.
    max_rate_hz : float
        Windows sampled faster are resampled to this rate, as in the published PTB-XL benchmark (100 Hz):
        at 500 Hz the network sees a fifth of the time and costs five times as much.
    validate_every : int
        Steps between looks at validation windows.
    validate_windows : int
        At most so many of them are used.
    """

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        steps: int = 2000,
        ensemble: int = 5,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        max_rate_hz: float = 100.0,
        validate_every: int = 100,
        validate_windows: int = 4096,
    ) -> None:
        self.kind, self.classes, self.seed = task.kind, task.classes, seed
        self.steps, self.batch_size, self.learning_rate = steps, batch_size, learning_rate
        self.validate_every, self.validate_windows = validate_every, validate_windows
        self._reduction = min(1.0, max_rate_hz / sample_rate)
        self._device = best_device()
        self.device = str(self._device)
        self.notes: list[str] = []
        torch.set_num_threads(threads)
        self._networks = []
        for member in range(ensemble):
            torch.manual_seed(1000 * seed + member)
            self._networks.append(InceptionNetwork(len(channels), len(task.classes)).to(self._device))

    @property
    def parameters(self) -> int:
        """Number of parameters of the whole ensemble."""
        return sum(p.numel() for network in self._networks for p in network.parameters())

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Train every network; validation windows choose the step that is kept."""
        weights = self._class_weights(train.y)
        some = np.random.default_rng(self.seed).permutation(len(val))[: self.validate_windows]
        some.sort()
        for member, network in enumerate(self._networks):
            self._fit_one(network, train, val, some, weights, np.random.default_rng([self.seed, member]))

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K], the mean over the networks."""
        everything = np.arange(len(windows))
        return np.mean([self._predict(network, windows, everything) for network in self._networks], axis=0)

    def _fit_one(
        self,
        network: InceptionNetwork,
        train: LabelledWindows,
        val: LabelledWindows,
        some: np.ndarray,
        weights: Tensor | None,
        rng: np.random.Generator,
    ) -> None:
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        best, kept, queue = -np.inf, None, np.zeros(0, dtype=int)
        size = min(self.batch_size, len(train))
        for step in tqdm(range(1, self.steps + 1), desc="InceptionTime", disable=None):
            if len(queue) < size:
                queue = np.concatenate([queue, rng.permutation(len(train))])
            batch, queue = np.sort(queue[:size]), queue[size:]
            network.train()
            x = self._input(train, batch)
            loss = self._loss(network(x), torch.as_tensor(train.y[batch]).to(self._device), weights)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            if len(some) and (step % self.validate_every == 0 or step == self.steps):
                quality = self._quality(network, val, some)
                if quality is not None and quality > best:
                    best, kept = quality, copy.deepcopy(network.state_dict())
        if kept is not None:
            network.load_state_dict(kept)
        elif not self.notes:
            self.notes.append(f"validation does not define {PRIMARY[self.kind]}: the last step is kept")

    def _input(self, windows: LabelledWindows, which: np.ndarray) -> Tensor:
        """Return signals [n, C, T'] at the network's rate, by cutting the spectrum."""
        x = torch.from_numpy(windows.x(which)).to(self._device)
        n_samples = round(x.shape[-1] * self._reduction)
        if n_samples == x.shape[-1]:
            return x
        spectrum = torch.fft.rfft(x)[..., : n_samples // 2 + 1]
        return torch.fft.irfft(spectrum, n_samples) * (n_samples / x.shape[-1])

    def _loss(self, logits: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        if self.kind == "multilabel":
            known = (y >= 0).float()
            each = F.binary_cross_entropy_with_logits(logits, y.clamp(min=0).float(), reduction="none")
            return (each * known).sum() / known.sum().clamp(min=1)
        return F.cross_entropy(logits, y.long(), weight=weights)

    def _class_weights(self, y: np.ndarray) -> Tensor | None:
        if self.kind == "multilabel":
            return None
        count = np.bincount(y, minlength=len(self.classes))
        balanced = np.where(count > 0, len(y) / np.maximum(count, 1) / (count > 0).sum(), 0.0)
        return torch.tensor(balanced, dtype=torch.float32, device=self._device)

    def _quality(self, network: InceptionNetwork, val: LabelledWindows, some: np.ndarray) -> float | None:
        proba = self._predict(network, val, some)
        together = np.zeros(len(some), dtype=int)
        return classification(self.kind, self.classes, val.y[some], proba, together).metrics[
            PRIMARY[self.kind]
        ]

    @torch.inference_mode()
    def _predict(self, network: InceptionNetwork, windows: LabelledWindows, which: np.ndarray) -> np.ndarray:
        network.eval()
        pieces = [np.zeros((0, len(self.classes)))]
        for first in range(0, len(which), 2 * self.batch_size):
            x = self._input(windows, which[first : first + 2 * self.batch_size])
            logits = network(x).double()
            proba = logits.sigmoid() if self.kind == "multilabel" else logits.softmax(dim=1)
            pieces.append(proba.cpu().numpy())
        return np.concatenate(pieces)
