"""Scalp EEG at rest: coupled coloured sources seen through the head, rhythms, and everyday artefacts.

A brain is a set of networks. Each network's activity (coloured, heavy-tailed noise) appears at two to four
places of the cortex, at each a few milliseconds later than at the one before, and every electrode sees all
places through a smooth kernel: neighbouring electrodes are correlated at lag zero (volume conduction),
distant ones with a lag. How strong each network and each electrode's own activity is, is random for every
subject.
"""

from __future__ import annotations

import numpy as np

from cldtrans.data.miniature.head import positions

_NETWORKS = 16
_SITES = 4
_KERNEL_RAD = 0.42  # spread of one cortical place over the scalp
_RHYTHMS = (  # place (right, front, up), frequency from and to, width (Hz), strength against 1/f activity
    ((-0.25, -0.85, 0.45), 8.5, 11.5, 0.6, 1.1),  # posterior alpha, both sides
    ((0.25, -0.85, 0.45), 8.5, 11.5, 0.6, 1.1),
    ((-0.6, 0.05, 0.8), 9.0, 12.0, 0.8, 0.7),  # central mu
    ((0.6, 0.05, 0.8), 9.0, 12.0, 0.8, 0.7),
    ((0.0, 0.6, 0.8), 4.5, 7.0, 1.0, 0.6),  # frontal-midline theta
    ((0.1, 0.4, 0.9), 15.0, 24.0, 3.0, 0.5),  # beta
)


