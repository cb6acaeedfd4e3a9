"""AttnSleep: two convolutional paths, recalibration, and causal attention over one epoch of sleep.

Eldele et al. 2021, IEEE Trans. Neural Syst. Rehabil. Eng. 29:809, on one EEG channel (Fpz-Cz) at 100 Hz and
epochs of 30 s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from cldtrans.baselines.borrowed.adapter import Adapter, Network, by_name
from cldtrans.baselines.borrowed.library import models
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card

EPOCH_S = 30.0


class AttnSleep(Adapter):
    """The `classifier` factory; settings as in `Adapter`."""

    card = Card(
        title="AttnSleep",
        source="Eldele et al. 2021, IEEE Trans. Neural Syst. Rehabil. Eng. 29:809",
        licence="BSD-3-Clause (braindecode)",
        reproduced="architecture, one epoch at a time",
        differs="the loss is weighted to balance, not by the paper's hand-set class weights",
        published=(
            ("sleepedf", "macro F1", "0.751 (78 subjects, one epoch)", "secondary transcription"),
            ("sleepedf", "kappa", "0.74", "secondary transcription"),
        ),
    )
    rate_hz = 100.0

    def montage(self, channels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Pick Fpz-Cz."""
        return by_name(channels, ("FPZ-CZ",), self.card.title)

    def build(self, n_samples: int) -> Network:
        """Return the network as published, for epochs of 30 s alone."""
        if n_samples != round(EPOCH_S * self.rate_hz):
            raise ConfigError(
                f"{self.card.title} reads epochs of {EPOCH_S:g} s, not of {n_samples / self.rate_hz:g} s"
            )
        inner = models().AttnSleep(
            n_chans=1, n_outputs=len(self.classes), n_times=n_samples, sfreq=self.rate_hz
        )
        return Network(inner)

    def scaled(self, x: Tensor) -> Tensor:
        """Standardise each epoch."""
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True).clamp_min(1e-6)
