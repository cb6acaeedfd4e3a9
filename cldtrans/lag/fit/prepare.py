"""What happens to windows before a fit: checks, drift, scales, and channels with nothing of their own."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.polynomial.legendre import legvander

from cldtrans.errors import DataError

DEPENDENT = 1e-4
"""A channel of which less than this fraction of the variance is its own, given earlier ones, is left out.

Exact sums leave rounding: about 1e-14 in double precision, 1e-7 in single, 1e-5 where stored as microvolt
integers."""


@dataclass(frozen=True)
class Prepared:
    """Channels ready to be fitted.

    Attributes
    ----------
    x : array [N, K, T] of float64
        Unit variance, without drift; the K channels that are kept.
    source : array [N, K, T] or None
        What is delayed where it is not x itself, unit variance.
    scale, source_scale : array [K]
        What x and source were divided by.
    kept : array [K] of int
        Positions of these channels in the input.
    constant : list of int
        Positions of channels that do not vary.
    drifting : list of int
        Positions of channels that drift; where there is one, slow change was taken out of all.
    dependent : list of (int, list of int)
        Linearly dependent channels: position, and the kept positions that determine it.
    """

    x: np.ndarray
    source: np.ndarray | None
    scale: np.ndarray
    source_scale: np.ndarray
    kept: np.ndarray
    constant: list[int]
    drifting: list[int]
    dependent: list[tuple[int, list[int]]]


def as_windows(x: Any) -> np.ndarray:
    """Return x as float64 [N, C, T]; torch tensors on any device and of any float type, and array-likes.

    Raises
    ------
    DataError
        Where x does not hold finite real numbers of that shape.
    """
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
    """Take out drift, find constant and dependent channels, and bring the rest to unit variance.

    Parameters
    ----------
    x : array [N, C, T]
        Windows, in any unit.
    periodic : bool
        Each window is exactly one period.
    """
    # What is left of a constant is rounding error of its level.
    varies = x.std((0, 2)) > 1e-12 * np.abs(x).max((0, 2), initial=0.0)
    drifts = np.zeros_like(varies) if periodic else drifting(x) & varies
    x = x - x.mean((0, 2), keepdims=True)
    if drifts.any():
        # From every channel: taken out of one alone, its slow change stays in what the others owe to it.
        x = without_drift(x)
    scale = x.std((0, 2))
    constant = np.nonzero(~varies)[0].tolist()
    candidates = np.nonzero(varies)[0]
    unit = x[:, candidates] / scale[candidates, None]
    kept, dependent = independent_channels(unit)
    return Prepared(
        x=unit[:, kept],
        source=None,
        scale=scale[candidates[kept]],
        source_scale=scale[candidates[kept]],
        kept=candidates[kept],
        constant=constant,
        drifting=np.nonzero(drifts)[0].tolist(),
        dependent=[(int(candidates[c]), candidates[of].tolist()) for c, of in dependent],
    )


def through_tanh(prepared: Prepared, x: np.ndarray) -> Prepared:
    """Return the same with tanh of the input [N, C, T], as it is, for what is delayed."""
    source = np.tanh(x[:, prepared.kept])
    source -= source.mean((0, 2), keepdims=True)
    scale = source.std((0, 2))
    return replace(prepared, source=source / scale[:, None], source_scale=scale)


DRIFT_CYCLES = 1 / 800
"""Change slower than this, in cycles a sample (0.2 Hz at 160 Hz), may be drift; faster change never is."""

DRIFT_EXCESS = 5.0
"""Drift is taken out where a slow component holds this many times the power of the next faster ones."""


def drifting(x: np.ndarray) -> np.ndarray:
    """Find channels whose slow change is more than their dynamics explain.

    Where the spectrum is that of a damped system, the slowest components hold about as much power each as
    the next ones. Taking out what is not drift costs some precision (4 % of a lag's error).

    Parameters
    ----------
    x : array [N, C, T]
        Windows.

    Returns
    -------
    array [C] of bool
        True for a channel that drifts.
    """
    x = x - x.mean((0, 2), keepdims=True)
    basis, n_slow = _slow_basis(x.shape[-1])
    power = ((x @ basis) ** 2).sum(0)  # [C, components]
    slow, next_faster = power[:, :n_slow].mean(1), power[:, n_slow:].mean(1)
    return slow > DRIFT_EXCESS * next_faster


def without_drift(x: np.ndarray) -> np.ndarray:
    """Subtract from each window its polynomial of the lowest degrees; x [..., T]."""
    basis, n_slow = _slow_basis(x.shape[-1])
    basis = basis[:, :n_slow]
    return x - (x @ basis) @ basis.T


def _slow_basis(n_samples: int) -> tuple[np.ndarray, int]:
    """Orthonormal polynomials [T, components], and how many are slow: about two a cycle.

    A delayed polynomial is one of the same degree, so that what is taken out of a source is not missed in
    what it drives, but for another polynomial.
    """
    n_slow = 2 + int(2 * DRIFT_CYCLES * n_samples)
    n_faster = 2 * n_slow + 2
    time = 2 * (np.arange(n_samples) + 0.5) / n_samples - 1
    basis, _ = np.linalg.qr(legvander(time, min(n_slow + n_faster, n_samples) - 1))
    return basis, min(n_slow, n_samples)


def independent_channels(x: np.ndarray) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Find channels, in order, that are no linear combinations of earlier kept ones.

    A Cholesky factorisation of the correlation matrix that skips a row whose pivot vanishes.

    Parameters
    ----------
    x : array [N, C, T]
        Windows of unit variance.

    Returns
    -------
    kept : array [K] of int
        Positions of the channels that are kept.
    dependent : list of (int, list of int)
        Each other one, and the kept channels of which it is a combination.
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
