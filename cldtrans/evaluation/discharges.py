"""Discharges of several kinds and rhythms, planted in real EEG so that the montage's loops stay closed.

Left and right chains of the double banana run between the same electrodes: two sums of its channels are zero
in any recording. A discharge that is thought of channel by channel violates them, and whoever inverts a
covariance sees it there without noise. So what is added is the nearest thing that potentials at electrodes
can produce, in microvolts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.sparse.csgraph import shortest_path

from cldtrans.data.montages.montage import electrode
from cldtrans.evaluation import planted
from cldtrans.evaluation.planted import HOP_GAIN, ONSET, Plan

KINDS = ("single", "falling", "conducted", "two", "drift", "none")
RHYTHMS: dict[str, tuple[tuple[float, float], ...] | None] = {
    "3-4 Hz spikes": None,
    "1-2 Hz": ((1.0, 2.0),),
    "6-8 Hz": ((6.0, 8.0),),
    "8-15 Hz": ((8.0, 15.0),),
    "8 to 3 Hz": ((8.0, 8.0), (3.0, 3.0)),
    "14 to 8 Hz": ((14.0, 14.0), (8.0, 8.0)),
}
"""Ranges of the frequency, at the onset and at the end where that is another; None: spikes and waves."""
CONDUCTED = (1.0, 0.35, 0.12)
"""Share of a channel's discharge that is seen without delay 0, 1 and 2 hops away."""
SECOND_GAIN, SECOND_HOPS = 0.7, 3
DRIFT = 0.5
GAIN_SPREAD = (0.8, 1.2)
REVERSED = 0.3
"""Probability that a generator's orientation reverses the polarity in a channel."""
FINER = 4
"""Points of a waveform's spline, of each sample."""

Wave = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Source:
    """One waveform, and how it spreads: gains may be negative."""

    plan: Plan
    wave: Wave  # of seconds since the window's start


@dataclass(frozen=True)
class Discharge:
    """A discharge of one window.

    Attributes
    ----------
    sources : tuple of Source
        The first one's lead is the truth; none of them: no discharge.
    mixing : array [C, C]
        What channels see of each other's discharge without delay.
    drift : float
        Delays are multiplied by a factor that runs from 1 - drift to 1 + drift over the window.
    n_samples : int
        T.
    sample_rate : float
        Hertz.
    rhythm : str
        Of `RHYTHMS`.
    """

    sources: tuple[Source, ...]
    mixing: np.ndarray
    drift: float
    n_samples: int
    sample_rate: float
    rhythm: str

    @property
    def lead(self) -> int | None:
        """The channel in which it starts."""
        return self.sources[0].plan.lead if self.sources else None

    def delayed(self, source: Source, delay_s: np.ndarray) -> np.ndarray:
        """Return a source's waveform at delays [D], as array [D, T]."""
        time_s = np.arange(self.n_samples) / self.sample_rate
        factor = 1 + self.drift * (2 * np.arange(self.n_samples) / max(1, self.n_samples - 1) - 1)
        return source.wave(time_s - delay_s[:, None] * factor)

    def unmixed(self, source: Source) -> np.ndarray:
        """Return what a source alone does in each channel before anything is mixed, [C, T]; gain 1 is 1."""
        return source.plan.gain[:, None] * self.delayed(source, source.plan.delay_s)

    def again(self, rng: np.random.Generator) -> Discharge:
        """Return another window of the same seizure: the same leads, gains and delays, other waveforms."""
        sources = tuple(
            replace(source, wave=draw_wave(self.rhythm, self.n_samples, self.sample_rate, rng))
            for source in self.sources
        )
        return replace(self, sources=sources)


