"""The transformer: a token attends to its channel's other tokens, and to other channels at the inferred lags.

A token enters with its latent and the state of the graph ODE at its time.
Along time, every token of a channel sees all others of it (rotary positions, so windows may have any
length). Between channels, target i sees itself and its most probable sources j, each delayed by tau_ij: keys
and values pass through the fractional delay, and the logarithm of the edge's probability is added to the
weight before the softmax. With K sources a target the cost grows as C x K, not as C x C. Where a channel lies
is a part of its tokens, if it is known. Any permutation of the channels permutes the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cldtrans.config import ModelConfig
from cldtrans.lag.operator import delay, fast_max_delay
from cldtrans.models.convolutions import pointwise
from cldtrans.models.graph_ode import to_tokens
from cldtrans.models.lag_inference.network import Lags
from cldtrans.models.modality import MODALITIES, PATCH, RATE_HZ
from cldtrans.models.readout.events import NARROW

HEAD_WIDTH = 16
NARROWER = 4  # attention between channels than along time: what is delayed costs a transform a feature
MOST = 4  # sources that a channel hears
LEAST = 1e-4  # of an edge's probability, before its logarithm


class Context(nn.Module):
    """Gives each token its context, and predicts the waveform of hidden tokens from it.

    Parameters
    ----------
    config : ModelConfig
        Settings of the network.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = config.attention_width
        self.sources, self.tau_max_s = min(config.sources, MOST), dict(config.tau_max_s)
        self.hidden = nn.Parameter(torch.zeros(config.width))  # stands for latents of hidden tokens
        self.enter = nn.Linear(config.width, width)
        self.of_state = nn.Linear(config.ode_width, width, bias=False)
        nn.init.zeros_(self.of_state.weight)
        self.kind = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in MODALITIES})
        self.place = nn.Linear(3, width, bias=False)
        self.layers = nn.ModuleList(Layer(width) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, NARROW)
        self.patches = nn.ModuleDict({name: nn.Linear(NARROW, patch) for name, patch in PATCH.items()})

    def forward(
        self,
        tokens: Float[Tensor, "B C L D"],
        states: Float[Tensor, "B C S H"],
        lags: Lags,
        mask: Bool[Tensor, "B C"],
        positions: Float[Tensor, "B C 3"] | None,
        modality: str,
    ) -> Float[Tensor, "B C L A"]:
        """Compute the context of every token: all that its waveform is predicted from.

        Parameters
        ----------
        tokens : tensor [B, C, L, D]
            Latents.
        states : tensor [B, C, S, H]
            Of the graph ODE, at the control times.
        lags : Lags
            Of the windows: who is heard, and how much later.
        mask : tensor [B, C] of bool
            Valid channels; the others are heard by nobody.
        positions : tensor [B, C, 3] or None
            As `cldtrans.data.montages.places` gives them; NaN: unknown; None: all are.
        modality : one of "eeg", "ecg"
            Of the windows.
        """
        h = _mapped(tokens.flatten(0, 1), self.enter).unflatten(0, tokens.shape[:2]) + self.kind[modality]
        h = h + to_tokens(self.of_state(states.to(h.dtype)), h.shape[2])
        if positions is not None:
            h = h + self.place(positions.nan_to_num().to(h.dtype))[:, :, None]
        token_rate = RATE_HZ[modality] / PATCH[modality]
        heard = Heard.of(lags, mask, self.sources, token_rate, self.tau_max_s[modality])  # type: ignore[index]
        for layer in self.layers:
            h = layer(h, heard)
        return self.narrow(self.norm(h))

    def waveform(self, context: Float[Tensor, "B C L A"], modality: str) -> Float[Tensor, "B C T"]:
        """Predict waveforms, a patch a token, from contexts."""
        return self.patches[modality](F.gelu(context)).flatten(2)


