"""Grade 1 of the focal-lead truth: a discharge with known lead and lags, added to real interictal EEG.

A 3-4 Hz spike-and-wave train starts in one channel of the double banana and spreads to neighbouring
channels, 20-120 ms later a hop and 0.75 times as large. The loss of amplitude would give the lead away to
anyone who looks for the largest discharge, which is not the question; so the gains are dealt out among the
channels at random (a bipolar channel's amplitude depends on the generator's orientation as much as on its
distance), and every channel is scaled to unit variance as the pipeline does. What is left is time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from cldtrans.data.montages.montage import DOUBLE_BANANA, bipolar_recipe, electrode
from cldtrans.errors import DataError

HOP_S = (0.020, 0.120)
HOP_GAIN = 0.75
RATE_HZ = (3.0, 4.0)
ONSET = (0.1, 0.3)  # start of the discharge, as a fraction of the window
NEAR = 1.1  # channels whose midpoints are at most this far apart (in electrode spacings) are neighbours

# Electrodes of the 10-20 system on its grid: left to right, back to front.
_POSITIONS = {
    **dict(zip(("F7", "F3", "FZ", "F4", "F8"), ((x, 1.0) for x in (-2.0, -1.0, 0.0, 1.0, 2.0)), strict=True)),
    **dict(zip(("T7", "C3", "CZ", "C4", "T8"), ((x, 0.0) for x in (-2.0, -1.0, 0.0, 1.0, 2.0)), strict=True)),
    **dict(
        zip(("P7", "P3", "PZ", "P4", "P8"), ((x, -1.0) for x in (-2.0, -1.0, 0.0, 1.0, 2.0)), strict=True)
    ),
    "FP1": (-1.0, 2.0),
    "FP2": (1.0, 2.0),
    "O1": (-1.0, -2.0),
    "O2": (1.0, -2.0),
}


@dataclass(frozen=True)
class Plan:
    """How one discharge spreads.

    Attributes
    ----------
    lead : int
        Channel in which it starts.
    delay_s : array [C]
        Seconds after the lead.
    gain : array [C]
        Size of the discharge; 0 where it does not arrive.
    """

    lead: int
    delay_s: np.ndarray
    gain: np.ndarray


def to_double_banana(
    x: np.ndarray, mask: np.ndarray, channels: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Bring windows to the 18-channel double banana, derived by name where need be.

    Parameters
    ----------
    x : array [n, C, T]
        Windows, in any unit.
    mask : array [n, C] of bool
        Valid channels.
    channels : tuple of str
        Names of the C channels.

    Returns
    -------
    x : array [n, 18, T]
        Windows of the montage.
    mask : array [n, 18] of bool
        Its valid channels.
    channels : tuple of str
        Its names.

    Raises
    ------
    DataError
        Where a channel cannot be formed.
    """
    names = tuple("-".join(electrode(part) for part in name.split("-")) for name in channels)
    if names == tuple(DOUBLE_BANANA):
        return x, mask, names
    recipe = bipolar_recipe(channels, DOUBLE_BANANA)
    lacking = [target for target, (i, _, _) in zip(DOUBLE_BANANA, recipe, strict=True) if i < 0]
    if lacking:
        given = ", ".join(channels[:8]) + (", ..." if len(channels) > 8 else "")
        raise DataError(
            f"a planted discharge needs the 18 channels of the double banana; {', '.join(lacking)} "
            f"cannot be formed from {given}"
        )
    plus = np.array([i for i, _, _ in recipe])
    minus = np.array([i if j is None else j for i, j, _ in recipe])
    paired = np.array([j is not None for _, j, _ in recipe])
    sign = np.array([s for _, _, s in recipe], dtype=x.dtype)
    y = sign[:, None] * (x[:, plus] - paired[:, None] * x[:, minus])
    return y.astype(x.dtype), mask[:, plus] & mask[:, minus], tuple(DOUBLE_BANANA)


def neighbours(channels: tuple[str, ...]) -> np.ndarray:
    """Find bipolar channels that share an electrode or lie side by side, bool [C, C]."""
    ends = [[electrode(part) for part in name.split("-")] for name in channels]
    unknown = sorted({part for pair in ends for part in pair if part not in _POSITIONS})
    if unknown:
        raise DataError(
            f"no position for electrode(s) {', '.join(unknown)}; known: {', '.join(sorted(_POSITIONS))}"
        )
    middle = np.array([np.mean([_POSITIONS[part] for part in pair], axis=0) for pair in ends])
    near = np.linalg.norm(middle[:, None] - middle[None], axis=-1) <= NEAR
    shared = np.array([[bool(set(a) & set(b)) for b in ends] for a in ends])
    return (near | shared) & ~np.eye(len(channels), dtype=bool)


