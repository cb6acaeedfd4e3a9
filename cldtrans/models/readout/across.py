"""Numbers of channels as numbers of a window, whatever the order and the number of its channels."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MOMENTS = 3  # mean, standard deviation, maximum


def across_channels(channels: Float[Tensor, "B C P"], mask: Bool[Tensor, "B C"]) -> Float[Tensor, "B Q"]:
    """Pool the valid channels of [B, C, P] to mean, deviation and maximum, [B, 3 P]."""
    weight = mask[..., None].to(channels.dtype)
    n = weight.sum(1).clamp_min(1)
    mean = (channels * weight).sum(1) / n
    variance = ((channels - mean[:, None]).square() * weight).sum(1) / n
    top = channels.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return torch.cat([mean, (variance + 1e-8).sqrt(), torch.where(mask.any(1)[:, None], top, 0.0)], -1)
