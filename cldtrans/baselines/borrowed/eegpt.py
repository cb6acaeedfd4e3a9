"""EEGPT: a transformer whose summary tokens read all channels of a patch.

Wang et al. 2024, NeurIPS 37. 256 Hz, patches of 0.25 s, common average reference, millivolts. As in its
linear probes a learned map brings our channels to its 19 electrodes; the 62 electrodes have places by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from cldtrans.baselines.borrowed.adapter import Adapter, Network
from cldtrans.baselines.borrowed.library import models
from cldtrans.methods.cards import Card


class Eegpt(Adapter):
    """The `classifier` factory; settings as in `Adapter`.

    The paper names 101 M for its largest model, which counts predictor and reconstructor. What is
    transferred, its target encoder, has 25.29 M here and in the original's code, tensor for tensor.
    """

    card = Card(
        title="EEGPT",
        source="Wang et al. 2024, NeurIPS 37",
        licence="BSD-3-Clause (braindecode); original MIT",
        reproduced="target encoder and its key names, all 102 tensors, 25.29 M parameters; patches of 64 "
        "samples without overlap as in its pretraining",
        differs="all weights learn in mode finetune, where the paper probes",
        saw_test_data="unknown",
        seen="its pretraining script reads EEGMMIDB among others (repository): yes for EEGMMIDB; CHB-MIT and "
        "Sleep-EDF are not in it, Sleep-EDF is one of its downstream sets",
        parameters=101e6,
        counted="the paper counts predictor and reconstructor, which are not transferred: the target encoder "
        "has 25.29 M in its code, too",
        verified="architecture, key names",
    )
    rate_hz = 256.0
    patch = 64

    def montage(self, channels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Take ours as they are, common average: the network learns the map to its electrodes."""
        n = len(channels)
        return np.eye(n) - 1 / n, list(channels)

    def build(self, n_samples: int) -> Network:
        """Return EEGPT's target encoder as published: 512 wide, 8 layers, 4 summary tokens."""
        inner = models().EEGPT(
            n_chans=len(self.names),
            n_outputs=len(self.classes),
            n_times=n_samples,
            sfreq=self.rate_hz,
            patch_stride=self.patch,
        )
        return Network(inner)

    def scaled(self, x: Tensor) -> Tensor:
        """Bring microvolts to millivolts."""
        return x / 1000

    def pooled(self, at_head: Tensor) -> Tensor:
        """Average over patches and summary tokens."""
        return at_head.flatten(1, -2).mean(1)

    def rename(self, name: str) -> str | None:
        """Return the library's name; of a checkpoint the target encoder alone has a place."""
        return name if name.startswith("target_encoder.") else None

    def is_fresh(self, name: str) -> bool:
        """Tell the head, the map of channels, and the places of electrodes, which names give."""
        return name.startswith(("final_layer.", "chan_proj.")) or name == "chans_id"
