"""A night of sleep: a plausible hypnogram and signals with each stage's rhythms.

Alpha when awake, theta and slow rolling eyes in N1, spindles and K complexes in N2, delta waves in N3, mixed
activity and rapid eye movements in REM. How strong each rhythm is differs between subjects; a slow gain
removes most of what amplitude would say about the stage, and every epoch is a mixture of its stage and one
that resembles it.
"""

from __future__ import annotations

import numpy as np

STAGES = ("W", "N1", "N2", "N3", "R")
EPOCH_S = 30
RATE_HZ = 100
_BUMPS = {  # stage: (centre Hz, width Hz, power against 1/f at the front, at the back) each
    "W": ((10.0, 0.7, 0.35, 0.8), (20.0, 4.0, 0.35, 0.25)),
    "N1": ((5.5, 1.1, 0.6, 0.5), (9.0, 1.0, 0.1, 0.15)),
    "N2": ((3.0, 1.2, 0.4, 0.3), (5.5, 1.3, 0.25, 0.2)),
    "N3": ((1.2, 0.5, 1.3, 0.8), (3.0, 1.0, 0.3, 0.2)),
    "R": ((4.5, 1.3, 0.4, 0.45), (8.2, 0.8, 0.15, 0.2)),
}

_LOOKALIKES = ((1,), (0, 2, 4), (1, 3), (2,), (1, 0))  # stages that each one is mistaken for


def hypnogram(rng: np.random.Generator, epochs: int, lead_in: int) -> np.ndarray:
    """Draw a night's stages: wake, cycles of N1-N2-N3-N2-REM, wake.

    Parameters
    ----------
    rng : Generator
        Draws the lengths.
    epochs : int
        Epochs of 30 s.
    lead_in : int
        Epochs awake before sleep.

    Returns
    -------
    array [epochs] of int
        Positions in `STAGES`.
    """
    lead_out = int(rng.integers(3, 6))
    middle = epochs - lead_in - lead_out
    unit = max(middle / 60, 0.25)  # cycles shorten with the recording so that every stage occurs

    def stay(shortest: int, longest: int) -> int:
        return max(1, round(unit * rng.integers(shortest, longest + 1)))

    night: list[int] = []
    while len(night) < middle:
        night += [1] * stay(3, 5) + [2] * stay(5, 8) + [3] * stay(6, 9) + [2] * stay(3, 5)
        night += [4] * stay(5, 8)
        if rng.random() < 0.5:
            night += [0] * stay(1, 3)
    return np.array([0] * lead_in + night[:middle] + [0] * lead_out)