def draw_plan(
    adjacent: np.ndarray, mask: np.ndarray, rng: np.random.Generator, lead: int | None = None
) -> Plan:
    """Draw a random lead among the valid channels, and its spread along shortest paths.

    Parameters
    ----------
    adjacent : array [C, C] of bool
        From `neighbours`.
    mask : array [C] of bool
        Valid channels.
    rng : Generator
        Draws everything.
    lead : int, optional
        Where it is given, it is not drawn.
    """
    n_channels = len(mask)
    lead = int(rng.choice(np.flatnonzero(mask))) if lead is None else lead
    delay, hops = np.zeros(n_channels), np.full(n_channels, -1)
    hops[lead] = 0
    queue = deque([lead])
    while queue:
        here = queue.popleft()
        for there in rng.permutation(np.flatnonzero(adjacent[here] & mask)):
            if hops[there] < 0:
                hops[there] = hops[here] + 1
                delay[there] = delay[here] + rng.uniform(*HOP_S)
                queue.append(int(there))
    reached = hops >= 0
    gain = np.zeros(n_channels)
    gain[reached] = rng.permutation(HOP_GAIN ** hops[reached])
    return Plan(lead, np.where(reached, delay, 0.0), gain)


def discharge(
    delay_s: np.ndarray, n_samples: int, sample_rate: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw a spike-and-wave train of 3-4 Hz, delayed in each channel.

    Its complexes differ by 10 % in time and 20 % in size; being a sum of smooth pulses it is delayed exactly.

    Parameters
    ----------
    delay_s : array [C]
        Seconds.
    n_samples : int
        T.
    sample_rate : float
        Hertz.
    rng : Generator
        Draws the train.

    Returns
    -------
    array [C, T]
        Unit variance where it is on.
    """
    window_s = n_samples / sample_rate
    start = rng.uniform(*ONSET) * window_s
    period = 1 / rng.uniform(*RATE_HZ)
    gaps = period * np.maximum(0.5, 1 + 0.1 * rng.standard_normal(int(window_s / period) + 2))
    times = start + np.concatenate([[0.0], np.cumsum(gaps)])
    sizes = np.maximum(0.2, 1 + 0.2 * rng.standard_normal(len(times)))
    at = np.arange(n_samples)[None, :] / sample_rate - delay_s[:, None]
    train = np.zeros_like(at)
    for time_s, size in zip(times, sizes, strict=True):
        since = at - time_s
        train += size * (
            np.exp(-0.5 * ((since - 0.06) / 0.02) ** 2) - 0.6 * np.exp(-0.5 * ((since - 0.18) / 0.05) ** 2)
        )
    on = at >= start
    return train / np.sqrt(
        (train**2 * on).sum(axis=1, keepdims=True) / np.maximum(on.sum(axis=1, keepdims=True), 1)
    )


def add(x: np.ndarray, wave: np.ndarray, gain: np.ndarray, snr_db: float) -> np.ndarray:
    """Add a discharge to a background at a signal-to-noise ratio, and scale the sum to unit variance.

    Parameters
    ----------
    x : array [C, T]
        The background, in any unit.
    wave : array [C, T]
        The discharge, of unit variance.
    gain : array [C]
        Its size in each channel.
    snr_db : float
        Signal-to-noise ratio of gain 1, decibels.

    Returns
    -------
    array [C, T] of float32
        The sum.
    """
    return standardised(x + 10 ** (snr_db / 20) * at_zero_db(x, wave, gain))[0]


def at_zero_db(x: np.ndarray, wave: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Scale a discharge [C, T] so that gain 1 is as large as the background in each channel."""
    return x.std(axis=-1, keepdims=True) * gain[:, None] * wave


def standardised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale channels to mean 0 and unit variance.

    Parameters
    ----------
    x : array [..., T]
        In any unit.

    Returns
    -------
    x : array [..., T] of float32
        Scaled.
    deviation : array [..., 1]
        What it was divided by; 1 where nothing varies.
    """
    x = x - x.mean(axis=-1, keepdims=True)
    deviation = x.std(axis=-1, keepdims=True)
    deviation = np.where(deviation > 0, deviation, 1)
    return (x / deviation).astype(np.float32), deviation
