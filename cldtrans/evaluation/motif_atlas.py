"""What a codebook holds: how often each motif is used, and the real waveforms nearest to the common ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from cldtrans.data.shards import ShardSet
from cldtrans.models import CLDTrans
from cldtrans.models.modality import PATCH, RATE_HZ
from cldtrans.models.motifs import perplexity

CONTEXT = 2  # patches shown on either side of a motif's own
_BATCH = 8


@dataclass(frozen=True)
class Atlas:
    """Motifs of one codebook as used in some windows of one modality.

    Attributes
    ----------
    counts : array [K]
        Patches that each motif stands for.
    entries : array [K, D]
        The codebook.
    common : array [M] of int
        The motifs used most, most used first.
    exemplars : array [M, E, S]
        For each, the real waveforms whose latents are nearest, with CONTEXT patches on either side; NaN
        where there are fewer.
    modality : one of "eeg", "ecg"
        Of the windows.
    """

    counts: np.ndarray
    entries: np.ndarray
    common: np.ndarray
    exemplars: np.ndarray
    modality: str

    @property
    def perplexity(self) -> float:
        """Effective number of motifs in use."""
        index = torch.from_numpy(np.repeat(np.arange(len(self.counts)), self.counts))
        return float(perplexity(index, len(self.counts)))

    @property
    def patch_s(self) -> float:
        """Length of a motif's own patch in seconds."""
        return PATCH[self.modality] / RATE_HZ[self.modality]


@torch.inference_mode()
def motif_atlas(
    model: CLDTrans, windows: ShardSet, rows: np.ndarray, n_common: int = 24, n_exemplars: int = 5
) -> Atlas:
    """Count the motifs in windows, and find exemplars of those used most.

    The windows are passed twice: once to count, once to find what is near the common ones.

    Parameters
    ----------
    model : CLDTrans
        With a codebook.
    windows : ShardSet
        Of one modality.
    rows : array [n] of int
        Positions in its index.
    n_common : int
        M, motifs with exemplars.
    n_exemplars : int
        E, exemplars of each.
    """
    modality = windows.modality
    size = model.config.codebook_size
    counts = np.zeros(size, dtype=np.int64)
    for index, _, _ in _tokens(model, windows, rows):
        counts += np.bincount(index.ravel(), minlength=size)
    common = np.argsort(-counts, kind="stable")[: min(n_common, int((counts > 0).sum()))]
    place = np.full(size, -1)
    place[common] = np.arange(len(common))
    length = PATCH[modality] * (2 * CONTEXT + 1)
    distances = np.full((len(common), n_exemplars), np.inf)
    exemplars = np.full((len(common), n_exemplars, length), np.nan, dtype=np.float32)
    for index, distance, waves in _tokens(model, windows, rows):
        at = place[index]
        order = np.argsort(distance, kind="stable")
        order = order[at[order] >= 0]
        for motif in np.unique(at[order]):
            nearest = order[at[order] == motif][:n_exemplars]
            both = np.concatenate([distances[motif], distance[nearest]])
            keep = np.argsort(both, kind="stable")[:n_exemplars]
            distances[motif] = both[keep]
            exemplars[motif] = np.concatenate([exemplars[motif], waves[nearest]])[keep]
    entries = model.codebook(modality).entries.numpy().copy()
    return Atlas(counts, entries, common, exemplars, modality)


def _tokens(
    model: CLDTrans, windows: ShardSet, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, a batch at a time, motif [n], distance [n] and waveform [n, S] of patches with whole context."""
    patch = PATCH[windows.modality]
    for part in np.array_split(rows, max(1, -(-len(rows) // _BATCH))):
        x, mask = torch.from_numpy(windows.windows(part)), torch.from_numpy(windows.mask(part))
        signal, valid, codes = model.motifs(x, windows.rate_hz, mask, windows.modality)
        n_tokens = codes.index.shape[-1]
        inner = slice(CONTEXT, n_tokens - CONTEXT)
        around = signal[..., : n_tokens * patch].unfold(-1, patch * (2 * CONTEXT + 1), patch)
        yield (
            codes.index[..., inner][valid].flatten().numpy(),
            codes.distance[..., inner][valid].flatten().numpy(),
            around[valid].flatten(0, 1).numpy(),
        )
