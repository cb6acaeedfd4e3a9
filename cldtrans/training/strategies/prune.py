"""A part of a gradient's entries: the largest of each tensor, or random ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def prune(
    gradient: Sequence[Float[Tensor, ...]], keep: float, by: Literal["magnitude", "random"], seed: int
) -> None:
    """Set entries of each tensor to zero, in place.

    Parameters
    ----------
    gradient : sequence of tensors
        One a parameter.
    keep : float
        Share of each tensor's entries that stays, in (0, 1]; at least one.
    by : one of "magnitude", "random"
        Which ones stay: the largest, or as many as `keep` says on average, each by itself.
    seed : int
        Of the random ones.
    """
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"share of the gradient that is kept: expected a number in (0, 1], found {keep}")
    if keep == 1.0:
        return
    for number, tensor in enumerate(gradient):
        if by == "magnitude":
            kept = tensor.abs().flatten().topk(max(1, math.ceil(keep * tensor.numel()))).indices
            mask = torch.zeros(tensor.numel(), dtype=torch.bool, device=tensor.device)
            mask[kept] = True
            mask = mask.view_as(tensor)
        else:
            source = torch.Generator(tensor.device).manual_seed(seed + number)
            mask = torch.rand(tensor.shape, generator=source, device=tensor.device) < keep
        tensor.mul_(mask)
