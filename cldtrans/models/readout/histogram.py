"""How often a channel's tokens are each entry of the codebook."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def code_histogram(index: Int[Tensor, "B C L"], size: int) -> Float[Tensor, "B C K"]:
    """Compute the square roots of the frequencies of `size` codes, as float32: distances are Hellinger's."""
    counts = torch.zeros(*index.shape[:2], size, device=index.device)
    counts.scatter_add_(2, index, torch.ones_like(index, dtype=counts.dtype))
    return (counts / index.shape[2]).sqrt()
