"""CBraMod: criss-cross attention over channels and one-second patches.

Wang et al. 2025, ICLR (arXiv 2412.07236). 200 Hz, patches of 1 s, units of 100 microvolts. It knows channels
by a convolution over their order alone, so that any montage will do: the 16 bipolar ones in BIOT's order, as
in its own CHB-MIT experiment, otherwise ours.
"""

from __future__ import annotations

from torch import Tensor

from cldtrans.baselines.borrowed.adapter import TCP_16, Adapter, Network
from cldtrans.baselines.borrowed.library import models
from cldtrans.methods.cards import Card


class CBraMod(Adapter):
    """The `classifier` factory; settings as in `Adapter`.

    The paper gives 4.0 M parameters. The published module and the library's have 4.92 M without a head (its
    encoder 4.83 M, patch embedding 0.05 M, output projection 0.04 M), tensor for tensor the same; the
    library's single linear head adds 64 002 on 16 channels of 10 s, in place of the paper's three layers.
    """

    card = Card(
        title="CBraMod",
        source="Wang et al. 2025, ICLR, arXiv 2412.07236",
        licence="BSD-3-Clause (braindecode); original MIT",
        reproduced="architecture and key names, all 211 tensors; 4.92 M parameters without a head "
        "(4.0 M in the paper, 4.92 M in its code)",
        differs="one linear layer on all patches instead of three; equal early stop and steps",
        saw_test_data="unknown",
        seen="pretrained on TUEG (its repository's pretraining scripts read no other): no",
        published=(
            ("chbmit", "AUROC", "0.8892 ± 0.0154", "CBraMod, table 8"),
            ("chbmit", "AUPRC", "0.3689 ± 0.0382", "CBraMod, table 8"),
            ("chbmit", "balanced accuracy", "0.7398 ± 0.0284", "CBraMod, table 8"),
        ),
        parameters=4.0e6,
        counted="its own code has 4.92 M without a head, tensor for tensor what is here; the head depends on "
        "channels and seconds",
        verified="architecture, key names",
    )
    rate_hz = 200.0
    picked = TCP_16
    patch = 200

    def build(self, n_samples: int) -> Network:
        """Return CBraMod as published: 200 wide, 12 layers, 8 heads."""
        inner = models().CBraMod(
            n_chans=len(self.names),
            n_outputs=len(self.classes),
            n_times=n_samples,
            sfreq=self.rate_hz,
        )
        return Network(inner)

    def scaled(self, x: Tensor) -> Tensor:
        """Bring microvolts to units of 100."""
        return x / 100

    def pooled(self, at_head: Tensor) -> Tensor:
        """Average over channels and patches."""
        return at_head.flatten(1, -2).mean(1)

    def rename(self, name: str) -> str | None:
        """Return the same name; heads have no place."""
        return None if name.startswith(("final_layer.", "classifier.")) else name
