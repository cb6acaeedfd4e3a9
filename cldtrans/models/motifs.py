"""Motif tokenizer: patches of a waveform as entries of a learned codebook, and back.

The weights are shared by all channels. One token covers 10 samples at 160 Hz (EEG, 62.5 ms) or 20 samples at
500 Hz (ECG, 40 ms). Each modality has its own convolution into and out of the token stream; what mixes tokens
is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cldtrans.machine import all_reduce_sum_, rank, world_size
from cldtrans.models.convolutions import convolved, depthwise, pointwise
from cldtrans.models.modality import PATCH

STRIDES = {"eeg": (5, 2), "ecg": (5, 4)}  # of the two convolutions; their product is the patch
HASHED_AT_ONCE = 4096  # latents, in double precision


class TokenMixer(nn.Module):
    """Residual block: each token sees its neighbours (depthwise convolution), then a two-layer map."""

    def __init__(self, width: int, reach: int = 3):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Conv1d(width, width, 2 * reach + 1, padding=reach, groups=width)
        self.expand = nn.Linear(width, width)
        self.reduce = nn.Linear(width, width)

    def forward(self, z: Tensor) -> Tensor:
        """Mix tokens, [N, L, D] -> [N, L, D]."""
        mixed = depthwise(self.norm(z), self.mix.weight, self.mix.bias)
        hidden = F.gelu(pointwise(mixed, self.expand.weight, self.expand.bias))
        return z + pointwise(hidden, self.reduce.weight, self.reduce.bias)


class Encoder(nn.Module):
    """Maps a waveform [N, T] to latents [N, L, D], L = T // patch.

    The latents are of unit scale (layer norm without gain).
    """

    def __init__(self, width: int, blocks: int):
        super().__init__()
        hidden = max(8, width // 2)
        self.stems = nn.ModuleDict()
        for modality, (first, second) in STRIDES.items():
            self.stems[modality] = nn.Sequential(
                nn.Conv1d(1, hidden, 3 * first, stride=first, padding=first),
                nn.GELU(),
                nn.Conv1d(hidden, width, 2 * second, stride=second, padding=second // 2),
            )
        self.blocks = nn.ModuleList(TokenMixer(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, x: Tensor, modality: str) -> Tensor:
        """Encode waveforms x [N, T] of one modality as latents [N, L, D]."""
        stem: Any = self.stems[modality]
        first, gelu, second = stem
        reach, stride = STRIDES[modality]
        frames = F.pad(x, (reach, reach)).unfold(-1, 3 * reach, reach).contiguous()
        z = gelu(pointwise(frames, first.weight[:, 0], first.bias))
        z = convolved(z, second.weight, second.bias, stride=stride, padding=stride // 2)
        for block in self.blocks:
            z = block(z)
        return self.norm(z)


class Decoder(nn.Module):
    """Maps latents [N, L, D] to a waveform [N, T]; neighbouring patches overlap and add."""

    def __init__(self, width: int):
        super().__init__()
        self.block = TokenMixer(width)
        self.heads = nn.ModuleDict(
            {name: nn.ConvTranspose1d(width, 1, 2 * p, stride=p, padding=p // 2) for name, p in PATCH.items()}
        )

    def forward(self, z: Tensor, modality: str) -> Tensor:
        """Decode latents z [N, L, D] of one modality as waveforms [N, T]."""
        head: Any = self.heads[modality]
        patch = PATCH[modality]
        # A token's 2 patches, of which the second lies over the first of the next token.
        early, late = pointwise(self.block(z), head.weight[:, 0].T).split(patch, -1)
        y = F.pad(early, (0, 0, 0, 1)) + F.pad(late, (0, 0, 1, 0))
        return y.flatten(1)[:, patch // 2 : patch // 2 - patch] + head.bias


@dataclass
class Codes:
    """Result of a look-up: latents replaced by their entries, and what training needs to know about it."""

    latents: Float[Tensor, "*n D"]  # gradient passes straight through
    encoded: Float[Tensor, "*n D"]  # the same before they were replaced
    index: Int[Tensor, "*n"]  # entry of each latent
    distance: Float[Tensor, "*n"]  # mean squared difference of each latent from its entry


class _Replaced(torch.autograd.Function):
    """Replaces latents [..., D] by entries of a table, gradient straight through; and gives `Codes.distance`.

    By hand: composed of subtractions and squares it reads and writes the latents three times as often.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, index: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        entries = F.embedding(index, table).to(z.dtype)
        ctx.save_for_backward(z, entries)
        return entries, (z - entries).square_().mean(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_distance: Tensor) -> tuple[Tensor, None, None]:
        z, entries = ctx.saved_tensors
        apart = z - entries
        return (
            torch.addcmul(grad, apart, grad_distance[..., None], value=2 / z.shape[-1], out=apart),
            None,
            None,
        )


