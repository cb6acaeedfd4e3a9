"""What recordings may suffer: named degradations of windows.

White noise at a signal-to-noise ratio per channel; a fraction of the valid channels missing (masked);
recorded at a fraction of the sampling rate (what lies above its band is gone); rotated in time; another
montage of what is a double banana.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cldtrans.config import RobustnessConfig
from cldtrans.data.montages.derived import ELECTRODES, MONTAGES
from cldtrans.data.montages.montage import DOUBLE_BANANA

Signals = tuple[np.ndarray, np.ndarray]  # x [..., C, T], mask [C]


class Degradation(Protocol):
    """What is done to windows of one recording: all of them lose the same channels."""

    def __call__(
        self,
        x: np.ndarray,
        mask: np.ndarray,
        sample_rate: float,
        rng: np.random.Generator,
        keep: Sequence[int],
    ) -> Signals:
        """Degrade windows.

        Parameters
        ----------
        x : array [..., C, T] of float32
            The windows, in any unit; not changed.
        mask : array [C] of bool
            Valid channels.
        sample_rate : float
            Hertz.
        rng : Generator
            Draws what is random.
        keep : sequence of int
            Channels that are not lost.
        """
        ...


@dataclass(frozen=True)
class Condition:
    """A named degradation.

    Attributes
    ----------
    name : str
        `<kind>_<amount>`, or a montage's name after `montage_`.
    apply : Degradation
        What is done.
    channels : tuple of str or None
        Names of the channels that come out; None: those that went in.
    """

    name: str
    apply: Degradation
    channels: tuple[str, ...] | None = None


def conditions(config: RobustnessConfig, channels: Sequence[str]) -> list[Condition]:
    """Return the config's conditions for windows of these channels: montages for a double banana alone."""
    montages = config.montages if tuple(channels) == DOUBLE_BANANA else []
    return [
        *(Condition(f"noise_{level:g}db", _noise(level)) for level in config.noise_db),
        *(Condition(f"dropped_{part:g}", _dropped(part)) for part in config.dropped_channels),
        *(Condition(f"rate_{part:g}", _slower(part)) for part in config.rate_fractions),
        *(Condition(f"shift_{shift:g}s", _rotated(shift)) for shift in config.shifts_s),
        *(Condition(f"montage_{name}", _remounted(name), ELECTRODES) for name in montages),
    ]


def _noise(snr_db: float) -> Degradation:
    def apply(
        x: np.ndarray, mask: np.ndarray, sample_rate: float, rng: np.random.Generator, keep: Sequence[int]
    ) -> Signals:
        size = x.std(axis=-1, keepdims=True) * 10 ** (-snr_db / 20) * mask[:, None]
        return x + size * rng.standard_normal(x.shape, dtype=np.float32), mask

    return apply


def _dropped(fraction: float) -> Degradation:
    def apply(
        x: np.ndarray, mask: np.ndarray, sample_rate: float, rng: np.random.Generator, keep: Sequence[int]
    ) -> Signals:
        valid = np.flatnonzero(mask)
        count = min(round(fraction * len(valid)), len(valid) - 1)  # one channel always stays
        lost = rng.permutation(np.setdiff1d(valid, keep))[: max(count, 0)]
        x, mask = x.copy(), mask.copy()
        x[..., lost, :], mask[lost] = 0, False
        return x, mask

    return apply


def _slower(fraction: float) -> Degradation:
    def apply(
        x: np.ndarray, mask: np.ndarray, sample_rate: float, rng: np.random.Generator, keep: Sequence[int]
    ) -> Signals:
        spectrum = np.fft.rfft(x)
        above = np.fft.rfftfreq(x.shape[-1]) > 0.45 * fraction  # 90 % of the lower Nyquist frequency
        spectrum[..., above] = 0
        return np.fft.irfft(spectrum, x.shape[-1]).astype(np.float32), mask

    return apply


def _rotated(shift_s: float) -> Degradation:
    def apply(
        x: np.ndarray, mask: np.ndarray, sample_rate: float, rng: np.random.Generator, keep: Sequence[int]
    ) -> Signals:
        return np.roll(x, round(shift_s * sample_rate), axis=-1), mask

    return apply


def _remounted(name: str) -> Degradation:
    def apply(
        x: np.ndarray, mask: np.ndarray, sample_rate: float, rng: np.random.Generator, keep: Sequence[int]
    ) -> Signals:
        return MONTAGES[name](x, mask)

    return apply
