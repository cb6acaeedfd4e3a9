"""A small network over all ordered pairs of channels, equivariant under their permutations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.models.recompute import recomputed


class PairNetwork(nn.Module):
    """Maps features of every ordered pair [B, C, C, n_features] to [B, C, C, n_out]; zero with fresh weights.

    Each pair sees itself, its reverse, and means over its row, its column and all pairs: so the number of
    channels may be any.

    Parameters
    ----------
    n_features, width, n_out : int
        Sizes of a pair's features, embedding and result.
    """

    def __init__(self, n_features: int, width: int, n_out: int):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_features, width), nn.GELU(), nn.Linear(width, width))
        self.mix = nn.Sequential(nn.Linear(5 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, n_out)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, pair: Tensor) -> Tensor:
        """Map the features of every pair.

        Parameters
        ----------
        features : tensor [B, C, C, n_features]
            Of the ordered pairs.
        pair : tensor [B, C, C] of bool
            Which pairs there are.

        Returns
        -------
        tensor [B, C, C, n_out]
            Of the ordered pairs.
        """
        features = features.to(self.out.weight.dtype)
        known = torch.cat([features, pair[..., None].to(features.dtype)], -1)
        return recomputed(self._of_windows, known, 1, self.parameters())

    def _of_windows(self, known: Tensor) -> Tensor:
        """`known` [B, C, C, n_features + 1] ends with the validity."""
        features, pair = known[..., :-1], known[..., -1:]
        z = self.embed(features) * pair
        # The first map sees a pair, its reverse and the means around it, each through its own columns: so
        # the means are mapped once, and no wide table is made.
        first = self.mix[0]
        assert isinstance(first, nn.Linear)
        from_pair, from_reverse, *from_means = first.weight.chunk(5, 1)
        means = [F.linear(m, w) for m, w in zip(_context(z, pair), from_means, strict=True)]
        hidden = F.linear(z, from_pair, first.bias) + F.linear(z.transpose(1, 2), from_reverse)
        for mean in means:
            hidden = hidden + mean
        return self.out(self.norm(self.mix[1:](hidden)))


def _context(z: Tensor, pair: Tensor) -> list[Tensor]:
    """Means of the embeddings [B, C, C, W] over a pair's row, its column, and all pairs; these become 1."""
    return [
        z.sum(over, keepdim=True) / pair.sum(over, keepdim=True).clamp_min(1) for over in ((2,), (1,), (1, 2))
    ]
