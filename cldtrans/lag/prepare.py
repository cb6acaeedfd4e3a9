"""What happens to windows before a fit: checks, drift, scales, and channels with nothing of their own."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cldtrans.errors import DataError

DEPENDENT = 1e-4
"""A channel of which less than this fraction of the variance is its own, given earlier ones, is left out.

Exact sums leave rounding: about 1e-14 in double precision, 1e-7 in single, 1e-5 where stored as microvolt
integers."""


@dataclass(frozen=True)
class Prepared:
    """Channels ready to be fitted.

    x          [N, K, T] float64, unit variance, without drift; the K channels that are kept
    scale      [K] what x was divided by
    kept       [K] positions of these channels in the input
    constant   positions of channels that do not vary
    dependent  (position, the kept positions that determine it) of linearly dependent channels
    """

    x: np.ndarray
    scale: np.ndarray
    kept: np.ndarray
    constant: list[int]
    dependent: list[tuple[int, list[int]]]


def as_windows(x: Any) -> np.ndarray:
    """x as float64 [N, C, T]; torch tensors on any device and of any float type, and array-likes."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().double().numpy()
    array = np.asarray(x)
    if array.dtype.kind not in "fiu":
        raise DataError(f"x has type {array.dtype}; expected real numbers")
    if array.ndim != 3:
        raise DataError(f"x has shape {array.shape}; expected [windows, channels, samples]")
    array = array.astype(float)
    if not np.isfinite(array).all():
        bad = np.nonzero(~np.isfinite(array).all((0, 2)))[0].tolist()
        raise DataError(f"x holds NaN or infinity in channels {bad}; drop these windows or channels")
    return array


def prepare(x: np.ndarray, *, periodic: bool) -> Prepared:
    """Take out drift, find constant and dependent channels, and bring the rest to unit variance."""
    x = without_drift(x, 0 if periodic else DRIFT_CYCLES * x.shape[-1])
    scale = x.std((0, 2))
    # What is left of a constant after the drift is rounding error of its level.
    varies = scale > 1e-12 * np.abs(x).max((0, 2), initial=0.0)
    varies &= scale > 0
    constant = np.nonzero(~varies)[0].tolist()
    candidates = np.nonzero(varies)[0]
    unit = x[:, candidates] / scale[candidates, None]
    kept, dependent = independent_channels(unit)
    return Prepared(
        x=unit[:, kept],
        scale=scale[candidates[kept]],
        kept=candidates[kept],
        constant=constant,
        dependent=[(int(candidates[c]), candidates[of].tolist()) for c, of in dependent],
    )


DRIFT_CYCLES = 1 / 800
"""Slower change, in cycles a sample, is taken out of windows cut from a record (0.2 Hz at 160 Hz)."""


def without_drift(x: np.ndarray, cycles: float) -> np.ndarray:
    """Subtract from each window its mean, and where `cycles` > 0 its line and slow cosines."""
    x = x - x.mean(-1, keepdims=True)
    if cycles <= 0:
        return x
    time = (np.arange(x.shape[-1]) + 0.5) / x.shape[-1]
    slow = [time - 0.5] + [np.cos(np.pi * k * time) for k in range(1, int(2 * cycles) + 1)]
    basis, _ = np.linalg.qr(np.stack(slow, 1))
    return x - (x @ basis) @ basis.T


def independent_channels(x: np.ndarray) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Channels, in order, that are no linear combinations of earlier kept ones; x [N, C, T], unit variance.

    Returns the kept positions, and for each other one the kept channels of which it is a combination. (A
    Cholesky factorisation of the correlation matrix that skips a row whose pivot vanishes.)
    """
    n_channels = x.shape[1]
    correlation = np.einsum("nct,ndt->cd", x, x, optimize=True) / (x.shape[0] * x.shape[2])
    kept: list[int] = []
    dependent: list[tuple[int, list[int]]] = []
    for channel in range(n_channels):
        part = np.linalg.lstsq(correlation[np.ix_(kept, kept)], correlation[kept, channel], rcond=None)[0]
        own = correlation[channel, channel] - part @ correlation[kept, channel]
        if own > DEPENDENT * correlation[channel, channel]:
            kept.append(channel)
        else:
            dependent.append((channel, [k for k, p in zip(kept, part, strict=True) if abs(p) > 0.01]))
    return np.array(kept, int), dependent
