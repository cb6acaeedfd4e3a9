"""TinySleepNet: a small convolutional encoder of 30-s epochs, and an LSTM over the epochs before.

Supratak & Guo 2020, EMBC, doi 10.1109/EMBC44109.2020.9176741. One EEG channel at 100 Hz; four convolutions
of 128 filters; one LSTM of 128 units, unidirectional, over the night. A stage depends on what came before,
so an epoch is read with the `CONTEXT` - 1 epochs before it, whoever labelled them: a budget takes labels
away, not the night. In training, runs of 20 neighbouring epochs are drawn together, beginning anywhere, and
signals are shifted by up to a tenth of an epoch, both as in the paper.

The authors' LSTM has peepholes and one bias, torch's has no peepholes and two: 1 516 421 parameters here, 1
516 293 by their code. The network that scores 0.79 macro F1 with 83 k parameters is another one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from cldtrans.baselines.networks import NetworkClassifier, Recipe, resampled
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

RATE_HZ = 100.0
EPOCH_S = 30.0
CONTEXT = 20
FILTERS = 128
UNITS = 128
MOST_SHIFT = 0.1  # of an epoch
WANTED = ("EEG Fpz-Cz", "C4-M1", "C3-M2", "EEG Pz-Oz")


@dataclass
class Nights:
    """Epochs in the order of time, and which of them are asked for.

    Attributes
    ----------
    x : Tensor [n, 1, T]
        Signals.
    lengths : list of int
        Epochs of each unbroken stretch of one recording; their sum is n.
    asked : Tensor [m] of int
        Positions of the epochs whose stage is wanted.
    """

    x: Tensor
    lengths: list[int]
    asked: Tensor

    def to(self, device: torch.device) -> Nights:
        """Return the same on another device."""
        return Nights(self.x.to(device), self.lengths, self.asked.to(device))


class Network(nn.Module):
    """The encoder and the LSTM; `Nights` to logits [m, K].

    Parameters
    ----------
    n_samples : int
        Of an epoch.
    n_outputs : int
        K.
    """

    def __init__(self, n_samples: int, n_outputs: int) -> None:
        super().__init__()
        first, stride = round(RATE_HZ / 2), int(RATE_HZ / 16)
        self.encoder = nn.Sequential(
            *_convolved(1, first, stride, n_samples),
            nn.MaxPool1d(8, 8, ceil_mode=True),
            nn.Dropout(0.5),
            *(layer for _ in range(3) for layer in _convolved(FILTERS, 8)),
            nn.MaxPool1d(4, 4, ceil_mode=True),
            nn.Flatten(),
            nn.Dropout(0.5),
        )
        length = math.ceil(math.ceil(math.ceil(n_samples / stride) / 8) / 4)
        self.memory = nn.LSTM(FILTERS * length, UNITS, batch_first=True)
        self.forget = nn.Dropout(0.5)
        self.head = nn.Linear(UNITS, n_outputs)

    def forward(self, nights: Nights) -> Tensor:
        """Compute logits [m, K] of the epochs asked for."""
        x = nights.x
        if self.training:
            most = int(MOST_SHIFT * x.shape[-1])
            shift = int(torch.randint(-most, most + 1, ()))
            x = x.flatten().roll(shift).view_as(x)
        stretches = self.encoder(x).split(nights.lengths)
        found, _ = self.memory(pad_sequence(list(stretches), batch_first=True))
        flat = torch.cat([row[:length] for row, length in zip(found, nights.lengths, strict=True)])
        return self.head(self.forget(flat[nights.asked]))


class TinySleepNet(NetworkClassifier):
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    **recipe
        As in `Recipe`.

    Raises
    ------
    ConfigError
        For recordings without an EEG channel that sleep is staged from.
    """

    card = Card(
        title="TinySleepNet",
        source="Supratak & Guo 2020, EMBC, doi 10.1109/EMBC44109.2020.9176741",
        licence="MIT (ours); the authors' is Apache-2.0",
        reproduced="architecture, parameters within 0.01 %, runs of 20 epochs, shifts, rate and batch size",
        differs="no peepholes; an epoch sees 20 epochs or more, not the night so far; classes weighted "
        "to balance; no gradient clipping",
        parameters=1_516_293,
        published=(
            ("sleepedf", "macro F1", "0.781 (78 subjects)", "secondary transcription"),
            ("sleepedf", "kappa", "0.77", "secondary transcription"),
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
        **recipe: Any,
    ) -> None:
        found = [channels.index(name) for name in WANTED if name in channels]
        if not found:
            raise ConfigError(
                f"TinySleepNet reads one of {', '.join(WANTED)}, of which there is none among "
                f"{', '.join(channels[:4])}; leave that dataset out"
            )
        self._channel, self._source_rate_hz = found[0], sample_rate
        super().__init__(task, seed, threads, Recipe(**recipe))

    def make(self, n_samples: int) -> nn.Module:
        """Return a network with fresh weights for epochs of `n_samples` at our rate."""
        return Network(self._length(n_samples), len(self.classes))

    def drawn(self, windows: LabelledWindows, rng: np.random.Generator) -> np.ndarray:
        """Return all windows in runs of 20 that begin anywhere, the runs in random order."""
        first = int(rng.integers(CONTEXT))
        runs = np.split(np.arange(len(windows)), np.arange(first, len(windows), CONTEXT))
        return np.concatenate([runs[k] for k in rng.permutation(len(runs))])

    def inputs(self, windows: LabelledWindows, which: np.ndarray) -> Nights:
        """Return some epochs with those before them in their recordings."""
        rows, lengths, asked = stretches(windows, which)
        x = torch.from_numpy(windows.of_rows(rows).signals()[:, [self._channel]])
        return Nights(resampled(x, self._length(x.shape[-1])), lengths, torch.from_numpy(asked))

    def _length(self, n_samples: int) -> int:
        return round(n_samples * RATE_HZ / self._source_rate_hz)


def stretches(windows: LabelledWindows, which: np.ndarray) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Find the rows of a shard set that some windows are read with.

    Parameters
    ----------
    windows : LabelledWindows
        Epochs, whose shard set holds each recording in the order of time.
    which : array [m] of int
        Positions among `windows`.

    Returns
    -------
    rows : array [n] of int
        Those asked for and the `CONTEXT` - 1 before each in its recording.
    lengths : list of int
        Of unbroken stretches.
    asked : array [m] of int
        Where in `rows` those asked for are.
    """
    wanted = windows.rows[which]
    recording = windows.shards.index["recording"].to_numpy()
    before = wanted[:, None] - np.arange(CONTEXT)
    same = (before >= 0) & (recording[np.maximum(before, 0)] == recording[wanted][:, None])
    rows = np.unique(before[same])
    breaks = np.flatnonzero((np.diff(rows) != 1) | (recording[rows[1:]] != recording[rows[:-1]])) + 1
    return rows, np.diff([0, *breaks, len(rows)]).tolist(), np.searchsorted(rows, wanted)


def _convolved(n_in: int, kernel: int, stride: int = 1, n_samples: int = 0) -> list[nn.Module]:
    """Return a convolution with as much padding as keeps the length over the stride, norm, ReLU."""
    missing = kernel - stride if not n_samples % stride else kernel - n_samples % stride
    pad = nn.ZeroPad1d((missing // 2, missing - missing // 2))
    return [pad, nn.Conv1d(n_in, FILTERS, kernel, stride, bias=False), nn.BatchNorm1d(FILTERS), nn.ReLU()]