def draw(
    kind: str,
    channels: tuple[str, ...],
    n_samples: int,
    sample_rate: float,
    rng: np.random.Generator,
    rhythm: str = "3-4 Hz spikes",
) -> Discharge:
    """Draw a discharge.

    Parameters
    ----------
    kind : one of `KINDS`
        `single`: gains are dealt out at random, so that size says nothing of the lead. All others: gains
        fall by `HOP_GAIN` a hop, spread by `GAIN_SPREAD`, some of them reversed. `falling`: that alone.
        `conducted`: with volume conduction, `CONDUCTED`. `two`: with a second, smaller source of its own
        waveform, at least `SECOND_HOPS` away. `drift`: delays grow, or shrink, by half either side of what
        is planned. `none`: no discharge.
    channels : tuple of str
        Bipolar channels.
    n_samples : int
        T.
    sample_rate : float
        Hertz.
    rng : Generator
        Draws everything.
    rhythm : one of `RHYTHMS`
        Of its waveforms.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r} of discharge; known: {', '.join(KINDS)}")
    adjacent, hops = _graph(channels)
    everywhere = np.ones(len(channels), dtype=bool)

    def source(lead: int | None = None) -> Source:
        plan = planted.draw_plan(adjacent, everywhere, rng, lead)
        if kind != "single":
            plan = replace(plan, gain=_falling(hops[plan.lead], rng))
        return Source(plan, draw_wave(rhythm, n_samples, sample_rate, rng))

    sources: tuple[Source, ...] = () if kind == "none" else (source(),)
    if kind == "two":
        far = np.flatnonzero(hops[sources[0].plan.lead] >= SECOND_HOPS)
        second = source(int(rng.choice(far)))
        plan = replace(second.plan, gain=SECOND_GAIN * second.plan.gain)
        sources = (*sources, replace(second, plan=plan))
    mixing = np.eye(len(channels))
    if kind == "conducted":
        mixing = np.select([hops == k for k in range(len(CONDUCTED))], CONDUCTED, 0.0)
    drift = DRIFT * float(rng.choice([-1, 1])) if kind == "drift" else 0.0
    return Discharge(sources, mixing, drift, n_samples, sample_rate, rhythm)


def draw_wave(rhythm: str, n_samples: int, sample_rate: float, rng: np.random.Generator) -> Wave:
    """Draw a waveform of unit variance where it is on, as a function of time that can be delayed exactly.

    Spikes and waves are those of `planted.discharge`. Oscillations have a second harmonic, and their
    frequency and size wander by some ten per cent.
    """
    n, rate = n_samples * FINER, sample_rate * FINER
    ranges = RHYTHMS[rhythm]
    if ranges is None:
        values = planted.discharge(np.zeros(1), n, rate, rng)[0]
    else:
        values = _oscillation([rng.uniform(*one) for one in ranges], n, rate, rng)
    spline, end_s = CubicSpline(np.arange(n) / rate, values), (n - 1) / rate
    # Before the window is before the onset. A spline extrapolated beyond its end would grow without bound.
    return lambda time_s: np.where(time_s >= 0, spline(np.clip(time_s, 0, end_s)), 0.0)


def onto_electrodes(channels: tuple[str, ...]) -> np.ndarray:
    """Return the projector [C, C] onto what potentials at electrodes can produce in bipolar channels."""
    pairs = [[electrode(part) for part in name.split("-")] for name in channels]
    electrodes = sorted({part for pair in pairs for part in pair})
    incidence = np.zeros((len(pairs), len(electrodes)))
    for row, (plus, minus) in zip(incidence, pairs, strict=True):
        row[electrodes.index(plus)], row[electrodes.index(minus)] = 1.0, -1.0
    return incidence @ np.linalg.pinv(incidence)


def response(background: np.ndarray, discharge: Discharge, projector: np.ndarray) -> np.ndarray:
    """Return what unmixed discharges of gain 1 do to a montage at 0 dB, microvolts, array [C, C].

    Parameters
    ----------
    background : array [C, T]
        Microvolts: its deviation is the unit of a channel's discharge.
    discharge : Discharge
        Says what is mixed.
    projector : array [C, C]
        From `onto_electrodes`.
    """
    return projector @ (background.std(axis=1)[:, None] * discharge.mixing)


def plant(background: np.ndarray, discharge: Discharge, snr_db: float, projector: np.ndarray) -> np.ndarray:
    """Add a discharge to a background that obeys the montage's loops; so does the sum.

    Parameters
    ----------
    background : array [C, T]
        Microvolts.
    discharge : Discharge
        From `draw`.
    snr_db : float
        Signal-to-noise ratio of gain 1 before loops are closed, decibels.
    projector : array [C, C]
        From `onto_electrodes`.

    Returns
    -------
    array [C, T]
        The sum, microvolts.
    """
    if not discharge.sources:
        return background
    together = np.sum([discharge.unmixed(source) for source in discharge.sources], axis=0)
    return background + 10 ** (snr_db / 20) * response(background, discharge, projector) @ together


def _oscillation(hertz: list[float], n: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Draw an oscillation that begins in the window, at one frequency or going over to another."""
    window_s = n / rate
    start = rng.uniform(*ONSET) * window_s
    time_s = np.arange(n) / rate
    since, left_s = time_s - start, window_s - start
    phase = 2 * np.pi * (hertz[0] * since + (hertz[-1] - hertz[0]) * since**2 / (2 * left_s))
    turn = 2 * np.pi * np.arange(1, 12)[:, None] * time_s / window_s  # slow waves
    wander = rng.standard_normal((2, 11)) / np.arange(1, 12)
    phase = phase + 0.6 * (wander[0] @ np.sin(turn) + wander[1] @ np.cos(turn))
    size = 1 + 0.15 * rng.standard_normal(7) @ np.sin(turn[:7] + rng.uniform(0, 2 * np.pi, (7, 1)))
    wave = size * (np.sin(phase) + 0.4 * np.sin(2 * phase + 1))
    wave = wave / (1 + np.exp(-np.clip(since / 0.02, -50, 50)))
    return wave / np.sqrt((wave[since >= 0] ** 2).mean())


def _falling(hops: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw gains that fall with the distance from the lead."""
    gain = HOP_GAIN**hops * np.where(hops > 0, rng.uniform(*GAIN_SPREAD, len(hops)), 1.0)
    return gain * np.where(rng.random(len(hops)) < REVERSED, -1.0, 1.0)


@lru_cache(8)
def _graph(channels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return which channels are neighbours, bool [C, C], and how many hops apart any two are."""
    adjacent = planted.neighbours(channels)
    return adjacent, shortest_path(adjacent.astype(float), unweighted=True)
