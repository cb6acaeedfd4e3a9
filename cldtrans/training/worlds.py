"""Simulated windows with known edges and lags, made fast in batches, that teach the lag network.

Two kinds, mixed at random window by window:

network : a sparse linear system with lags, each channel with an autoregressive filter of its own,
    `X(f) = M(f)^-1 E(f)` solved on the bins of a longer circular record; then, in some windows, sensor noise,
    mixing at zero lag, or the band limit of the real recordings.
spread : a rhythmic discharge that begins at one channel and travels along a tree, over a background that a
    set of distant sources mixes into neighbouring electrodes (volume conduction), or over a real window. All
    channels carry the same wave, so no data tell direct from indirect: every later channel follows every
    earlier one. In some windows there is the background alone, and nobody leads.

Window number n is the same whatever batch or rank asks for it. These worlds are not those of
`cldtrans.lag.simulate`, on which lags are judged: that one draws one resonance a channel and unit noise;
here orders, radii, weights, noise families, nuisances and the range of lags differ by window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import fft
from scipy.sparse.csgraph import dijkstra

from cldtrans.models.modality import RATE_HZ
from cldtrans.training.loader import ShardCorpus

N_WINDOWS = 1 << 20  # numbers of windows: never exhausted
MARGIN = 400  # samples of the circular record outside the window
MAX_GAIN = 0.9
MAX_PATH_GAIN = 3.0  # about that of one edge where there are no loops
CHANNELS = np.setdiff1d(np.arange(4, 29), (6, 12, 24))  # one number a batch; those left out are for judging
CHANNEL_ODDS = (1 / CHANNELS) / (1 / CHANNELS).sum()
WINDOW_SAMPLES = {"eeg": (960, 1600), "ecg": (2000, 3000)}
SPREAD_SHARE = 0.4
CONDUCTED_SHARE = 0.3  # of the discharges
LEVELS_DB = (-8, 20)  # of a discharge over its background
NONE_SHARE = 0.15  # of the windows that might have a discharge
QUIET = 2  # windows that are the background of a batch's windows, where they have one
QUIET_SHARE = 0.4  # of the batches


@dataclass
class World:
    """One window and what made it; row = target, lags in seconds."""

    x: np.ndarray  # [C, T]
    edge: np.ndarray  # [C, C] bool
    lag_s: np.ndarray  # [C, C], 0 without an edge
    lead: int  # leading channel, -1 where there is none
    known: bool = True  # False: pairs without an edge may have one (the background is a real recording)
    background: np.ndarray | None = None  # [K, C, T] without a discharge


class WorldCorpus:
    """Windows of simulated worlds, for the loader.

    Parameters
    ----------
    modality : one of "eeg", "ecg"
        Gives the rate, the lengths of windows and lags, and the shapes of discharges.
    tau_max_s : float
        End of the lag grid, seconds; lags are drawn below it.
    seed : int
        Of the whole stream.
    background : ShardCorpus, optional
        Real windows of that modality that half of the discharges are added to.
    """

    def __init__(
        self,
        modality: str,
        tau_max_s: float,
        seed: int,
        background: ShardCorpus | None = None,
    ):
        self.name, self.modality, self.rate_hz = f"worlds-{modality}", modality, RATE_HZ[modality]
        self.tau_max_s, self.seed = tau_max_s, seed
        if background is not None and len(background) and background.rate_hz == self.rate_hz:
            self.background: ShardCorpus | None = background
        else:
            self.background = None

    def __len__(self) -> int:
        return N_WINDOWS

    def load(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Make windows by their numbers.

        Parameters
        ----------
        rows : array [B] of int
            Numbers of the windows.
        rng : Generator
            The step's, which chooses the size that its windows share.

        Returns
        -------
        dict of arrays
            `x` [B, C, T], `mask` [B, C], `edge` [B, C, C], `lag_s` [B, C, C], `lead`, `known` [B], and in
            some steps `background` [B, K, C, T].
        """
        n_channels = int(rng.choice(CHANNELS, p=CHANNEL_ODDS))
        n_samples = int(rng.integers(*WINDOW_SAMPLES[self.modality], endpoint=True))
        n_quiet = QUIET if rng.random() < QUIET_SHARE else 0
        worlds = [self.window(int(row), n_channels, n_samples, n_quiet) for row in rows]
        quiet = [world.background for world in worlds if world.background is not None]
        return {
            **({"background": np.stack(quiet).astype(np.float32)} if n_quiet else {}),
            "x": np.stack([world.x for world in worlds]).astype(np.float32),
            "mask": np.ones((len(worlds), n_channels), dtype=bool),
            "edge": np.stack([world.edge for world in worlds]),
            "lag_s": np.stack([world.lag_s for world in worlds]).astype(np.float32),
            "lead": np.array([world.lead for world in worlds]),
            "known": np.array([world.known for world in worlds]),
        }

    def window(self, number: int, n_channels: int, n_samples: int, n_quiet: int = 0) -> World:
        """Make one window by its number, and `n_quiet` windows of its background."""
        rng = np.random.default_rng([self.seed, number])
        size = (n_channels, n_samples, self.rate_hz, self.tau_max_s, self.modality)
        if rng.random() >= SPREAD_SHARE:
            return network_world(rng, *size, n_quiet)
        return spread_world(rng, *size, n_quiet, self._real(rng, n_channels, n_samples, n_quiet))

    def _real(
        self, rng: np.random.Generator, n_channels: int, n_samples: int, n_quiet: int
    ) -> np.ndarray | None:
        """Return stretches of a recording's channels [1 + K, C, T], for half of the calls if any fit."""
        if self.background is None or rng.random() < 0.5:
            return None
        row = int(self.background.rows[rng.integers(len(self.background.rows))])
        recording = self._recording
        others = np.flatnonzero(recording == recording[row])
        others = others[others != row]
        if n_quiet and not len(others):
            return None
        rows = np.concatenate([[row], rng.choice(others, n_quiet)]) if n_quiet else np.array([row])
        x, mask = self.background.shards.windows(rows), self.background.shards.mask(rows)
        last = x.shape[-1] - n_samples
        valid = np.flatnonzero((mask & (x.std(-1) > 0)).all(0))
        if last < 0 or len(valid) < n_channels:
            return None
        start = int(rng.integers(0, last, endpoint=True))
        chosen = rng.permutation(valid)[:n_channels]
        return x[:, chosen, start : start + n_samples].astype(float)

    @cached_property
    def _recording(self) -> np.ndarray:
        """Return the number of each window's recording."""
        assert self.background is not None
        return pd.factorize(self.background.shards.index["recording"])[0]