@dataclass
class Heard:
    """Whom each channel hears: K sources, the same in every layer."""

    index: Int[Tensor, "B C K"]
    lag_s: Float[Tensor, "B C K"]
    log_weight: Float[Tensor, "B C K"]  # -inf: not heard
    token_rate: float  # hertz
    longest_s: float

    @classmethod
    def of(cls, lags: Lags, mask: Tensor, sources: int, token_rate: float, tau_max_s: float) -> Heard:
        """Choose the most probable sources of each channel."""
        pair = (
            mask[:, :, None]
            & mask[:, None, :]
            & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        )
        probability = torch.where(pair, lags.edge_probability, 0.0)
        index = probability.detach().topk(min(sources, mask.shape[1]), -1).indices
        log_weight = torch.log(probability.gather(-1, index).clamp_min(LEAST))
        log_weight = log_weight.masked_fill(~pair.gather(-1, index), -torch.inf)
        lag_s = lags.tau.gather(-1, index).clamp(0, tau_max_s)
        return cls(index, lag_s, log_weight, token_rate, tau_max_s)


class Layer(nn.Module):
    """Attention along time, attention between channels at their lags, and a map of each token."""

    def __init__(self, width: int):
        super().__init__()
        heard = max(HEAD_WIDTH, width // NARROWER)
        self.heads, self.channel_heads = max(1, width // HEAD_WIDTH), heard // HEAD_WIDTH
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.in_time, self.out_time = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.in_channels, self.out_channels = nn.Linear(width, 3 * heard), nn.Linear(heard, width)
        self.expand, self.reduce = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        for last in (self.out_time, self.out_channels, self.reduce):
            nn.init.normal_(last.weight, std=0.02)
            nn.init.zeros_(last.bias)

    def forward(self, h: Float[Tensor, "B C L A"], heard: Heard) -> Float[Tensor, "B C L A"]:
        """Add to tokens [B, C, L, A] what they attend to."""
        rows = h.flatten(0, 1)
        rows = rows + _mapped(self._time(_mapped(self.norms[0](rows), self.in_time)), self.out_time)
        mixed = self._channels(_mapped(self.norms[1](rows), self.in_channels).view(*h.shape[:3], -1), heard)
        rows = rows + _mapped(mixed.flatten(0, 1), self.out_channels)
        rows = rows + _mapped(F.gelu(_mapped(self.norms[2](rows), self.expand)), self.reduce)
        return rows.view_as(h)

    def _time(self, qkv: Float[Tensor, "N L E"]) -> Float[Tensor, "N L A"]:
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [N, heads, L, A']
        turn = _turns(query)
        found = F.scaled_dot_product_attention(_rotated(query, turn), _rotated(key, turn), value)
        return found.transpose(1, 2).flatten(2)

    def _channels(self, qkv: Float[Tensor, "B C L E"], heard: Heard) -> Float[Tensor, "B C L A"]:
        query, own = qkv.split((qkv.shape[-1] // 3, 2 * qkv.shape[-1] // 3), -1)
        sent = own.transpose(2, 3)  # [B, C, 2A, L]
        level = sent.mean(-1, keepdim=True)  # what stays outside the window is the mean, not nothing
        windows = torch.arange(len(sent), device=sent.device)[:, None, None]
        arrived = (sent - level)[windows, heard.index]
        longest = fast_max_delay(sent.shape[-1], heard.longest_s, heard.token_rate)
        arrived = delay(arrived, heard.lag_s[..., None], heard.token_rate, max_delay=longest)
        arrived = torch.cat([sent[:, :, None], arrived + level[windows, heard.index]], 2)
        key, value = arrived.unflatten(3, (2, self.channel_heads, -1)).unbind(
            3
        )  # [B, C, 1 + K, heads, A', L]
        query = query.transpose(2, 3).unflatten(2, (self.channel_heads, -1))
        score = torch.einsum("bchal,bckhal->bckhl", query, key) * query.shape[3] ** -0.5
        bias = F.pad(heard.log_weight, (1, 0))  # itself as surely as a certain source
        share = torch.softmax(score + bias[..., None, None].to(score.dtype), 2)
        return torch.einsum("bckhl,bckhal->bclha", share, value).flatten(3)


def _mapped(rows: Tensor, linear: nn.Linear) -> Tensor:
    return pointwise(rows, linear.weight, linear.bias)


def _turns(x: Tensor) -> Tensor:
    """Rotary phases [L, A' / 2] of the tokens, wavelengths from 6 to 6000 tokens."""
    half = x.shape[-1] // 2
    rate = 1000.0 ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    return torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)[:, None] * rate


def _rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Turn pairs of features by a token's phases (Su et al. 2021, arXiv:2104.09864)."""
    a, b = x.chunk(2, -1)
    cos, sin = turn.cos().to(x.dtype), turn.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