def night(rng: np.random.Generator, stages: np.ndarray) -> dict[str, np.ndarray]:
    """Draw the signals of one night.

    Parameters
    ----------
    rng : Generator
        Draws the subject's traits and the noise.
    stages : array [epochs] of int
        Position in `STAGES` of each 30-s epoch.

    Returns
    -------
    dict of arrays [epochs * 3000]
        ``front`` (Fpz-Cz), ``back`` (Pz-Oz), ``eog``, ``emg``: at 100 Hz, in microvolts.
    """
    n = len(stages) * EPOCH_S * RATE_HZ
    weight = _weights(_blur(rng, stages), n)  # [5, n]
    eeg = np.zeros((2, n))
    for k, stage in enumerate(STAGES):
        eeg += weight[k] * _stage_eeg(rng, stage, n)
    eeg += _events(rng, weight, n)
    eyes = _eyes(rng, weight, n)
    eog = eyes + 0.35 * eeg[0] + 0.25 * _noise(rng, np.ones(n // 2 + 1), n)
    eeg[0] += 0.3 * eyes
    muscle = np.fft.rfftfreq(n, 1 / RATE_HZ) > 12
    emg = _noise(rng, muscle.astype(float), n) * np.sqrt(weight.T @ [2.0, 1.4, 1.1, 1.0, 0.6])
    levels = rng.uniform([22, 16, 40, 1.2], [40, 30, 80, 2.5])
    signals = np.stack([*eeg, eog, emg])
    signals[:3] *= _even_out(rng, signals[:3])
    return dict(zip(("front", "back", "eog", "emg"), signals * levels[:, None], strict=True))


def _blur(rng: np.random.Generator, stages: np.ndarray) -> np.ndarray:
    """Share of each stage in each epoch's power, [5, epochs]: sleep is not as discrete as its scoring."""
    share = rng.beta(2.6, 1.1, len(stages))
    second = np.array([rng.choice(_LOOKALIKES[stage]) for stage in stages])
    out = np.zeros((len(STAGES), len(stages)))
    np.add.at(out, (stages, np.arange(len(stages))), share)
    np.add.at(out, (second, np.arange(len(stages))), 1 - share)
    return out


def _weights(shares: np.ndarray, n: int) -> np.ndarray:
    """How much each stage contributes at each sample, with transitions of about two seconds, [5, n]."""
    hard = np.repeat(shares, EPOCH_S * RATE_HZ, axis=1)
    width = 2 * RATE_HZ
    summed = np.cumsum(np.pad(hard, ((0, 0), (width // 2 + 1, width // 2)), mode="edge"), axis=1)
    return np.sqrt(np.maximum(summed[:, width:] - summed[:, :-width], 0)[:, :n] / width)


def _noise(rng: np.random.Generator, power: np.ndarray, n: int) -> np.ndarray:
    """Noise of unit variance with the given power spectrum [F]."""
    spectrum = np.fft.rfft(rng.standard_normal(n)) * np.sqrt(power / power.mean())
    return np.fft.irfft(spectrum, n)


def _stage_eeg(rng: np.random.Generator, stage: str, n: int) -> np.ndarray:
    """Ongoing activity of one stage at the front and the back, partly shared, unit variance, [2, n]."""
    frequency = np.fft.rfftfreq(n, 1 / RATE_HZ)
    base = 1 / np.maximum(frequency, 0.5) ** rng.uniform(1.1, 1.5)
    base[0] = 0
    base /= base.sum()
    shifts = 0.06 * rng.standard_normal(len(_BUMPS[stage]))
    strengths = np.exp(0.55 * rng.standard_normal(len(_BUMPS[stage])))
    shared = rng.standard_normal(n)
    rows = []
    for place in (2, 3):
        power = base.copy()
        for bump, shift, strength in zip(_BUMPS[stage], shifts, strengths, strict=True):
            shape = np.exp(-0.5 * ((frequency - bump[0] * (1 + shift)) / bump[1]) ** 2)
            power += bump[place] * strength * shape / shape.sum()
        white = 0.75 * shared + 0.66 * rng.standard_normal(n)
        rows.append(np.fft.irfft(np.fft.rfft(white) * np.sqrt(power / power.mean()), n))
    return np.stack(rows)


def _events(rng: np.random.Generator, weight: np.ndarray, n: int) -> np.ndarray:
    """Spindles and K complexes of N2, a few spindles in N3, sawtooth waves in REM, [2, n]."""
    out = np.zeros((2, n))
    spindle_hz = rng.uniform(12.2, 14.2)
    size = np.exp(0.35 * rng.standard_normal())
    seconds = n / RATE_HZ
    t = np.arange(-150, 151) / RATE_HZ
    for at in rng.uniform(2, seconds - 2, rng.poisson(seconds / 7)):
        i = int(at * RATE_HZ)
        chance = weight[2, i] + 0.25 * weight[3, i]
        if rng.random() < chance:
            envelope = np.exp(-0.5 * (t / rng.uniform(0.2, 0.4)) ** 2)
            wave = np.sin(2 * np.pi * spindle_hz * t + rng.uniform(0, 6)) * envelope
            out[:, i - 150 : i + 151] += size * rng.uniform(0.9, 1.8) * np.outer([1.0, 0.8], wave)
    for at in rng.uniform(2, seconds - 2, rng.poisson(seconds / 18)):
        i = int(at * RATE_HZ)
        if rng.random() < weight[2, i]:
            wave = 1.2 * np.exp(-0.5 * ((t - 0.55) / 0.2) ** 2) - 2.4 * np.exp(-0.5 * (t / 0.11) ** 2)
            out[:, i - 150 : i + 151] += rng.uniform(0.7, 1.4) * np.outer([1.0, 0.5], wave)
        if rng.random() < weight[4, i]:
            wave = (2 * ((3.0 * t) % 1) - 1) * np.exp(-0.5 * (t / 0.6) ** 2)
            out[:, i - 150 : i + 151] += rng.uniform(0.5, 1.0) * np.outer([1.0, 0.6], wave)
    return out


def _eyes(rng: np.random.Generator, weight: np.ndarray, n: int) -> np.ndarray:
    """Blinks and saccades awake, slow rolling in N1, bursts of rapid movements in REM, [n]."""
    seconds = n / RATE_HZ
    t = np.arange(n) / RATE_HZ
    rolling = np.sin(2 * np.pi * rng.uniform(0.2, 0.35) * t + np.cumsum(rng.standard_normal(n)) * 0.03)
    out = 1.2 * weight[1] * rolling + 0.35 * weight[0] * rolling
    jumps = np.zeros(n)
    burst = rng.uniform(0, seconds, rng.poisson(seconds / 9))
    rapid = np.concatenate([at + rng.uniform(0, 3, rng.integers(2, 7)) for at in burst] or [np.zeros(0)])
    for at, stage in [(at, 4) for at in rapid] + [
        (at, 0) for at in rng.uniform(0, seconds, rng.poisson(seconds / 3))
    ]:
        i = int(at * RATE_HZ)
        if i < n and rng.random() < weight[stage, i]:
            jumps[i] += rng.choice([-1.0, 1.0]) * rng.uniform(0.8, 2.0)
    kernel_t = np.arange(0, 3 * RATE_HZ) / RATE_HZ
    kernel = np.exp(-kernel_t / 0.7) - np.exp(-kernel_t / 0.02)  # a step seen through the amplifier
    out += np.convolve(jumps, kernel)[:n]
    blink = np.exp(-0.5 * ((kernel_t - 0.3) / 0.07) ** 2)
    blinks = (rng.random(n) < weight[0] / (5 * RATE_HZ)).astype(float)
    return out + 1.8 * np.convolve(blinks, blink)[:n]


def _even_out(rng: np.random.Generator, signals: np.ndarray) -> np.ndarray:
    """Return a slow gain [C, n] that takes away most of each epoch's own level and adds a random one."""
    channels, n = signals.shape
    size = EPOCH_S * RATE_HZ
    level = np.log(signals.reshape(channels, -1, size).std(axis=2))
    gain = -0.85 * level + 0.22 * rng.standard_normal(level.shape)
    centre = (np.arange(level.shape[1]) + 0.5) * size
    return np.exp(np.stack([np.interp(np.arange(n), centre, row) for row in gain]))
