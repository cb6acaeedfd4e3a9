"""BENDR: a convolutional encoder and a transformer, after wav2vec 2.0.

Kostas, Aroca-Ouellette & Rudzicz 2021, Front. Hum. Neurosci. 15:653659. 256 Hz, 19 electrodes of the 10-20
system and a channel that says the window's scale; each window lies between -1 and 1. A bipolar channel goes
to its first electrode, of several the mean; an electrode without any is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cldtrans.baselines.borrowed.adapter import ELECTRODES_19, Adapter, Network, by_electrode
from cldtrans.baselines.borrowed.library import models
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card

DEEP1010_RANGE_UV = 800.0


class Bendr(Adapter):
    """The `classifier` factory; settings as in `Adapter`."""

    card = Card(
        title="BENDR",
        source="Kostas, Aroca-Ouellette & Rudzicz 2021, Front. Hum. Neurosci. 15:653659",
        licence="BSD-3-Clause (braindecode); the original has no licence, none of its code is here",
        reproduced="architecture; the encoder's 24 key names are the original's; 157.1 M parameters",
        differs="bipolar channels stand for their first electrode; the scale channel is relative to 800 µV, "
        "not to a corpus's range; the library's head",
        saw_test_data="unknown",
        seen="pretrained on TUEG 1.1 and 1.2 (paper, section 2.3): no",
        published=(("EEG-Bench seizures", "balanced accuracy", "0.501", "EEG-Bench, README"),),
        parameters=157e6,
        verified="architecture, key names of the encoder",
    )
    rate_hz = 256.0

    def montage(self, channels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Fill the 19 electrodes' places."""
        matrix = by_electrode(channels, ELECTRODES_19)
        if not matrix.any():
            raise ConfigError(f"{self.card.title} has no place for any of {', '.join(channels[:4])}")
        return matrix, [*ELECTRODES_19, "SCALE"]

    def build(self, n_samples: int) -> Network:
        """Return BENDR as published: an encoder of 512, 8 layers of 1536."""
        inner = models().BENDR(
            n_chans=len(self.names),
            n_outputs=len(self.classes),
            n_times=n_samples,
            sfreq=self.rate_hz,
        )
        return Network(inner)

    def scaled(self, x: Tensor) -> Tensor:
        """Bring each window between -1 and 1, and add the channel of its range."""
        low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        span = high - low
        unit = 2 * (x - low) / span.clamp_min(1e-9) - 1
        size = 2 * ((span / DEEP1010_RANGE_UV).clamp_max(1.0) - 0.5)
        return torch.cat([unit, size.expand(len(x), 1, x.shape[-1])], dim=1)
