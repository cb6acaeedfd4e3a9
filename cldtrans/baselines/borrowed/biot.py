"""BIOT: a linear-attention transformer on spectra of one-second segments of each channel.

Yang, Westover & Sun 2023, NeurIPS 36 (arXiv 2305.10351). 200 Hz; a segment is the magnitude spectrum of one
second, every half second; each channel is divided by its 95th percentile. Channels are tokens by position:
the 16 bipolar ones of the TUH montage in BIOT's order where they are recorded, otherwise ours in our order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cldtrans.baselines.borrowed.adapter import TCP_16, Adapter, Network
from cldtrans.baselines.borrowed.library import models
from cldtrans.methods.cards import Card


class Biot(Adapter):
    """The `classifier` factory; settings as in `Adapter`."""

    card = Card(
        title="BIOT",
        source="Yang, Westover & Sun 2023, NeurIPS 36, arXiv 2305.10351",
        licence="BSD-3-Clause (braindecode); original MIT",
        reproduced="architecture and key names (57 tensors of its encoder, one of which is an index); "
        "3.19 M parameters (3.2 M in the paper)",
        differs="windows by this protocol; 10 s segments of 16 channels as there, scaled by window",
        saw_test_data="unknown",
        seen="six-datasets was trained with CHB-MIT's training labels (paper, section 3.6): yes; "
        "EEG-PREST-16-channels and EEG-SHHS+PREST-18-channels saw neither CHB-MIT nor Sleep-EDF (same)",
        parameters=3.2e6,
        verified="architecture, key names",
        published=(
            ("chbmit", "AUROC", "0.8646 from scratch, 0.8679 PREST, 0.8761 six datasets", "BIOT, table 2"),
            ("chbmit", "AUPRC", "0.2573, 0.3072, 0.3277", "BIOT, table 2"),
        ),
    )
    rate_hz = 200.0
    picked = TCP_16

    def build(self, n_samples: int) -> Network:
        """Return BIOT as published: 256 wide, 4 layers, 8 heads."""
        inner = models().BIOT(
            n_chans=len(self.names),
            n_outputs=len(self.classes),
            n_times=n_samples,
            sfreq=int(self.rate_hz),
        )
        return Network(inner)

    def scaled(self, x: Tensor) -> Tensor:
        """Divide each channel by the 95th percentile of its size."""
        return x / (torch.quantile(x.abs(), 0.95, dim=-1, keepdim=True) + 1e-8)

    def rename(self, name: str) -> str | None:
        """Return the library's name; a checkpoint holds the encoder alone, or all of the library's BIOT."""
        if name == "index" or name.startswith(("classifier.", "final_layer.")):
            return None
        name = name.removeprefix("biot.")
        return name if name.startswith("encoder.") else f"encoder.{name}"