def network_world(
    rng: np.random.Generator,
    n_channels: int,
    n_samples: int,
    sample_rate: float,
    tau_max_s: float,
    modality: str,
    n_quiet: int = 0,
) -> World:
    """Draw a sparse lagged system; `n_quiet` further windows of it are its background."""
    max_lag = 0.95 * tau_max_s * sample_rate
    edge = _draw_graph(rng, n_channels)
    longest = max_lag * rng.choice([0.3, 0.85, 1.0])
    lag = np.where(edge, rng.uniform(rng.choice([0.2, 1.0, 1.0]), longest, edge.shape), 0.0)
    low = rng.uniform(0.1, 0.4)
    size = rng.uniform(low, low + rng.uniform(0.1, 0.4), edge.shape)
    weight = np.where(edge, size * rng.choice([-1, 1], edge.shape, p=[0.45, 0.55]), 0.0)

    span = n_samples * (1 + n_quiet)
    length = fft.next_fast_len(span + MARGIN, real=True)
    frequency = np.fft.rfftfreq(length)
    own = _own_filters(rng, n_channels, frequency, sample_rate)  # [F, C]
    quiet = np.abs(own)
    some = np.union1d(
        np.arange(0, len(own), max(1, len(own) // 32)), quiet.argmin(0)
    )  # resonances are narrow
    gains = np.abs(weight) / quiet[some, :, None]
    loops, paths = (max(_radius(g) for g in each) for each in (gains, (gains + gains.transpose(0, 2, 1)) / 2))
    weight /= max(1.0, loops / MAX_GAIN, paths / MAX_PATH_GAIN)
    e = fft.rfft(_innovations(rng, (n_channels, length), modality, sample_rate))
    matrix = (-weight * np.exp(-2j * np.pi * frequency[:, None, None] * lag)).astype(np.complex64)
    diagonal = np.arange(n_channels)
    matrix[:, diagonal, diagonal] += own.astype(np.complex64)
    spectrum = np.linalg.solve(matrix, e.T[..., None].astype(np.complex64))[..., 0].T
    x = fft.irfft(_nuisances(rng, spectrum, frequency, sample_rate), length)
    start = (length - span) // 2
    x, *quiet = np.split(x[:, start : start + span], 1 + n_quiet, axis=1)
    background = np.stack(quiet) if n_quiet else None
    return World(x, edge, lag / sample_rate, -1, background=background)


def spread_world(
    rng: np.random.Generator,
    n_channels: int,
    n_samples: int,
    sample_rate: float,
    tau_max_s: float,
    modality: str,
    n_quiet: int = 0,
    real: np.ndarray | None = None,
) -> World:
    """Draw a discharge from one channel along a tree.

    Parameters
    ----------
    rng : Generator
        Draws everything.
    n_channels, n_samples : int
        C and T.
    sample_rate : float
        Hertz.
    tau_max_s : float
        Largest lag, seconds.
    modality : one of "eeg", "ecg"
        Shapes the discharge.
    n_quiet : int
        Windows of background beside it, K.
    real : array [1 + K, C, T], optional
        A real background, and more of it; default: a volume-conducted one is drawn.
    """
    place = rng.uniform(0, 1, (n_channels, 2))
    distance = np.linalg.norm(place[:, None] - place, axis=-1)
    if real is None:
        drawn = _background(rng, place, n_samples * (1 + n_quiet), sample_rate, modality)
        background, *quiet = np.split(drawn, 1 + n_quiet, axis=1)
    else:
        background, *quiet = real
    around = np.stack(quiet) if n_quiet else None
    if rng.random() < NONE_SHARE:
        nothing = np.zeros((n_channels, n_channels))
        return World(background, nothing > 0, nothing, -1, known=real is None, background=around)
    lead = int(rng.integers(n_channels))
    scale = {"eeg": rng.uniform(0.3, 1.0), "ecg": rng.uniform(0.1, 0.6)}[modality]
    parent, arrival = _tree(rng, distance, lead, scale * 0.5 * tau_max_s)
    fade = rng.uniform(0.55, 0.95)
    gain = np.zeros(n_channels)
    for channel in np.argsort(arrival):
        above = parent[channel]
        gain[channel] = 1.0 if above < 0 else gain[above] * fade * rng.uniform(0.8, 1.2)
    if rng.random() < 0.5:  # amplitude tells orientation as much as distance
        gain = rng.permutation(gain)
    gain *= rng.choice([-1, 1], n_channels, p=[0.2, 0.8])
    reached = arrival < rng.choice([np.inf, np.quantile(arrival, 0.7)], p=[0.6, 0.4]) + 1e-9
    length = fft.next_fast_len(n_samples + MARGIN + int(arrival.max() * sample_rate), real=True)
    wave = fft.rfft(_discharge(rng, length, sample_rate, modality))
    frequency = np.fft.rfftfreq(length, 1 / sample_rate)
    spectrum = (gain * reached)[:, None] * wave * np.exp(-2j * np.pi * frequency * arrival[:, None])
    signal = fft.irfft(spectrum, length)[:, -n_samples:]
    if rng.random() < CONDUCTED_SHARE:  # near channels see each other's discharge without delay
        reach = rng.uniform(0.1, 0.3)
        signal = np.exp(-((distance / reach) ** 2) / 2) @ signal
    level = background[lead].std() / max(signal[lead].std(), 1e-9) * 10 ** (rng.uniform(*LEVELS_DB) / 20)
    by_channel = background.std(1, keepdims=True) / background[lead].std()
    x = background + level * signal * (by_channel if rng.random() < 0.5 else 1.0)
    apart = arrival[:, None] - arrival
    edge = reached[:, None] & reached & (apart > 0) & (apart <= tau_max_s)
    lag_s = np.where(edge, apart, 0.0)
    return World(x, edge, lag_s, lead, known=real is None, background=around)


def _draw_graph(rng: np.random.Generator, n_channels: int) -> np.ndarray:
    """Draw sources of each target, cyclic or not, 0.5 to 4 a target."""
    density = min(rng.uniform(0.5, 4.0), 0.5 * (n_channels - 1)) / (n_channels - 1)
    edge = rng.random((n_channels, n_channels)) < density
    np.fill_diagonal(edge, False)
    if rng.random() < 0.3:
        order = rng.permutation(n_channels)
        edge &= order[:, None] > order
    return edge


def _own_filters(
    rng: np.random.Generator, n_channels: int, frequency: np.ndarray, sample_rate: float
) -> np.ndarray:
    """Draw `1 - a_i(f)` [F, C]: up to three resonances or real poles a channel.

    As in recordings, the channels of a window may share their rhythms, narrow ones too: then neither spectra
    nor the phases of one rhythm tell who drives whom.
    """
    z = np.exp(-2j * np.pi * frequency)
    response = np.ones((len(frequency), n_channels), dtype=complex)
    largest, least = rng.choice([0.0, 0.8, 0.92, 0.97]), rng.uniform(0.3, 1.0)
    highest = min(45.0, 0.4 * sample_rate)
    shared = rng.random() < 0.6
    for _ in range(int(rng.integers(1, 4))):
        radius = largest * rng.uniform(least, 1.0, n_channels)
        hertz = rng.uniform(0.0, highest, n_channels)
        if shared:
            centre, width = np.exp(rng.uniform(np.log(1.0), np.log(30.0))), rng.uniform(0.1, 0.6)
            hertz = (centre * (1 + rng.uniform(-width, width, n_channels))).clip(0.0, highest)
        pole = radius * np.exp(2j * np.pi * hertz / sample_rate)
        pair = (1 - pole * z[:, None]) * (1 - pole.conj() * z[:, None])
        single = 1 - radius * z[:, None]
        response *= np.where(rng.random(n_channels) < 0.7, pair, single)
    return response


def _radius(matrix: np.ndarray) -> float:
    """Bound the spectral radius of a non-negative matrix, slightly from above: `|A^16|^(1/16)`."""
    scale = float(np.linalg.norm(matrix)) + 1e-12
    return scale * float(np.linalg.norm(np.linalg.matrix_power(matrix / scale, 16))) ** (1 / 16)


def _innovations(
    rng: np.random.Generator, shape: tuple[int, ...], modality: str, sample_rate: float
) -> np.ndarray:
    """Draw independent noise of a random family; for ECG also trains of pulses."""
    kinds: list[Callable[[], np.ndarray]] = [
        lambda: rng.standard_normal(shape),
        lambda: rng.laplace(size=shape),
        lambda: rng.standard_t(rng.uniform(3, 8), shape),
    ]
    e = kinds[int(rng.integers(len(kinds)))]()
    if modality == "ecg" and rng.random() < 0.5:
        pulses = np.stack([_discharge(rng, shape[1], sample_rate, modality) for _ in range(shape[0])])
        e = e / e.std() + rng.uniform(1, 4) * pulses / pulses.std()
    return e * np.exp(rng.uniform(-1, 1, (shape[0], 1)))


def _nuisances(
    rng: np.random.Generator, spectrum: np.ndarray, frequency: np.ndarray, sample_rate: float
) -> np.ndarray:
    """Add nuisances to half of the windows; the others stay as they are.

    In these, each in some: sensor noise, zero-lag mixing, the pass-band of the real recordings.
    """
    if rng.random() < 0.5:
        return spectrum
    n_channels = len(spectrum)
    if rng.random() < 0.25:
        mixing = np.eye(n_channels) + rng.uniform(0.05, 0.25) * rng.standard_normal((n_channels, n_channels))
        spectrum = mixing @ spectrum
    power = np.sqrt((np.abs(spectrum) ** 2).mean(1, keepdims=True))
    if rng.random() < 0.4:
        noise = rng.standard_normal(spectrum.shape) + 1j * rng.standard_normal(spectrum.shape)
        spectrum = spectrum + rng.uniform(0.02, 0.3) * power * noise / np.sqrt(2)
    if rng.random() < 0.3:
        hertz = frequency * sample_rate
        high = 40.0 if sample_rate < 400 else 150.0
        low = 0.5 if sample_rate < 400 else 0.05
        band = 1 / np.sqrt((1 + (hertz / high) ** 8) * (1 + (low / np.maximum(hertz, 1e-3)) ** 4))
        spectrum = spectrum * band**2
    return spectrum


def _background(
    rng: np.random.Generator, place: np.ndarray, n_samples: int, sample_rate: float, modality: str
) -> np.ndarray:
    """Draw distant sources with 1/f spectra and rhythms, mixed by distance; some windows are bipolar-like."""
    n_channels = len(place)
    n_sources = int(rng.integers(n_channels // 2 + 2, 2 * n_channels + 3))
    length = n_samples + MARGIN
    frequency = np.fft.rfftfreq(length, 1 / sample_rate)
    slope = rng.uniform(0.5, 1.5, (n_sources, 1))
    shape = 1 / np.maximum(frequency, 0.5) ** slope
    centre, width = rng.uniform(5, 25, (n_sources, 1)), rng.uniform(0.5, 3, (n_sources, 1))
    rhythm = rng.uniform(0, 3, (n_sources, 1)) * np.exp(-(((frequency - centre) / width) ** 2))
    shape = shape * (1 + rhythm * np.maximum(frequency, 1.0))
    high = 40.0 if sample_rate < 400 else 150.0
    shape = shape / (1 + (frequency / high) ** 8)
    noise = rng.standard_normal((n_sources, len(frequency))) + 1j * rng.standard_normal(
        (n_sources, len(frequency))
    )
    source = fft.irfft(shape * noise, length)[:, :n_samples]
    at = rng.uniform(-0.3, 1.3, (n_sources, 2))
    apart = np.linalg.norm(place[:, None] - at, axis=-1)
    reach = rng.uniform(0.1, 0.4)
    mixing = np.exp(-((apart / reach) ** 2) / 2) * rng.choice([-1, 1], n_sources) + 0.02
    x = mixing @ source
    if rng.random() < 0.5:
        neighbour = np.argsort(np.linalg.norm(place[:, None] - place, axis=-1), 1)[:, 1]
        x = x - rng.uniform(0.5, 1.0) * x[neighbour]
    deviation = x.std(1, keepdims=True) + 1e-9
    x = x / deviation + rng.uniform(0.02, 0.3) * rng.standard_normal(x.shape)
    return x * np.exp(rng.uniform(-0.7, 0.7, (n_channels, 1)))


def _tree(
    rng: np.random.Generator, distance: np.ndarray, lead: int, hop_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Find shortest paths from the lead over near neighbours: parent (-1: the lead) and arrival, s."""
    n = len(distance)
    near = np.sort(distance, 1)[:, min(n - 1, int(rng.integers(2, 6)))]
    pace = hop_s * rng.uniform(0.3, 1.7, (n, n))
    cost = np.where((distance <= near[:, None]) | (distance <= near), pace, 8 * pace)
    arrival, parent = dijkstra(cost.T, indices=lead, return_predecessors=True)
    return np.maximum(parent, -1), arrival  # scipy's mark for "none" is -9999


def _discharge(rng: np.random.Generator, n_samples: int, sample_rate: float, modality: str) -> np.ndarray:
    """Draw spikes and waves (EEG, 2-12 a second) or beats (ECG), of random shape, jitter and envelope."""
    t = np.arange(n_samples) / sample_rate
    rate = rng.uniform(2, 12) if modality == "eeg" else rng.uniform(0.8, 2.0)
    jitter = rng.uniform(0.0, 0.15)
    beats = np.cumsum(rng.normal(1.0, jitter, int(t[-1] * rate) + 3).clip(0.3, 2.0)) / rate
    beats += rng.choice([0.0, rng.uniform(0.05, 0.5)]) * t[-1]  # quiet before the onset
    width = (0.02, 0.06) if modality == "eeg" else (0.008, 0.03)
    wave = np.zeros(n_samples)
    for _ in range(int(rng.integers(1, 4))):  # deflections of one beat
        sigma = rng.uniform(*width) * rng.choice([1.0, 2.5])
        centre = beats + rng.uniform(-0.3, 0.3) / rate
        size = rng.normal() * (1 + 0.2 * rng.standard_normal(len(beats)))
        nearest = np.clip(np.searchsorted(centre, t), 1, len(centre) - 1)
        for k in (nearest - 1, nearest):
            wave += size[k] * np.exp(-(((t - centre[k]) / sigma) ** 2) / 2)
    drift = np.cumsum(rng.standard_normal(n_samples)) / np.sqrt(n_samples)
    return wave * np.exp(rng.uniform(0, 0.8) * drift)