class Codebook(nn.Module):
    """K entries that follow a moving average of the latents nearest to them (EMA k-means).

    In training a look-up only gathers statistics; `update`, called once an optimiser step, adds up those of
    all ranks and moves the entries, so that neither micro-batches nor ranks change the result. The first
    update runs k-means over sampled latents; entries used less than `DEAD` times the even share are put on
    sampled latents again.

    Parameters
    ----------
    size : int
        K.
    width : int
        D of the latents.

    References
    ----------
    van den Oord et al. 2017 (arXiv:1711.00937, appendix A.1); revival after Dhariwal et al. 2020
    (arXiv:2005.00341), with candidates that do not depend on how windows are spread over ranks.
    """

    DECAY = 0.98
    DEAD = 0.03
    ROUNDS = 8
    CANDIDATES = 8  # sampled latents an entry, over all ranks and micro-batches

    entries: Tensor
    counts: Tensor
    sums: Tensor
    updates: Tensor

    def __init__(self, size: int, width: int):
        super().__init__()
        self.size = size
        self.register_buffer("entries", torch.randn(size, width))
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", self.entries.clone())
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self._seen: tuple[Tensor, Tensor, Tensor] | None = None  # counts, sums, candidates since the update

    def _load_from_state_dict(self, *args: Any) -> None:
        """Also forget what was seen: of a step that is undone, or of other entries."""
        self._seen = None
        super()._load_from_state_dict(*args)

    def forward(self, z: Float[Tensor, "*n D"], valid: Bool[Tensor, "*n"]) -> Codes:
        """Replace latents by their nearest entries.

        Parameters
        ----------
        z : tensor [..., D]
            Latents.
        valid : tensor [...] of bool
            Only those enter the statistics.
        """
        index = self.nearest(z)
        if self.training and torch.is_grad_enabled():
            seen, chosen = z.detach().flatten(0, -2), index.flatten()
            if not valid.all():  # choosing every latent would only copy
                seen, chosen = seen[valid.flatten()], chosen[valid.flatten()]
            self._gather(seen, chosen)
        latents, distance = _Replaced.apply(z, index, self.entries)
        return Codes(latents, z, index, distance)

    @torch.no_grad()
    def nearest(self, z: Float[Tensor, "*n D"], at_once: int = 4096) -> Int[Tensor, "*n"]:
        """Find the entry nearest to each latent.

        Parameters
        ----------
        z : tensor [..., D]
            Latents.
        at_once : int
            So many latents at a time bound the memory.

        Returns
        -------
        tensor [...] of long
            Numbers of the entries.
        """
        half_norm = (self.entries**2).sum(-1) / 2
        rows = z.detach().reshape(-1, *z.shape[-2:]).to(self.entries.dtype)
        with torch.autocast(z.device.type, enabled=False):
            parts = [
                pointwise(part, self.entries, -half_norm).argmax(-1)
                for part in rows.split(max(1, at_once // z.shape[-2]))
            ]
        return torch.cat(parts).view(z.shape[:-1])

    @torch.no_grad()
    def update(self) -> None:
        """Move the entries by what was seen since the last update, over all ranks."""
        if self._seen is None:
            return
        counts, sums, candidates = self._seen
        self._seen = None
        candidates = self._sample(_all_ranks(candidates, self._wanted))
        if self.updates == 0:
            self._initialise(candidates)
        else:
            all_reduce_sum_(counts, sums)
            self.counts.lerp_(counts, 1 - self.DECAY)
            self.sums.lerp_(sums, 1 - self.DECAY)
        share = self.counts.sum() / self.size
        dead = self.counts < self.DEAD * share
        self.sums = torch.where(dead[:, None], self._draw(candidates) * share, self.sums)
        self.counts = torch.where(dead, share, self.counts)
        self.entries.copy_(self.sums / self.counts[:, None])
        self.updates += 1

    @property
    def _wanted(self) -> int:
        return self.CANDIDATES * self.size

    def _gather(self, latents: Tensor, index: Tensor) -> None:
        latents = latents.to(self.entries.dtype)
        counts, sums = self._statistics(latents, index)
        candidates = self._sample(latents)
        if self._seen is not None:
            counts, sums = counts + self._seen[0], sums + self._seen[1]
            candidates = self._sample(torch.cat([self._seen[2], candidates]))
        self._seen = counts, sums, candidates

    def _statistics(self, latents: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """How many latents each entry has [K], and their sums [K, D]."""
        counts = torch.bincount(index, minlength=self.size).to(latents.dtype)
        return counts, torch.zeros_like(self.entries).index_add_(0, index, latents)

    def _initialise(self, candidates: Tensor) -> None:
        """Start the entries by k-means over sampled latents."""
        self.entries.copy_(self._draw(candidates))
        for _ in range(self.ROUNDS):
            counts, sums = self._statistics(candidates, self.nearest(candidates))
            self.entries.copy_(
                torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), self.entries)
            )
        self.counts, self.sums = self._statistics(candidates, self.nearest(candidates))

    def _sample(self, latents: Tensor) -> Tensor:
        """Choose at most `_wanted` of them: those of largest hash, so that order and parts do not matter."""
        key = _hash(latents, int(self.updates))
        return latents[key.topk(min(self._wanted, len(latents))).indices]

    def _draw(self, candidates: Tensor) -> Tensor:
        """Draw one candidate an entry [K, D], a choice known from the number of updates."""
        generator = torch.Generator().manual_seed(int(self.updates))
        order = torch.randperm(len(candidates), generator=generator).to(candidates.device)
        return candidates[order[torch.arange(self.size, device=order.device) % len(candidates)]]


def _all_ranks(rows: Tensor, capacity: int) -> Tensor:
    """Rows [n, D] of all ranks, n <= capacity on each, one below the other."""
    if world_size() == 1:
        return rows
    slots = rows.new_zeros(world_size(), capacity, rows.shape[1] + 1)
    slots[rank(), : len(rows), :-1] = rows
    slots[rank(), : len(rows), -1] = 1
    all_reduce_sum_(slots)
    slots = slots.flatten(0, 1)
    return slots[slots[:, -1] > 0, :-1]


def _hash(latents: Tensor, salt: int) -> Tensor:
    """Return a pseudo-random number a latent [N].

    It is a function of the latent's value and the salt that rounding keeps.
    """
    generator = torch.Generator().manual_seed(salt)
    direction = torch.randn(latents.shape[-1], generator=generator, dtype=torch.float64).to(latents.device)
    along = [part.double() @ direction for part in latents.split(HASHED_AT_ONCE)]
    return torch.sin(50.0 * torch.cat(along))


def perplexity(index: Tensor, size: int) -> Tensor:
    """Return the effective number of entries in use, exp of the entropy of their frequencies."""
    p = torch.bincount(index.reshape(-1), minlength=size).double()
    p = p / p.sum().clamp_min(1)
    return torch.exp(-(p * torch.log(p.clamp_min(1e-12))).sum())
