"""Seizures with a known leading channel: a spike-and-wave discharge that travels along the double banana.

The discharge begins in one bipolar channel and reaches each neighbour 20-120 ms later, so every channel
carries the same jittered, evolving, non-sinusoidal train with its own delay. Nothing but the delays tells the
leading channel: the ratio of discharge to background is drawn anew for every channel (at most 5 dB), and
while it lasts background and discharge together keep the power that the background had.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from cldtrans.data.miniature.head import BANANA, TEN_TWENTY, incidence, neighbours, positions

HOP_S = (0.020, 0.120)
SNR_DB = (-2.0, 5.0)
_RISE_S = 1.5
_RESCALINGS = 4


@dataclass(frozen=True)
class Seizure:
    """What is planted; arrays follow the order of `head.BANANA`."""

    onset_s: float
    end_s: float
    lead: int
    delay_s: np.ndarray  # [18] after the leading channel
    parent: np.ndarray  # [18] channel it was reached from; the leading channel is its own
    snr_db: np.ndarray  # [18] discharge over background, 0.5-40 Hz

    def truth(self) -> dict[str, object]:
        """Return the planted facts as plain values for a JSON file."""
        return {
            "onset_s": self.onset_s,
            "end_s": self.end_s,
            "lead": BANANA[self.lead],
            "delay_s": {name: round(float(d), 6) for name, d in zip(BANANA, self.delay_s, strict=True)},
            "snr_db": {name: round(float(s), 3) for name, s in zip(BANANA, self.snr_db, strict=True)},
            "edges": [
                {
                    "source": BANANA[j],
                    "target": BANANA[i],
                    "lag_s": round(float(self.delay_s[i] - self.delay_s[j]), 6),
                }
                for i, j in enumerate(self.parent)
                if i != j
            ],
        }


def plan_seizure(rng: np.random.Generator, lead: int, onset_s: float, end_s: float) -> Seizure:
    """Draw the ratios, and the delays as shortest paths from `lead` over random hop times (Dijkstra)."""
    delay_s = np.full(len(BANANA), np.inf)
    parent = np.full(len(BANANA), lead)
    delay_s[lead] = 0.0
    queue = [(0.0, lead)]
    done: set[int] = set()
    while queue:
        reached_s, j = heapq.heappop(queue)
        if j in done:
            continue
        done.add(j)
        for i in neighbours()[j]:
            arrival_s = reached_s + rng.uniform(*HOP_S)
            if arrival_s < delay_s[i]:
                delay_s[i], parent[i] = arrival_s, j
                heapq.heappush(queue, (arrival_s, i))
    return Seizure(onset_s, end_s, lead, delay_s, parent, rng.uniform(*SNR_DB, len(BANANA)))


def discharge(
    rng: np.random.Generator, seizure: Seizure, n: int, sample_rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the clean discharge of a seizure.

    Parameters
    ----------
    rng : Generator
        Draws the train's jitter and shape.
    seizure : Seizure
        What is planted.
    n : int
        Samples.
    sample_rate : float
        Hertz.

    Returns
    -------
    clean, envelope : array [18, n]
        The discharge and its envelope; unit power where the envelope is 1.
    """
    seconds = seizure.end_s - seizure.onset_s
    rates_hz = np.linspace(rng.uniform(4.2, 5.0), rng.uniform(3.0, 3.6), 256)
    periods = np.exp(0.13 * rng.standard_normal(int(seconds * 8)))
    times = [0.05]
    for jitter in periods:
        hz = np.interp(times[-1] / seconds, np.linspace(0, 1, 256), rates_hz)
        if times[-1] + jitter / hz > seconds:
            break
        times.append(times[-1] + jitter / hz)
    beats = np.array(times)  # [events] after the onset, in the leading channel
    strength = np.exp(0.25 * rng.standard_normal(len(beats)))[:, None]
    strength = strength * np.exp(0.12 * rng.standard_normal((len(beats), len(BANANA))))  # [events, 18]
    wave = rng.uniform(0.35, 0.65) * np.exp(0.15 * rng.standard_normal(len(beats)))

    half = round(0.5 * sample_rate)
    at_s = seizure.onset_s + beats[:, None] + seizure.delay_s  # [events, 18]
    first = np.floor(at_s * sample_rate).astype(int) - half
    index = first[..., None] + np.arange(2 * half + 1)  # [events, 18, samples]
    t = index / sample_rate - at_s[..., None]
    shape = (
        np.exp(-0.5 * (t / 0.016) ** 2)
        - 0.45 * np.exp(-0.5 * ((t - 0.04) / 0.02) ** 2)
        - wave[:, None, None] * np.exp(-0.5 * ((t - 0.14) / 0.05) ** 2)
    )
    clean = np.zeros((len(BANANA), n))
    inside = (index >= 0) & (index < n)
    channel = np.broadcast_to(np.arange(len(BANANA))[:, None], index.shape)
    np.add.at(clean, (channel[inside], index[inside]), (shape * strength[..., None])[inside])

    local_s = np.arange(n) / sample_rate - seizure.onset_s - seizure.delay_s[:, None]
    ramp = np.clip(np.minimum(local_s / _RISE_S, (seconds - local_s) / _RISE_S), 0, 1)
    envelope = np.sin(0.5 * np.pi * ramp) ** 2
    whole = ramp >= 1
    mean = np.sum(clean * whole, axis=1, keepdims=True) / whole.sum(axis=1, keepdims=True)
    clean -= mean
    power = np.sum(clean**2 * whole, axis=1, keepdims=True) / whole.sum(axis=1, keepdims=True)
    return clean / np.sqrt(power) * envelope, envelope


