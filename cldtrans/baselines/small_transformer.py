"""A small transformer over channels and time: what attention gives without pretraining.

Patches of a second of each channel, embedded linearly; two layers, 128 wide, four heads, each with attention
over time within a channel, attention over channels within a patch, and a feed-forward part of 512. The place
of a channel is its place on the head (its direction, of ECG leads), so that any set of channels will do;
that of a patch is the usual sines (Vaswani et al. 2017, NeurIPS). About 546 k parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cldtrans.baselines.networks import NetworkClassifier, Recipe, resampled
from cldtrans.data.montages.places import places
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

RATE_HZ = 128.0
PATCH = 128  # samples
WIDTH = 128
HEADS = 4
LAYERS = 2


class Layer(nn.Module):
    """Attention over time, attention over channels, feed-forward; [B, C, N, F] to the same."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.over_time, self.over_channels = (
            nn.MultiheadAttention(WIDTH, HEADS, dropout, batch_first=True) for _ in range(2)
        )
        self.feed_forward = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three, each on what is normalised before and added to its input."""
        x = x + self.dropout(_attended(self.over_time, self.norms[0](x)))
        across = _attended(self.over_channels, self.norms[1](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.dropout(across)
        return x + self.dropout(self.feed_forward(self.norms[2](x)))


class SmallNetwork(nn.Module):
    """The network, x [B, C, T] -> logits [B, K].

    Parameters
    ----------
    place : Tensor [C, 3]
        Of the channels.
    n_outputs : int
        K.
    dropout : float
        Share.
    """

    place: Tensor

    def __init__(self, place: Tensor, n_outputs: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("place", place)
        self.embed, self.locate = nn.Linear(PATCH, WIDTH), nn.Linear(3, WIDTH)
        self.layers = nn.Sequential(*(Layer(dropout) for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits of windows, whose end is left out where it fills no patch."""
        patches = x.unfold(-1, PATCH, PATCH)
        tokens = self.embed(patches) + self.locate(self.place)[:, None] + _sines(patches)
        return self.head(self.norm(self.layers(tokens)).mean((1, 2)))


class SmallTransformer(NetworkClassifier):
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    **recipe
        As in `Recipe`.
    """

    card = Card(
        title="Small transformer",
        source="ours; Vaswani et al. 2017, NeurIPS",
        licence="MIT (ours)",
        reproduced="2 layers, 128 wide, 4 heads, about 546 k parameters",
        differs="attention over time and over channels in turn, after no single paper",
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
        self._place = torch.from_numpy(np.nan_to_num(places(channels, modality)).astype(np.float32))
        self._source_rate_hz = sample_rate
        super().__init__(task, seed, threads, Recipe(**recipe))

    def make(self, n_samples: int) -> nn.Module:
        """Return the network with fresh weights; any length of a patch or more will do."""
        return SmallNetwork(self._place, len(self.classes))

    def inputs(self, windows: LabelledWindows, which: np.ndarray) -> Tensor:
        """Return standardised signals [n, C, T'] at 128 Hz, padded to a patch where they are shorter."""
        x = torch.from_numpy(windows.x(which)).to(self._device)
        x = resampled(x, round(x.shape[-1] * RATE_HZ / self._source_rate_hz))
        return nn.functional.pad(x, (0, max(0, PATCH - x.shape[-1])))


def _attended(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Attend along the third axis of x [B, C, N, F]."""
    rows = x.flatten(0, 1)
    return attention(rows, rows, rows, need_weights=False)[0].unflatten(0, x.shape[:2])


def _sines(patches: Tensor) -> Tensor:
    """Return the places of patches [B, C, N, T] in time, [N, WIDTH]."""
    at = torch.arange(patches.shape[2], device=patches.device)[:, None]
    rate = 1e4 ** (-torch.arange(0, WIDTH, 2, device=patches.device) / WIDTH)
    return torch.cat([torch.sin(at * rate), torch.cos(at * rate)], dim=1)
