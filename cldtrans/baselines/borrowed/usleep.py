"""U-Sleep: a U-net over time that stages every epoch of a stretch of sleep.

Perslev et al. 2021, npj Digit. Med. 4:72, at 128 Hz; here one epoch of 30 s at a time, whose neighbours it
does not see, on one EEG and one EOG channel as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cldtrans.baselines.borrowed.adapter import Adapter, Network, by_name
from cldtrans.baselines.borrowed.library import models
from cldtrans.methods.cards import Card


class USleep(Adapter):
    """The `classifier` factory; settings as in `Adapter`."""

    card = Card(
        title="U-Sleep",
        source="Perslev et al. 2021, npj Digit. Med. 4:72",
        licence="BSD-3-Clause (braindecode); original MIT",
        reproduced="architecture, 3.11 M parameters (3.1 M in the paper)",
        differs="one epoch at a time instead of 35; trained on this corpus alone",
        parameters=3.1e6,
    )
    rate_hz = 128.0

    def montage(self, channels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Pick Fpz-Cz and the EOG."""
        matrix, names = by_name(channels, ("FPZ-CZ",), self.card.title)
        eye = [place for place, name in enumerate(channels) if name.upper().startswith("EOG")]
        rows = np.zeros((len(eye[:1]), len(channels)))
        rows[:, eye[:1]] = 1
        return np.concatenate([matrix, rows]), [*names, *(channels[k] for k in eye[:1])]

    def build(self, n_samples: int) -> Network:
        """Return the network as published: depth 12."""
        inner = models().USleep(
            n_chans=len(self.names),
            n_outputs=len(self.classes),
            sfreq=self.rate_hz,
            input_window_seconds=n_samples / self.rate_hz,
            ensure_odd_conv_size=True,
        )
        return Network(inner)

    def scaled(self, x: Tensor) -> Tensor:
        """Divide by the interquartile range about the median, and clip at 20 of it."""
        low, middle, high = torch.quantile(x, x.new_tensor([0.25, 0.5, 0.75]), dim=-1)
        return ((x - middle[..., None]) / (high - low)[..., None].clamp_min(1e-6)).clamp(-20, 20)

    def pooled(self, at_head: Tensor) -> Tensor:
        """Average over time."""
        return at_head.flatten(2).mean(-1)
