"""ECG-FM: wav2vec 2.0 on twelve leads, after its paper and the settings that its repository gives.

McKeen et al. 2025 (arXiv 2408.05178). 500 Hz, segments of 5 s, each lead of a recording with mean 0 and
deviation 1, a constant one zero. Four convolutions of stride 2 give a token every 32 ms; a grouped
convolution adds places; twelve layers of attention follow. A longer window is cut into segments, and the
head reads the mean over all of their tokens. Verified is the architecture: the number of parameters and the
names and shapes of tensors; no published weights were to be had.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.baselines.borrowed.adapter import Adapter, Network
from cldtrans.data.montages.ecg_leads import LEADS
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card

SEGMENT_S = 5.0
CONVOLUTIONS = 4  # of two samples and stride two
EXTRACTED = 256
PLACES, GROUPS = 128, 16  # taps and groups of the convolution that adds places
HIDDEN_DROPOUT = 0.1  # of its fine-tuning, behind the first layer of each feed-forward pair
_PRETRAINING = ("mask_emb", "quantizer.", "project_q.", "final_proj.")


class EcgFm(Adapter):
    """The `classifier` factory; settings as in `Adapter`.

    The paper's 90.9 M parameters count what pretraining alone uses: quantiser, two projections, the mask's
    token, 0.51 M in all. With them there are 90.88 M here, without them 90.37 M. As in the original's
    fine-tuning, the convolutions of a checkpoint stay as they are; from scratch everything learns.
    """

    card = Card(
        title="ECG-FM",
        source="McKeen et al. 2025, arXiv 2408.05178",
        licence="MIT (ours, from the paper); original MIT",
        reproduced="architecture; names and shapes of the 207 tensors of its pretrained checkpoint that an "
        "encoder needs; convolutions frozen in fine-tuning",
        differs="one head reads the mean over both segments of a window; the original scores each segment",
        saw_test_data="unknown",
        seen="pretrained on MIMIC-IV-ECG and PhysioNet 2021, which holds PTB-XL (its repository): yes for "
        "PTB-XL",
        parameters=90.9e6,
        verified="architecture, features of random weights as the authors' code gives them",
    )
    rate_hz = 500.0
    reads = "ecg"
    picked = LEADS
    width, layers, heads = 768, 12, 12

    def montage(self, channels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Put leads to their places by name; one that is not recorded stays zero, as masked ones were."""
        ours = [name.upper() for name in channels]
        matrix = np.array([[float(lead.upper() == name) for name in ours] for lead in LEADS])
        if not matrix.any():
            raise ConfigError(f"{self.card.title} has no place for any of {', '.join(channels[:4])}")
        return matrix, list(LEADS)

    def build(self, n_samples: int) -> Network:
        """Return the encoder as published, and a linear head."""
        return Network(
            Encoder(len(self.names), len(self.classes), self.width, self.layers, self.heads, self.rate_hz)
        )

    def started(self, n_samples: int, member: int) -> nn.Module:
        """Return the network with the checkpoint's weights, where one is given; its convolutions are kept."""
        network = super().started(n_samples, member)
        if self.start != "from scratch":
            network.get_submodule("inner.feature_extractor").requires_grad_(False)
        return network

    def scaled(self, x: Tensor) -> Tensor:
        """Standardise each lead of a window; a constant one is zero."""
        centred = x - x.mean(-1, keepdim=True)
        spread = centred.std(-1, unbiased=False, keepdim=True)
        return torch.where(spread > 0, centred / spread.clamp_min(1e-12), 0.0)

    def rename(self, name: str) -> str | None:
        """Return the network's name; what pretraining alone uses has no place.

        Checkpoints of older releases of torch name the two factors of a normalised weight otherwise.
        """
        if name.startswith(_PRETRAINING):
            return None
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            name = name.replace(f"pos_conv.0.{old}", f"pos_conv.0.parametrizations.weight.{new}")
        return name


class Encoder(nn.Module):
    """Encoder and head, x [B, C, T] -> logits [B, K]; attributes have a checkpoint's names."""

    def __init__(
        self, n_channels: int, n_outputs: int, width: int, layers: int, heads: int, rate_hz: float
    ) -> None:
        super().__init__()
        self._segment = round(SEGMENT_S * rate_hz)
        self.feature_extractor = Extractor(n_channels)
        self.layer_norm = nn.LayerNorm(EXTRACTED)
        self.post_extract_proj = nn.Linear(EXTRACTED, width)
        self.conv_pos = Places(width)
        self.encoder = Layers(width, layers, heads)
        self.final_layer = nn.Linear(width, n_outputs)
        nn.init.xavier_uniform_(self.final_layer.weight)
        nn.init.zeros_(self.final_layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits from the mean over the tokens of all whole segments."""
        size = min(self._segment, x.shape[-1])
        segments = x.unfold(-1, size, size).transpose(1, 2)  # [B, segments, C, T']
        tokens = self.feature_extractor(segments.flatten(0, 1)).transpose(1, 2)
        tokens = self.post_extract_proj(self.layer_norm(tokens))
        tokens = self.encoder(tokens + self.conv_pos(tokens))
        return self.final_layer(tokens.unflatten(0, segments.shape[:2]).mean((1, 2)))


class Extractor(nn.Module):
    """The convolutions, [B, C, T] -> [B, 256, T / 16]; the first is followed by a norm of each filter."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        for depth in range(CONVOLUTIONS):
            convolution = nn.Conv1d(EXTRACTED if depth else n_channels, EXTRACTED, 2, stride=2, bias=False)
            nn.init.kaiming_normal_(convolution.weight)
            norm = [] if depth else [nn.GroupNorm(EXTRACTED, EXTRACTED)]
            # A checkpoint counts a dropout of nothing between the two.
            self.conv_layers.append(nn.Sequential(convolution, nn.Identity(), *norm, nn.GELU()))

    def forward(self, x: Tensor) -> Tensor:
        """Apply one after the other."""
        for layer in self.conv_layers:
            x = layer(x)
        return x


class Places(nn.Module):
    """What a token's neighbourhood says of its place, [B, N, D] -> [B, N, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(width, width, PLACES, padding=PLACES // 2, groups=GROUPS)
        nn.init.normal_(convolution.weight, std=(4 / (PLACES * width)) ** 0.5)
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
        self.pos_conv = nn.Sequential(nn.utils.parametrizations.weight_norm(convolution, dim=2))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve over tokens; an even number of taps gives one too many."""
        return F.gelu(self.pos_conv(x.transpose(1, 2))[..., :-1]).transpose(1, 2)


class Layers(nn.Module):
    """The transformer, norms behind each residual sum, [B, N, D] -> [B, N, D]."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                module.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, then apply one layer after the other."""
        x = self.layer_norm(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Layer(nn.Module):
    """Attention and a feed-forward pair."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self._dropout = nn.Dropout(HIDDEN_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """Add what each of the two gives, and normalise."""
        x = self.self_attn_layer_norm(x + self.self_attn(x))
        return self.final_layer_norm(x + self.fc2(self._dropout(F.gelu(self.fc1(x)))))


class Attention(nn.Module):
    """Self-attention of all tokens of a segment."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        q, k, v = (
            project(x).unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
