"""Pooling of a window's latents, states and lags into one vector, and task heads on it.

The pooled vector does not change when channels are permuted and has the same length for any number of
channels and samples.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from cldtrans.models.lag_inference.network import Lags
from cldtrans.models.readouts import net_lead

Kind = Literal["binary", "multiclass", "multilabel", "regression"]
MOMENTS = 3  # over valid channels: mean, standard deviation, maximum
CLIP = 10.0  # of standardised inputs of a head
LAG_SUMMARIES = 4  # a channel: outgoing and incoming edges, size of the net lead, mean incoming lag


@dataclass(frozen=True)
class HeadSpec:
    """What a head predicts.

    Attributes
    ----------
    kind : one of "binary", "multiclass", "multilabel", "regression"
        Of the task.
    classes : tuple of str
        Names of the classes; of regression, the targets.
    modality : one of "eeg", "ecg"
        Of the windows.
    """

    kind: Kind
    classes: tuple[str, ...]
    modality: Literal["eeg", "ecg"]

    @property
    def outputs(self) -> int:
        """K, how many numbers are predicted: one a class (binary: the positive one)."""
        return 1 if self.kind == "binary" else len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the checkpoint's config."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, values: Any) -> HeadSpec:
        """Take the values that `to_json` gave; pydantic's ValidationError, a ValueError, for any other."""
        return TypeAdapter(cls).validate_python(values)


def pool_channels(latents: Tensor, states: Tensor, lags: Lags) -> Tensor:
    """Pool each channel over time.

    Parameters
    ----------
    latents : tensor [B, C, L, D]
        Of the tokens.
    states : tensor [B, C, S, H]
        Of the ODE.
    lags : Lags
        Of the windows.

    Returns
    -------
    tensor [B, C, P]
        One vector a channel.
    """
    p, lag = lags.edge_probability, lags.edge_probability * lags.tau
    summaries = torch.stack([p.sum(1), p.sum(2), 10 * net_lead(lags.tau, p).abs(), 10 * lag.sum(2)], -1)
    parts = [*_moments(latents), latents.amax(2), *_moments(states), summaries]
    return torch.cat([part.to(latents.dtype) for part in parts], -1)


def channel_width(width: int, ode_width: int) -> int:
    """Return P of `pool_channels`."""
    return 3 * width + 2 * ode_width + LAG_SUMMARIES


def pool_window(channels: Tensor, mask: Tensor) -> Tensor:
    """Pool the valid channels of [B, C, P] to moments [B, 3 P], whatever their order."""
    weight = mask[..., None].to(channels.dtype)
    n = weight.sum(1).clamp_min(1)
    mean = (channels * weight).sum(1) / n
    variance = ((channels - mean[:, None]).square() * weight).sum(1) / n
    top = channels.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return torch.cat([mean, (variance + 1e-8).sqrt(), torch.where(mask.any(1)[:, None], top, 0.0)], -1)


class TaskHead(nn.Module):
    """Maps a standardised pooled vector to logits (regression: predictions).

    Parameters
    ----------
    features : int
        F, length of the pooled vector.
    spec : HeadSpec
        What the head predicts.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, spec: HeadSpec):
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.linear = nn.Linear(features, spec.outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map pooled vectors [B, F] to [B, K]."""
        return self.linear(((pooled - self.mean) / self.scale).clamp(-CLIP, CLIP))

    @torch.no_grad()
    def set_linear(self, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Take over a fitted probe: weight [K, F] acts on `(pooled - mean) / scale`."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over time, dimension 2."""
    variance, mean = torch.var_mean(values, 2, correction=0)
    return mean, (variance + 1e-8).sqrt()
