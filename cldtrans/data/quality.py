"""What is wrong with a window, found on the signal as recorded, before any filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FLAT = {
    "eeg": 1.0,
    "ecg": 0.01,
}  # peak to peak over a window, microvolt and millivolt: no living tissue is so calm
CLIP_HOLD_S = 0.0125  # an extreme held from one look to the next, this much later, is the amplifier's rail


@dataclass(frozen=True)
class Quality:
    """Flags for windows W of recordings N.

    Attributes
    ----------
    flat, clipped, nan : array [N, W, C] of bool
        What is wrong; never set for a channel that the recording lacks.
    """

    flat: np.ndarray
    clipped: np.ndarray
    nan: np.ndarray


def assess(
    x: np.ndarray, mask: np.ndarray, windows: Sequence[tuple[int, int]], sample_rate: float, modality: str
) -> Quality:
    """Flag what is wrong with each window and channel.

    Parameters
    ----------
    x : array [N, C, T]
        In microvolts (EEG) or millivolts (ECG), NaN where nothing was recorded.
    mask : array [N, C] of bool
        False for channels that the recording lacks: these are never flagged.
    windows : sequence of (int, int)
        (first, last + 1) in samples.
    sample_rate : float
        Hertz.
    modality : one of "eeg", "ecg"
        Sets what counts as flat.
    """
    shape = (x.shape[0], len(windows), x.shape[1])
    low, high = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for w, (first, last) in enumerate(windows):
        low[:, w], high[:, w] = x[:, :, first:last].min(-1), x[:, :, first:last].max(-1)
    nan = np.isnan(low)
    flat = high - low <= FLAT[modality]  # False where NaN
    clipped = np.zeros(shape, dtype=bool)
    step = max(1, round(CLIP_HOLD_S * sample_rate))
    with np.errstate(invalid="ignore"):
        bottom = np.fmin.reduce(low, axis=1, keepdims=True)
        top = np.fmax.reduce(high, axis=1, keepdims=True)
        reaches = (low == bottom) | (high == top)
    for w, (first, last) in enumerate(windows):
        touched = reaches[:, w] & ~flat[:, w]
        if touched.any():
            looks = x[:, :, first:last:step]
            at_rail = (looks == bottom[:, 0, :, None]) | (looks == top[:, 0, :, None])
            clipped[:, w] = touched & (at_rail[..., 1:] & at_rail[..., :-1]).any(-1)
    present = mask[:, None, :]
    return Quality(flat & present, clipped & present, nan & present)


def fill_gaps(x: np.ndarray) -> np.ndarray:
    """Bridge NaN by straight lines (level beyond the ends).

    The filter needs numbers everywhere; windows that touch a gap are flagged and masked.

    Parameters
    ----------
    x : array [..., T]
        Signals, NaN where nothing was recorded.

    Returns
    -------
    array [..., T]
        A copy; the same array if there is no NaN.
    """
    if not np.isnan(x.min(initial=np.inf)):
        return x
    x = x.copy()
    flat = x.reshape(-1, x.shape[-1])
    for row in flat:
        gap = np.isnan(row)
        if gap.all():
            row[:] = 0.0
        elif gap.any():
            known = np.flatnonzero(~gap)
            row[gap] = np.interp(np.flatnonzero(gap), known, row[known])
    return x
