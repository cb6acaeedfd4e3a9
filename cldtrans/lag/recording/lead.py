"""Who leads a window of a recording, where one source drives it more than stretches beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cldtrans.data.montages.electrodes import is_scalp
from cldtrans.data.recording import Recording, from_raw, open_recording
from cldtrans.errors import DataError
from cldtrans.lag.recording.window import Window, cut_window
from cldtrans.lag.single_source.focal import FocalLead, focal_lead

if TYPE_CHECKING:
    import mne

LEAST_S = 2.0  # of a window
STRETCH_S = 10.0
MOST, FEWEST = 10, 2  # stretches


def lead_of(source: str | Path | Recording | mne.io.BaseRaw, window: Window) -> FocalLead | None:
    """Find the scalp channel that a discharge in a window reaches first.

    Parameters
    ----------
    source : str or Path or Recording or mne.io.BaseRaw
        That of the window.
    window : Window
        From `cut_window`.

    Returns
    -------
    FocalLead or None
        None for other channels, for a window too short, and without `cut_background`.
    """
    if window.x.shape[1] < LEAST_S * window.rate_hz or not all(is_scalp(name) for name in window.channels):
        return None
    background = cut_background(source, window)
    if background is None:
        return None
    return replace(focal_lead(window.x, window.rate_hz, background), channels=window.channels)


def cut_background(source: str | Path | Recording | mne.io.BaseRaw, window: Window) -> np.ndarray | None:
    """Cut stretches beside a window, in the same channels, reference and band.

    Those before it are taken where there are enough: what begins in the window goes on after it.

    Parameters
    ----------
    source : str or Path or Recording or mne.io.BaseRaw
        That of the window.
    window : Window
        From `cut_window`.

    Returns
    -------
    array [K, C, T] or None
        The nearest stretches; None where fewer than two lie without gaps on either side.
    """
    if isinstance(source, (str, Path)):
        recording = open_recording(source)
    else:
        recording = source if isinstance(source, Recording) else from_raw(source)
    places = np.arange(MOST) * STRETCH_S
    for starts in (window.start_s - STRETCH_S - places, window.stop_s + places):
        inside = starts[(starts >= 0) & (starts + STRETCH_S <= recording.duration_s)]
        found = [x for x in (_like(recording, window, float(start_s)) for start_s in inside) if x is not None]
        if len(found) >= FEWEST:
            least = min(x.shape[1] for x in found)  # where a stretch begins between two samples
            return np.stack([x[:, :least] for x in found])
    return None


def _like(recording: Recording, window: Window, start_s: float) -> np.ndarray | None:
    """Cut one stretch; None where it has a gap, a splice, or a channel that is flat."""
    try:
        one = cut_window(
            recording,
            start_s,
            start_s + STRETCH_S,
            window.channels,
            window.reference,
            window.band_hz,
            window.innovation,
        )
    except DataError:
        return None
    return one.x if one.channels == window.channels else None