class Brain:
    """One subject's sources; the same subject gives new noise but the same spectra and strengths.

    Parameters
    ----------
    electrodes : tuple of str
        Names in capitals (10-10 system), E of them.
    rng : Generator
        Draws everything that is fixed for the subject.
    level_uv : float
        Typical standard deviation of an electrode's potential, microvolts.
    mains_hz : float
        Frequency of the power line.
    """

    def __init__(
        self,
        electrodes: tuple[str, ...],
        rng: np.random.Generator,
        level_uv: float = 35.0,
        mains_hz: float = 60.0,
    ):
        self.electrodes = electrodes
        self.mains_hz = mains_hz
        self._at = positions(electrodes)
        places = rng.standard_normal((_NETWORKS, _SITES, 3))
        places[..., 2] = np.abs(places[..., 2]) - 0.2
        steps = rng.uniform(0.008, 0.045, (_NETWORKS, _SITES))
        steps[:, 0] = 0.0
        self._delay_s = np.cumsum(steps, axis=1)  # [K, sites]
        gain = rng.uniform(0.5, 0.95, (_NETWORKS, _SITES)) ** np.arange(_SITES)
        gain *= np.arange(_SITES) < rng.integers(2, _SITES + 1, (_NETWORKS, 1))
        gain *= np.exp(0.6 * rng.standard_normal((_NETWORKS, 1)))
        self._mix = np.stack(
            [self._kernel(places[:, j]) * gain[:, j] for j in range(_SITES)]
        )  # [sites, E, K]
        self._slope = rng.uniform(1.1, 1.7, _NETWORKS)

        where = np.array([rhythm[0] for rhythm in _RHYTHMS]) + 0.15 * rng.standard_normal((len(_RHYTHMS), 3))
        strength = np.array([rhythm[4] for rhythm in _RHYTHMS]) * np.exp(
            0.6 * rng.standard_normal(len(_RHYTHMS))
        )
        self._rhythm_mix = self._kernel(where) * strength  # [E, R]
        self._centre_hz = np.array([rng.uniform(rhythm[1], rhythm[2]) for rhythm in _RHYTHMS])
        self._width_hz = np.array([rhythm[3] for rhythm in _RHYTHMS])
        self._own = 0.35 * np.exp(
            0.45 * rng.standard_normal(len(electrodes))
        )  # each electrode's own activity
        variance = (self._mix**2).sum(axis=(0, 2)) + (self._rhythm_mix**2).sum(axis=1) + self._own**2
        self._level = level_uv * np.exp(0.3 * rng.standard_normal()) / np.sqrt(variance.mean())
        self._blink_uv = rng.uniform(50, 110)
        self._emg = 1.5 * np.exp(0.5 * rng.standard_normal(len(electrodes)))  # microvolt
        self._mains_uv = 1.2 * np.exp(0.6 * rng.standard_normal(len(electrodes)))

    def _kernel(self, places: np.ndarray) -> np.ndarray:
        """How strongly each electrode sees each place, [E, K]."""
        unit = places / np.linalg.norm(places, axis=-1, keepdims=True)
        angle = np.arccos(np.clip(self._at @ unit.T, -1, 1))
        return np.exp(-0.5 * (angle / _KERNEL_RAD) ** 2)

    def background(self, rng: np.random.Generator, n: int, sample_rate: float) -> np.ndarray:
        """Draw potentials against a distant reference.

        Parameters
        ----------
        rng : Generator
            Draws the noise.
        n : int
            Samples.
        sample_rate : float
            Hertz.

        Returns
        -------
        array [E, n]
            Microvolts.
        """
        frequency = np.fft.rfftfreq(n, 1 / sample_rate)
        sources = _coloured(rng, n, frequency, self._slope)
        spectrum = np.zeros((len(self.electrodes), len(frequency)), complex)
        for mix, delay_s in zip(self._mix, self._delay_s.T, strict=True):
            spectrum += mix @ (sources * np.exp(-2j * np.pi * np.outer(delay_s, frequency)))
        spectrum += self._rhythm_mix @ self._rhythms(rng, n, frequency)
        spectrum += self._own[:, None] * _coloured(rng, n, frequency, np.full(len(self.electrodes), 1.2))
        potential = self._level * np.fft.irfft(spectrum, n)
        potential *= np.exp(self._envelope(rng, n, sample_rate))
        return potential + self._artefacts(rng, n, sample_rate)

    def _rhythms(self, rng: np.random.Generator, n: int, frequency: np.ndarray) -> np.ndarray:
        """Spectra [R, F] of narrow-band noise of unit variance."""
        shape = np.exp(-0.5 * ((frequency - self._centre_hz[:, None]) / self._width_hz[:, None]) ** 2)
        return np.fft.rfft(rng.standard_normal((len(shape), n))) * _unit_variance(shape)

    def _envelope(self, rng: np.random.Generator, n: int, sample_rate: float) -> np.ndarray:
        """Logarithm of a slowly wandering strength, mostly shared by all electrodes, [E, n]."""
        knots = max(int(n / sample_rate / 5), 1) + 2
        values = 0.28 * rng.standard_normal(knots) + 0.12 * rng.standard_normal((len(self.electrodes), knots))
        at = np.linspace(0, knots - 1, n)
        return np.stack([np.interp(at, np.arange(knots), row) for row in values])

    def _artefacts(self, rng: np.random.Generator, n: int, sample_rate: float) -> np.ndarray:
        """Blinks, muscle, mains, and rhythmic slow bursts that are not seizures, in microvolt, [E, n]."""
        t = np.arange(n) / sample_rate
        total = self._mains_uv[:, None] * np.sin(2 * np.pi * self.mains_hz * t + rng.uniform(0, 2 * np.pi))
        muscle = rng.standard_normal((len(self.electrodes), n))
        muscle[:, 1:] -= muscle[:, :-1].copy()
        total += self._emg[:, None] * muscle * np.exp(0.5 * self._envelope(rng, n, sample_rate) / 0.28)
        frontal = self._kernel(np.array([[-0.4, 1.0, -0.25], [0.4, 1.0, -0.25]])).sum(axis=1)
        blinks = np.zeros(n)
        for at in rng.uniform(0, t[-1], rng.poisson(t[-1] / 6)):
            blinks += rng.uniform(0.5, 1.3) * np.exp(-0.5 * ((t - at) / rng.uniform(0.06, 0.11)) ** 2)
        total += self._blink_uv * frontal[:, None] * blinks
        for at in rng.uniform(0, t[-1], rng.poisson(t[-1] / 25)):
            seconds = rng.uniform(1.5, 4.0)
            window = np.where(
                np.abs(t - at) < seconds / 2, np.cos(np.pi * np.clip((t - at) / seconds, -0.5, 0.5)) ** 2, 0
            )
            phase = 2 * np.pi * rng.uniform(2.5, 5.5) * t + np.cumsum(rng.standard_normal(n)) * 0.8 / np.sqrt(
                sample_rate
            )
            place = self._kernel(rng.standard_normal((1, 3)) * [1, 1, 0.5] + [0, 0, 0.5])
            total += 45.0 * rng.uniform(0.6, 1.6) * place * window * np.sin(phase)
        return total


def _coloured(rng: np.random.Generator, n: int, frequency: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Spectra [K, F] of 1/f^slope noise with heavy-tailed innovations and unit variance."""
    shape = np.maximum(frequency, 0.8) ** (-slope[:, None] / 2)
    shape *= frequency / np.hypot(frequency, 0.4)  # amplifiers pass no direct current
    return np.fft.rfft(rng.laplace(scale=2**-0.5, size=(len(slope), n))) * _unit_variance(shape)


def _unit_variance(shape: np.ndarray) -> np.ndarray:
    """Amplitude responses [K, F] scaled so that white noise of unit variance keeps unit variance."""
    return shape / np.sqrt(np.mean(shape**2, axis=-1, keepdims=True))
