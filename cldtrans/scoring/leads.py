"""From scores of windows to a leading channel, and how good it is.

Several windows of a seizure are joined by the mean over windows of each channel's rank (0 worst, 1 best,
ties share): readouts differ in unit and spread, one loud window must not decide, and a window without
evidence (all channels tied) has no vote. Equal scores are judged by expectation over random order, so that
a readout that says nothing scores exactly chance.
"""

from __future__ import annotations

from collections.abc import Collection
from math import comb

import numpy as np

TOPS = (1, 3, 5)


def ranks(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Rank the channels of each window.

    Parameters
    ----------
    scores : array [n, C]
        Of a readout, higher for likelier leads.
    mask : array [n, C] of bool
        False where the window lacks the channel.

    Returns
    -------
    array [n, C]
        In [0, 1]; NaN where the mask is False or a single channel is left.
    """
    out = np.full(scores.shape, np.nan)
    for k, valid in enumerate(mask):
        values = scores[k, valid]
        if np.isnan(values).any():
            raise ValueError(f"window {k}: a readout returned NaN")
        if len(values) > 1:
            below = (values[:, None] > values).sum(axis=1)
            ties = (values[:, None] == values).sum(axis=1) - 1
            out[k, valid] = (below + ties / 2) / (len(values) - 1)
    return out


def aggregate(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Join several windows' scores.

    Parameters
    ----------
    scores : array [n, C]
        Of a readout, higher for likelier leads.
    mask : array [n, C] of bool
        False where the window lacks the channel.

    Returns
    -------
    array [C]
        One score a channel; -inf where no window has it.
    """
    rank = ranks(scores, mask)
    seen = np.isfinite(rank).sum(axis=0)
    return np.where(seen > 0, np.nansum(rank, axis=0) / np.maximum(seen, 1), -np.inf)


def hit(score: np.ndarray, truth: Collection[int], k: int) -> float:
    """Return the probability that a true channel is among the k highest of score [C].

    Ties stand in random order.
    """
    true = np.array(sorted(truth))
    best = score[true].max()
    if best == -np.inf:
        return 0.0
    above, tied, right = (
        int((score > best).sum()),
        int((score == best).sum()),
        int((score[true] == best).sum()),
    )
    places = k - above
    if places <= 0:
        return 0.0
    if places >= tied:
        return 1.0
    return 1.0 - comb(tied - right, places) / comb(tied, places)


def chance_hit(n_channels: int, n_true: int, k: int) -> float:
    """Return the probability that k channels drawn at random among n hold one of the true ones."""
    return 1.0 - comb(n_channels - n_true, min(k, n_channels)) / comb(n_channels, min(k, n_channels))


def winner(score: np.ndarray) -> np.ndarray:
    """Return the probability of each channel [C] to be the lead: 1 for the highest, shared where tied."""
    best = (score == score.max()) & np.isfinite(score)
    return best / max(best.sum(), 1)
