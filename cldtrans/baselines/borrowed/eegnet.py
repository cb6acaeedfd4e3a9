"""EEGNet: temporal, depthwise spatial and separable convolutions.

Lawhern et al. 2018, J. Neural Eng. 15:056013: EEGNet-8,2 at 128 Hz with kernels of half a second.
"""

from __future__ import annotations

from torch import Tensor

from cldtrans.baselines.borrowed.adapter import Adapter, Network
from cldtrans.baselines.borrowed.library import models
from cldtrans.methods.cards import Card


class EegNet(Adapter):
    """The `classifier` factory; settings as in `Adapter`."""

    card = Card(
        title="EEGNet-8,2",
        source="Lawhern et al. 2018, J. Neural Eng. 15:056013",
        licence="BSD-3-Clause (braindecode)",
        reproduced="architecture: parameters as counted from the paper's table 2",
        differs="windows and training of this protocol; channels of unit variance",
        published=(("chbmit", "AUROC", "0.8048", "CBraMod, table 8"),),
    )
    rate_hz = 128.0

    def build(self, n_samples: int) -> Network:
        """Return EEGNet-8,2."""
        inner = models().EEGNet(
            n_chans=len(self.names),
            n_outputs=len(self.classes),
            n_times=n_samples,
            kernel_length=round(self.rate_hz / 2),
        )
        return Network(inner)

    def scaled(self, x: Tensor) -> Tensor:
        """Standardise each channel of a window."""
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True).clamp_min(1e-6)
