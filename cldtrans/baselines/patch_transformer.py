"""Convolutions that make tokens of patches, and a transformer over them: one network, in several sizes.

`EcgTransformer` is the architecture of the large ECG models that are fine-tuned within a memory budget: three
convolutions, then a transformer; 512 wide with 12 layers and 16 heads as their teacher, 64 wide with 1 layer
as the student that learns its probabilities (Hinton et al. 2015, arXiv 1503.02531). `PatchClassifier` is one
patch of all channels a token and 2 layers of 128, about 550 000 parameters with 129 channels, which a CPU
trains over night.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cldtrans.baselines.networks import NetworkClassifier, Recipe
from cldtrans.baselines.weights import load_counted, locate
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

MOST_WAVELENGTH = 10_000.0


class PatchTransformer(nn.Module):
    """The network, x [B, C, T] -> logits [B, K].

    Parameters
    ----------
    n_channels, n_outputs : int
        C and K.
    width, layers, heads : int
        Of the transformer.
    patches : sequence of int
        Samples that each convolution of the stem joins to one; their product is a token's.
    overlap : int
        How many times longer a kernel is than its patch.
    abnormal : bool
        Whether one more logit, that of any label at all, is given while it trains.
    dropout : float
        In the transformer.
    """

    def __init__(
        self,
        n_channels: int,
        n_outputs: int,
        width: int,
        layers: int,
        heads: int,
        patches: Sequence[int],
        overlap: int = 1,
        abnormal: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        widths = [n_channels, *(width // 2 ** (len(patches) - 1 - k) for k in range(len(patches)))]
        self.stem = nn.ModuleList(
            nn.Conv1d(widths[k], widths[k + 1], overlap * patch, patch, padding=(overlap - 1) * patch // 2)
            for k, patch in enumerate(patches)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, wide) for wide in widths[1:])
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_outputs)
        self.abnormal = nn.Linear(width, 1) if abnormal else None

    def pooled(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B D"]:
        """Compute what the heads see: the mean over tokens."""
        for convolution, norm in zip(self.stem, self.norms, strict=True):
            x = F.gelu(norm(convolution(x)))
        tokens = x.transpose(1, 2)
        tokens = tokens + _places(tokens)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens).mean(1)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B K"]:
        """Compute logits; while it trains, that of any label is the last of K + 1."""
        pooled = self.pooled(x)
        logits = self.head(pooled)
        if self.abnormal is None or not self.training:
            return logits
        return torch.cat([logits, self.abnormal(pooled)], 1)


def _places(tokens: Tensor) -> Tensor:
    """Sines and cosines of the tokens' places [L, D] (Vaswani et al. 2017, arXiv 1706.03762)."""
    half = tokens.shape[2] // 2
    rate = torch.exp(-math.log(MOST_WAVELENGTH) * torch.arange(half, device=tokens.device) / half)
    angle = torch.arange(tokens.shape[1], device=tokens.device)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1).to(tokens.dtype)


class PatchClassifier(NetworkClassifier):
    """The `classifier` factory of a small transformer over patches.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    width, layers, heads, patches, overlap, dropout
        As in `PatchTransformer`.
    weights : str, optional
        Checkpoint (safetensors) to start from, whose heads are left out where they do not fit; None: fresh.
    **recipe
        As in `Recipe`.
    """

    card = Card(
        title="Patch transformer",
        source="ours",
        licence="MIT (ours)",
        reproduced="",
        differs="a patch of 10 samples a token, 2 layers, 128 wide",
    )

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        patches: Sequence[int] = (10,),
        overlap: int = 1,
        dropout: float = 0.1,
        weights: str | None = None,
        **recipe: Any,
    ) -> None:
        self._shape: dict[str, Any] = {
            "width": width,
            "layers": layers,
            "heads": heads,
            "patches": tuple(patches),
        }
        self._shape |= {"overlap": overlap, "dropout": dropout}
        self._n_channels, self._weights = len(channels), weights
        self.start = "from scratch" if weights is None else f"weights {weights}"
        super().__init__(task, seed, threads, Recipe(**recipe))

    def make(self, n_samples: int) -> nn.Module:
        """Return the network with fresh weights; any length will do."""
        return PatchTransformer(self._n_channels, len(self.classes), **self._shape)

    def started(self, n_samples: int, member: int) -> nn.Module:
        """Return the network with a checkpoint's weights, where one is given."""
        network = super().started(n_samples, member)
        if self._weights is not None:
            found = load_counted(network, locate(self._weights), _without_heads, _is_head)
            self.notes.append(f"{found.matched} tensors from the checkpoint, {found.fresh} fresh")
        return network

    def inputs(self, windows: LabelledWindows, which: Any) -> Tensor:
        """Return standardised signals [n, C, T]."""
        return torch.from_numpy(windows.x(which))