def plant(
    rng: np.random.Generator,
    potential: np.ndarray,
    electrodes: tuple[str, ...],
    sample_rate: float,
    seizure: Seizure,
) -> None:
    """Add a seizure to potentials in place.

    The wanted bipolar signals are turned into potentials of the 19 electrodes by weighted least squares: only
    what potentials can produce can be recorded, so around each closed loop of the double banana the channels
    still sum to zero. That changes powers a little, so the wanted signals are rescaled until what is recorded
    has the background's typical power again. Other electrodes receive a weighted mean of their neighbours.

    Parameters
    ----------
    rng : Generator
        Draws the discharge.
    potential : array [E, n]
        In microvolts; changed.
    electrodes : tuple of str
        Of the E rows, in capitals.
    sample_rate : float
        Hertz.
    seizure : Seizure
        What is planted.
    """
    begin = max(int((seizure.onset_s - 1) * sample_rate), 0)
    end = min(int((seizure.end_s + 2) * sample_rate), potential.shape[1])
    core = [electrodes.index(name) for name in TEN_TWENTY]
    to_bipolar = incidence(BANANA, TEN_TWENTY)
    background = to_bipolar @ potential[core, begin:end]
    shifted = Seizure(
        seizure.onset_s - begin / sample_rate,
        seizure.end_s - begin / sample_rate,
        seizure.lead,
        seizure.delay_s,
        seizure.parent,
        seizure.snr_db,
    )
    clean, envelope = discharge(rng, shifted, end - begin, sample_rate)
    ratio = 10 ** (seizure.snr_db[:, None] / 20)
    level = _band_std(background, sample_rate)  # [18, 1]
    wanted = background + ratio * level * clean
    wanted /= np.sqrt(1 + (ratio * envelope) ** 2)
    to_potential = np.linalg.pinv(to_bipolar / level) / level.T  # [19, 18]
    for _ in range(_RESCALINGS):
        recorded = background + to_bipolar @ (to_potential @ (wanted - background))
        rescale = _typical_level(background, envelope, sample_rate) / _typical_level(
            recorded, envelope, sample_rate
        )
        wanted *= 1 + (rescale - 1) * envelope
    change = to_potential @ (wanted - background)

    at = positions(electrodes)
    weight = np.exp(-0.5 * (np.arccos(np.clip(at @ at[core].T, -1, 1)) / 0.3) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    weight[core] = np.eye(len(core))
    potential[:, begin:end] += weight @ change


def _typical_level(x: np.ndarray, envelope: np.ndarray, sample_rate: float) -> np.ndarray:
    """Geometric mean over seconds of the standard deviation where all envelopes are 1, [C, 1]."""
    second = int(sample_rate)
    inside = np.flatnonzero((envelope >= 1).all(axis=0))
    blocks = x[:, inside[: len(inside) // second * second]].reshape(len(x), -1, second)
    return np.exp(0.5 * np.log(np.mean(blocks**2, axis=2)).mean(axis=1, keepdims=True))


def _band_std(x: np.ndarray, sample_rate: float) -> np.ndarray:
    """Return standard deviation between 0.5 and 40 Hz, [C, 1]."""
    spectrum = np.abs(np.fft.rfft(x)) ** 2
    frequency = np.fft.rfftfreq(x.shape[1], 1 / sample_rate)
    band = (frequency >= 0.5) & (frequency <= 40)
    return np.sqrt(2 * spectrum[:, band].sum(axis=1, keepdims=True)) / x.shape[1]
