"""The channel whose line length rises first: the simplest reading of a seizure's onset.

Line length (mean absolute difference between samples) in frames of `frame_s`; a channel rises when it first
reaches the middle between its quietest and its most active level (10th and 90th percentile over frames).
Earlier scores higher; a channel whose level hardly changes scores by how much it does, below all that rise.
"""

from __future__ import annotations

import numpy as np

from cldtrans.methods.cards import Card


class LineLength:
    """The `readout` factory.

    Parameters
    ----------
    frame_s : float
        Length of a frame, seconds; frames start every quarter of it.
    contrast : float
        A rise needs the upper level to be this many times the lower one.
    """

    card = Card(
        title="First rise of line length",
        source="ours, after Esteller et al. 2001, Proc. IEEE EMBS 23:1707 (line length)",
        licence="MIT (ours)",
        reproduced="line length",
        differs="an energy heuristic of no single paper: the channel that rises first",
    )

    def __init__(self, frame_s: float = 0.5, contrast: float = 1.3) -> None:
        self.frame_s, self.contrast = frame_s, contrast

    def __call__(self, x: np.ndarray, mask: np.ndarray, sample_rate: float) -> np.ndarray:
        """Score channels: float [n, C] of windows x [n, C, T]; -inf where the mask is False."""
        steps = np.abs(np.diff(x, axis=-1))
        frame, hop = max(1, round(self.frame_s * sample_rate)), max(1, round(self.frame_s * sample_rate / 4))
        total = np.cumsum(np.pad(steps, ((0, 0), (0, 0), (1, 0))), axis=-1)
        starts = np.arange(0, steps.shape[-1] - frame + 1, hop)
        level = (total[..., starts + frame] - total[..., starts]) / frame  # [n, C, frames]
        low, high = np.quantile(level, (0.1, 0.9), axis=-1)
        risen = level >= (0.5 * (low + high))[..., None]
        after = risen.argmax(axis=-1)
        here = np.take_along_axis(level, after[..., None], -1)[..., 0]
        before = np.take_along_axis(level, np.maximum(after - 1, 0)[..., None], -1)[..., 0]
        middle = 0.5 * (low + high)
        part = np.where(here > before, (middle - before) / np.where(here > before, here - before, 1), 1.0)
        rise_s = (after - 1 + np.clip(part, 0, 1)) * hop / sample_rate  # linear between frames
        ratio = high / np.maximum(low, 1e-12)
        scores = np.where(ratio >= self.contrast, -rise_s, -1e3 + np.minimum(ratio, self.contrast))
        return np.where(mask, scores, -np.inf)
