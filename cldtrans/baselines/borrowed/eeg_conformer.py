"""EEG Conformer: convolutions, then self-attention over pooled stretches of time.

Song et al. 2023, IEEE Trans. Neural Syst. Rehabil. Eng. 31:710, at 250 Hz.
"""

from __future__ import annotations

from torch import Tensor

from cldtrans.baselines.borrowed.adapter import Adapter, Network
from cldtrans.baselines.borrowed.library import models
from cldtrans.methods.cards import Card


class EegConformer(Adapter):
    """The `classifier` factory; settings as in `Adapter`."""

    card = Card(
        title="EEG Conformer",
        source="Song et al. 2023, IEEE Trans. Neural Syst. Rehabil. Eng. 31:710",
        licence="BSD-3-Clause (braindecode); original GPL-3",
        reproduced="architecture, 6 layers of 40",
        differs="longer windows make its first dense layer larger; no augmentation",
        published=(("chbmit", "AUROC", "0.8226", "CBraMod, table 8"),),
    )
    rate_hz = 250.0

    def build(self, n_samples: int) -> Network:
        """Return the network as published."""
        inner = models().EEGConformer(
            n_chans=len(self.names),
            n_outputs=len(self.classes),
            n_times=n_samples,
            sfreq=self.rate_hz,
        )
        return Network(inner)

    def scaled(self, x: Tensor) -> Tensor:
        """Standardise each channel of a window."""
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True).clamp_min(1e-6)
