"""NeuroLM-B: an encoder of EEG patches and GPT-2, after its paper and the settings that its repository gives.

Jiang, Wang, Lu & Li 2025, ICLR (arXiv 2409.00101). 200 Hz, patches of 1 s, units of 100 microvolts; channels
have learned places by name, seconds by number. GPT-2 reads the encoder's tokens second by second: a token
sees all channels of its own second and of those before. The original then answers questions in text; here a
linear head reads the mean over tokens, so that text embedding and vocabulary have no part. Verified is the
architecture: the number of parameters and the names and shapes of tensors; no published weights were to be
had.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.baselines.borrowed.adapter import TCP_16, Adapter, Network, by_place
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card

PATCH = 200
MOST_SECONDS = 64
MOST_TOKENS = 1024
SPATIAL_PLACES = 256
FILTERS = 16
TEXT_VOCABULARY, EEG_VOCABULARY = 50_304, 8192  # which the language head tells apart
_LATERAL = (9, 7, 5, 3, 1, "Z", 2, 4, 6, 8, 10)


def _rows() -> list[str]:
    """Return the 10-10 system's electrodes by row from the front, each from left to right, and others."""

    def row(name: str, sides: Sequence[object] = _LATERAL) -> list[str]:
        return [f"{name}{side}" for side in sides]

    def between(outer: str, inner: str) -> list[str]:
        return [*row(outer, (9, 7)), *row(inner, (5, 3, 1, "Z", 2, 4, 6)), *row(outer, (8, 10))]

    return [
        *row("FP", (1, "Z", 2)),
        *row("AF"),
        *row("F"),
        *between("FT", "FC"),
        *between("T", "C"),
        *between("TP", "CP"),
        *row("P"),
        *row("PO"),
        *("O1", "OZ", "O2", "O9", "CB1", "CB2", "IZ", "O10", "T3", "T5", "T4", "T6", "M1", "M2", "A1", "A2"),
        *row("CFC", range(1, 9)),
        *row("CCP", range(1, 9)),
        *("T1", "T2", "FTT9h", "TTP7h", "TPP9h", "FTT10h", "TPP8h", "TPP10h"),
    ]


PLACES = (*_rows(), *TCP_16)
"""Channels that have a learned place, in the order of the places."""


