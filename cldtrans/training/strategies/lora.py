"""Low-rank additions to the weights of a frozen network (Hu et al. 2022, ICLR, arXiv 2106.09685).

A weight W becomes W + ALPHA * B A, B A a product of a given rank whose two factors learn. It is put where the
weight is read, by torch's parametrizations, and so reaches every layer, also one whose weights another layer
takes and uses itself, which a wrapped layer would not. In the end it is added to the weight: it costs nothing
when the network is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cldtrans.errors import ConfigError

ADAPTED = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention)
ALPHA = 2.0
"""Factor of the product: the paper's alpha over its rank, with an alpha of twice the rank."""


class LowRank(nn.Module):
    """Adds the product of two matrices of one rank to a weight, whose first dimension is its outputs'.

    Parameters
    ----------
    weight : tensor [out, ...]
        To which it is added; all dimensions but the first are one.
    rank : int
        Of the product, which is zero at the start.
    """

    def __init__(self, weight: Float[Tensor, "out ..."], rank: int) -> None:
        super().__init__()
        inputs = weight[0].numel()
        self.down = nn.Parameter(torch.empty(rank, inputs, dtype=weight.dtype, device=weight.device))
        self.up = nn.Parameter(torch.zeros(len(weight), rank, dtype=weight.dtype, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        """Return the weight with the addition."""
        return weight + ALPHA * (self.up @ self.down).view_as(weight)


def add_adapters(module: nn.Module, rank: int, heads: Sequence[str]) -> None:
    """Give every weight matrix of linear, convolution and attention layers an addition, in place.

    Parameters
    ----------
    module : Module
        The network; all of its own parameters are frozen.
    rank : int
        Of each addition.
    heads : sequence of str
        Fresh layers by name, which get none.

    Raises
    ------
    ConfigError
        Where there is nothing to adapt.
    """
    module.requires_grad_(False)
    found = list(_matrices(module, heads))
    if not found:
        raise ConfigError(
            "strategy lora: expected linear, convolution or attention layers beside the head, found none"
        )
    for layer, name in found:
        parametrize.register_parametrization(layer, name, LowRank(getattr(layer, name), rank))


def merge_adapters(module: nn.Module) -> None:
    """Add each product to its weight for good, and forget the factors."""
    for layer in list(module.modules()):
        for name in list(getattr(layer, "parametrizations", {})):
            if isinstance(layer.parametrizations[name][0], LowRank):  # type: ignore[union-attr, index]
                parametrize.remove_parametrizations(layer, name)


def _matrices(module: nn.Module, heads: Sequence[str]) -> Iterator[tuple[nn.Module, str]]:
    """Yield layers and the names of their weights of two dimensions and more; a shared layer comes once."""
    for place, layer in module.named_modules():
        fresh = any(place == head or place.startswith(f"{head}.") for head in heads)
        if isinstance(layer, ADAPTED) and not fresh:
            for name, weight in layer.named_parameters(recurse=False):
                if weight.ndim >= 2:
                    yield layer, name