class EcgTransformer(PatchClassifier):
    """The `classifier` factory of teacher and student.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads, **settings
        As `PatchClassifier`; by default the student.
    abnormal : float
        Weight of the loss of a further head, whether there is any label at all; it is not used afterwards.
    teacher : str, optional
        Checkpoint of a teacher for the same labels, whose probabilities are learned beside them; None: no.
    teacher_shape : mapping, optional
        Its width, layers and heads, where they are not those of `TEACHER`.
    distilled : float
        Weight of the teacher's probabilities, beside one less it of the labels.
    """

    card = Card(
        title="ECG transformer",
        source="H-Tuning, ICML 2025: sizes of teacher and student, from its description",
        licence="MIT (ours)",
        reproduced="widths, blocks, layers and heads of its medium teacher and of its student",
        differs="kernels, norms and positions are ours; none of its code was used",
    )

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        width: int = 64,
        layers: int = 1,
        heads: int = 4,
        patches: Sequence[int] = (5, 4, 2),
        overlap: int = 3,
        abnormal: float = 0.0,
        teacher: str | None = None,
        teacher_shape: dict[str, Any] | None = None,
        distilled: float = 0.5,
        **settings: Any,
    ) -> None:
        self._abnormal, self._distilled = abnormal, distilled
        self._teacher_path, self._teacher_shape = teacher, TEACHER | (teacher_shape or {})
        self._teacher: nn.Module | None = None
        shape: dict[str, Any] = {
            "width": width,
            "layers": layers,
            "heads": heads,
            "patches": patches,
            "overlap": overlap,
        }
        super().__init__(task, channels, sample_rate, modality, seed, threads, **shape, **settings)

    def make(self, n_samples: int) -> nn.Module:
        """Return the network with fresh weights, and load the teacher where there is one."""
        return PatchTransformer(
            self._n_channels, len(self.classes), **self._shape, abnormal=self._abnormal > 0
        )

    def extra_inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the teacher's probabilities [n, K] of inputs, where there is one."""
        if self._teacher_path is None:
            return ()
        if self._teacher is None:
            shape = self._shape | self._teacher_shape
            network = PatchTransformer(self._n_channels, len(self.classes), **shape).to(self._device)
            load_counted(network, Path(self._teacher_path), _without_auxiliary, lambda name: False)
            self._teacher = network.eval().requires_grad_(False)
        with torch.no_grad():
            logits = self._teacher(x)
            return (logits.sigmoid() if self.kind == "multilabel" else logits.softmax(1),)

    def _loss(self, logits: Tensor, y: Tensor, weights: Tensor | None, *taught: Tensor) -> Tensor:
        """Cross-entropy to the labels, to the teacher's probabilities, and of any label at all."""
        own = logits[:, : len(self.classes)]
        loss = super()._loss(own, y, weights)
        for probability in taught:
            if self.kind == "multilabel":
                teacher = F.binary_cross_entropy_with_logits(own, probability)
            else:
                teacher = F.cross_entropy(own, probability)
            loss = (1 - self._distilled) * loss + self._distilled * teacher
        if logits.shape[1] > own.shape[1]:
            some = (y > 0).any(1) if self.kind == "multilabel" else y > 0
            loss = loss + self._abnormal * F.binary_cross_entropy_with_logits(logits[:, -1], some.to(logits))
        return loss


TEACHER: dict[str, Any] = {"width": 512, "layers": 12, "heads": 16}
"""The medium teacher: 3 convolutions, 12 layers."""


def _is_head(name: str) -> bool:
    return name.startswith(("head.", "abnormal."))


def _without_heads(name: str) -> str | None:
    return None if _is_head(name) else name


def _without_auxiliary(name: str) -> str | None:
    return None if name.startswith("abnormal.") else name