class NeuroLm(Adapter):
    """The `classifier` factory; settings as in `Adapter`.

    The original's code counts 254.3 M parameters, places of seconds left out. 83.6 M of them embed text and
    tell words and codes apart, of which a linear head has no need: 171.5 M are here. As in the original the
    encoder of a checkpoint stays as it is and GPT-2 learns; from scratch everything learns.
    """

    card = Card(
        title="NeuroLM-B",
        source="Jiang, Wang, Lu & Li 2025, ICLR, arXiv 2409.00101",
        licence="MIT (ours, from the paper); original MIT",
        reproduced="encoder, GPT-2 and what joins them; names and shapes of the 238 tensors of its "
        "checkpoint that these need; order of tokens and who sees whom; the encoder frozen in fine-tuning",
        differs="a linear head on the mean token instead of answers in text",
        saw_test_data="unknown",
        seen="about 25 000 hours (paper, abstract), whose corpora were not checked here: unknown",
        parameters=254.3e6,
        counted="83.6 M of the original's embed text and tell words and codes apart, which a linear head "
        "does without",
        verified="architecture, features of random weights as the authors' code gives them",
    )
    rate_hz = 200.0
    patch = PATCH
    width, layers, heads = 768, 12, 12

    def montage(self, channels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Take every channel that has a place, by its name or by its first electrode's."""
        return by_place(channels, PLACES, self.card.title)

    def build(self, n_samples: int) -> Network:
        """Return encoder and GPT-2 as published, and a linear head."""
        seconds = n_samples // PATCH
        if seconds > MOST_SECONDS or seconds * len(self.names) > MOST_TOKENS:
            raise ConfigError(
                f"{self.card.title} reads at most {MOST_SECONDS} s and {MOST_TOKENS} patches of all "
                f"channels, not {seconds} s of {len(self.names)} channels; make windows shorter"
            )
        places = torch.tensor([PLACES.index(name) for name in self.names])
        return Network(Joined(len(self.classes), self.width, self.layers, self.heads), places=places)

    def started(self, n_samples: int, member: int) -> nn.Module:
        """Return the network with the checkpoint's weights, where one is given; its encoder is kept."""
        network = super().started(n_samples, member)
        if self.start != "from scratch":
            network.get_submodule("inner.tokenizer").requires_grad_(False)
        return network

    def scaled(self, x: Tensor) -> Tensor:
        """Bring microvolts to units of 100."""
        return x / 100

    def rename(self, name: str) -> str | None:
        """Return the network's name; what reads and writes text has no place."""
        name = name.removeprefix("_orig_mod.")
        return None if name in ("GPT2.transformer.wte.weight", "GPT2.lm_head.weight") else name


class Joined(nn.Module):
    """Encoder, GPT-2 and head, x [B, C, T] -> logits [B, K]; attributes have a checkpoint's names."""

    def __init__(self, n_outputs: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.tokenizer = Tokenizer(width, layers, heads)
        self.pos_embed = nn.Embedding(SPATIAL_PLACES, width)
        self.GPT2 = nn.ModuleDict({"transformer": Gpt(width, layers, heads)})
        self.final_layer = nn.Linear(width, n_outputs)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """Compute logits from the mean over all tokens, which come second by second, in each by channel."""
        patches = x.unflatten(-1, (-1, PATCH)).transpose(1, 2)  # [B, seconds, C, 200]
        n_seconds, n_channels = patches.shape[1:3]
        second = torch.arange(n_seconds, device=x.device).repeat_interleave(n_channels)
        place = places.to(x.device).repeat(n_seconds)
        tokens = self.tokenizer(patches.flatten(1, 2), place, second) + self.pos_embed(place)
        return self.final_layer(self.GPT2["transformer"](tokens, second).mean(1))


class Tokenizer(nn.Module):
    """The encoder of patches, [B, N, 200] -> [B, N, D]: every token sees every other."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.patch_embed = Patches(width)
        self.pos_embed = nn.Embedding(SPATIAL_PLACES, width)
        self.time_embed = nn.Embedding(MOST_SECONDS, width)
        self.blocks = nn.ModuleList(Block(width, heads, bias=False) for _ in range(layers))
        self.fc_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, patches: Tensor, place: Tensor, second: Tensor) -> Tensor:
        """Encode patches, by their channels' places [N] and their seconds [N]."""
        x = self.patch_embed(patches) + self.pos_embed(place) + self.time_embed(second)
        for block in self.blocks:
            x = block(x, None)
        return self.fc_norm(x)


class Patches(nn.Module):
    """Three convolutions over time in a patch, and a linear layer, [B, N, 200] -> [B, N, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, FILTERS, (1, 15), stride=(1, 8), padding=(0, 7))
        self.conv2 = nn.Conv2d(FILTERS, FILTERS, (1, 3), padding=(0, 1))
        self.conv3 = nn.Conv2d(FILTERS, FILTERS, (1, 3), padding=(0, 1))
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(4, FILTERS) for _ in range(3))
        self.l = nn.Sequential(nn.Linear(FILTERS * PATCH // 8, width), nn.GELU())

    def forward(self, patches: Tensor) -> Tensor:
        """Convolve; a patch's values come by time, at each time by filter."""
        x = patches[:, None]
        for convolution, norm in (
            (self.conv1, self.norm1),
            (self.conv2, self.norm2),
            (self.conv3, self.norm3),
        ):
            x = F.gelu(norm(convolution(x)))
        return self.l(x.permute(0, 2, 3, 1).flatten(2))


class Gpt(nn.Module):
    """GPT-2 on tokens that are embedded already, [B, N, D] -> [B, N, D]."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.wpe = nn.Embedding(MOST_TOKENS, width)
        self.h = nn.ModuleList(Block(width, heads, bias=True) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, second: Tensor) -> Tensor:
        """Read tokens in the order of their seconds [N]; nobody sees a later second."""
        seen = second[:, None] >= second[None]
        x = tokens + self.wpe(second)
        for block in self.h:
            x = block(x, seen)
        return self.ln_f(x)


class Block(nn.Module):
    """Attention and a feed-forward pair, norms before each."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm(width, bias=bias) for _ in range(2))
        self.attn = Attention(width, heads, bias)
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(width, 4 * width, bias=bias),
                "c_proj": nn.Linear(4 * width, width, bias=bias),
            }
        )

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """Add what each of the two gives; `seen` [N, N]: which token (row) sees which, None: all."""
        x = x + self.attn(self.ln_1(x), seen)
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self._heads = heads
        self.c_attn = nn.Linear(width, 3 * width, bias=bias)
        self.c_proj = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """Attend."""
        q, k, v = (
            part.unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1)
        )
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.c_proj(found.transpose(1, 2).flatten(2))
