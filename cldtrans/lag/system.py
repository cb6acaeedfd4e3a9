"""The LD-SEM as a linear system: its matrix M(f) on the bins of a discrete Fourier transform.

`M(f) = diag(1 - a_i(f)) - H(f)`, `H_ij(f) = W_ij exp(-2πi f tau_ij)`, `E(f) = M(f) X(f)` (docs/ldsem.md).
"""

import numpy as np


def rfft_bins(n_samples: int) -> np.ndarray:
    """Return the frequencies of the real transform's bins in cycles per sample, [n_samples // 2 + 1]."""
    return np.fft.rfftfreq(n_samples)


def bin_counts(n_samples: int) -> np.ndarray:
    """Count how often each bin of the real transform stands among the two-sided ones.

    The ends count once, interior bins twice.

    Returns
    -------
    array [n_samples // 2 + 1]
        The counts.
    """
    counts = np.full(n_samples // 2 + 1, 2.0)
    counts[0] = 1.0
    if n_samples % 2 == 0:
        counts[-1] = 1.0
    return counts


def self_filter(self_dynamics: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return `1 - a_i(f)` of the channels' own filters.

    Parameters
    ----------
    self_dynamics : array [C, P]
        Coefficients of lags 1..P samples.
    frequency : array [bins]
        Cycles per sample.

    Returns
    -------
    array [bins, C] of complex
        The filters on the bins.
    """
    lags = np.arange(1, self_dynamics.shape[1] + 1)
    return 1.0 - np.exp(-2j * np.pi * np.outer(frequency, lags)) @ self_dynamics.T


def delay_factor(lag_samples: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return `exp(-2πi f tau)`.

    At the Nyquist bin (frequency exactly 1/2) a delayed real signal keeps only the real part, `cos(π tau)`:
    the periodic sinc on an even number of samples.

    Parameters
    ----------
    lag_samples : array [...]
        Lags in samples.
    frequency : array [bins]
        Cycles per sample.

    Returns
    -------
    array [bins, ...] of complex
        The factor of each lag on the bins.
    """
    shape = (-1,) + (1,) * np.ndim(lag_samples)
    factor = np.exp(-2j * np.pi * frequency.reshape(shape) * lag_samples)
    return np.where(frequency.reshape(shape) == 0.5, factor.real, factor)


def system_matrix(
    weight: np.ndarray, lag_samples: np.ndarray, self_dynamics: np.ndarray, frequency: np.ndarray
) -> np.ndarray:
    """Return `M(f)`.

    Parameters
    ----------
    weight : array [C, C]
        Row = target; 0 off the support.
    lag_samples : array [C, C]
        Lags in samples; entries off the support must be finite (use 0).
    self_dynamics : array [C, P]
        Coefficients of lags 1..P samples.
    frequency : array [bins]
        Cycles per sample.

    Returns
    -------
    array [bins, C, C] of complex
        The matrix on the bins.
    """
    matrix = -weight * delay_factor(lag_samples, frequency)
    diagonal = np.arange(len(weight))
    matrix[:, diagonal, diagonal] += self_filter(self_dynamics, frequency)
    return matrix


def loop_gain(weight: np.ndarray, self_dynamics: np.ndarray, n_frequencies: int = 2048) -> float:
    """Return the largest spectral radius over frequency of `|W_ij| / |1 - a_i(f)|`.

    Below 1 the system is stable for any lags. It bounds the spectral radius of `diag(1 - a)^-1 H(f)` whatever
    the phases; where that stays below 1 on the unit circle, `det M` has no zero on it and, by continuity from
    weight 0, the winding number of a stable system.

    Parameters
    ----------
    weight : array [C, C]
        Row = target; 0 off the support.
    self_dynamics : array [C, P]
        Coefficients of lags 1..P samples.
    n_frequencies : int
        Frequencies at which the radius is computed.
    """
    gain = 1.0 / np.abs(self_filter(self_dynamics, np.linspace(0.0, 0.5, n_frequencies)))  # [bins, C]
    magnitude = np.abs(weight)
    vector = np.ones_like(gain)
    radius = np.zeros(n_frequencies)
    for _ in range(
        200
    ):  # power iteration on (A + I): a cycle's eigenvalues share one modulus, the shift splits them
        image = gain * (vector @ magnitude.T) + vector
        radius = image.sum(1) / vector.sum(1) - 1.0
        vector = image / image.sum(1, keepdims=True)
    return float(radius.max())
