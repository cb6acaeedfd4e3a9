"""LaBraM-Base: a transformer on one-second patches of named channels.

Jiang, Zhao & Lu 2024, ICLR (arXiv 2405.18765). 200 Hz, patches of 1 s, units of 100 microvolts, mean pooling
over patches as in its fine-tuning. Channels have learned places by name; a bipolar channel that its list
lacks goes to the place of its first electrode. Checkpoints have places for 16 patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cldtrans.baselines.borrowed.adapter import Adapter, Network, by_place
from cldtrans.baselines.borrowed.library import models
from cldtrans.methods.cards import Card

MOST_PATCHES = 16
_RENAMED = {"pos_embed": "position_embedding", "time_embed": "temporal_embedding"}


class Labram(Adapter):
    """The `classifier` factory; settings as in `Adapter`."""

    card = Card(
        title="LaBraM-Base",
        source="Jiang, Zhao & Lu 2024, ICLR, arXiv 2405.18765",
        licence="BSD-3-Clause (braindecode); original MIT",
        reproduced="architecture and key names, all 223 tensors of its fine-tuning module; 5.82 M parameters "
        "(5.8 M in the paper)",
        differs="bipolar channels it has no name for take their first electrode's place; one learning rate "
        "for all layers",
        saw_test_data="unknown",
        seen="the paper's appendix lists about twenty corpora; not checked here: unknown",
        published=(
            ("chbmit", "AUROC", "0.8679 ± 0.0199", "CBraMod, table 8"),
            ("chbmit", "AUPRC", "0.3287 ± 0.0402", "CBraMod, table 8"),
        ),
        parameters=5.8e6,
        verified="architecture, key names",
    )
    rate_hz = 200.0
    patch = 200

    def montage(self, channels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Take every channel that has a place, by its name or by its first electrode's."""
        models()
        from braindecode.models.labram import LABRAM_CHANNEL_ORDER

        return by_place(channels, LABRAM_CHANNEL_ORDER, self.card.title)

    def build(self, n_samples: int) -> Network:
        """Return LaBraM-Base as published for fine-tuning: 200 wide, 12 layers, 10 heads."""
        inner = models().Labram(
            n_times=min(n_samples, MOST_PATCHES * self.patch),
            n_outputs=len(self.classes),
            n_chans=len(self.names),
            sfreq=self.rate_hz,
            use_mean_pooling=True,
        )
        return Network(inner, ch_names=self.names)

    def scaled(self, x: Tensor) -> Tensor:
        """Bring microvolts to units of 100; of long windows the first 16 patches."""
        return x[..., : MOST_PATCHES * self.patch] / 100

    def rename(self, name: str) -> str | None:
        """Return the library's name of a tensor of the original, or of the library's own checkpoints."""
        name = name.removeprefix("student.")
        if name.startswith(("lm_head.", "mask_token", "head.", "final_layer.", "projection_head.", "norm.")):
            return None
        if name.startswith("patch_embed.") and not name.startswith("patch_embed.temporal_conv."):
            return name.replace("patch_embed.", "patch_embed.temporal_conv.")
        return _RENAMED.get(name, name)

    def cut(self, name: str, tensor: Tensor, own: Tensor) -> Tensor:
        """Take the learned times of the window's patches; the library holds one more, never read."""
        if name != "temporal_embedding":
            return tensor
        spare = tensor.new_zeros(1, max(own.shape[1] - tensor.shape[1], 0), tensor.shape[2])
        return torch.cat([tensor, spare], dim=1)[:, : own.shape[1]]

    def is_fresh(self, name: str) -> bool:
        """Tell the head and its norm, which pretraining does not have."""
        return name.startswith(("final_layer.", "fc_norm."))
