"""Vector autoregression on a grid of lags, with Granger F tests.

Every channel is regressed on the last L samples of all channels (Granger 1969, Econometrica 37:424;
Lütkepohl 2005, section 3.6). Source j is an edge into target i where the F test of its L coefficients
rejects at a family-wise level corrected over all pairs (Bonferroni); its lag is that of the largest
coefficient, moved by a parabola through its neighbours' sizes. Lags lie between 1 and L samples: what is
faster than a sample, this model cannot express.
"""

from __future__ import annotations

import numpy as np

from cldtrans.methods.cards import Card
from cldtrans.methods.estimators import LagEstimate

_CHUNK = 8192


class VarGranger:
    """The `estimator` factory.

    Parameters
    ----------
    alpha : float
        Family-wise error rate over all pairs.
    """

    card = Card(
        title="VAR, Granger",
        source="Granger 1969, Econometrica 37:424; Lütkepohl 2005, section 3.6",
        licence="MIT (ours)",
        reproduced="F tests of vector autoregression",
        differs="corrected over all pairs; the lag is that of the largest coefficient, moved by a parabola",
    )

    def __init__(self, alpha: float = 0.01) -> None:
        self.alpha = alpha

    def __call__(self, x: np.ndarray, sample_rate: float, tau_max_s: float, seed: int = 0) -> LagEstimate:
        """Estimate edges and lags of windows x [N, C, T] of one system; lags reach `tau_max_s` seconds."""
        from scipy.special import fdtrc

        order = max(1, int(np.ceil(tau_max_s * sample_rate)))
        coefficients, f_values, degrees = var_f_tests(x, order)
        n_channels = x.shape[1]
        p_values = fdtrc(order, degrees, np.maximum(f_values, 0))
        support = (p_values < self.alpha / (n_channels * (n_channels - 1))) & ~np.eye(n_channels, dtype=bool)
        size = np.abs(coefficients)
        at = size.argmax(axis=-1)
        inner = np.clip(at, 1, max(order - 2, 1))
        tau = (at + 1).astype(float)
        if order > 2:
            before, here, after = (
                np.take_along_axis(size, (inner + d)[..., None], -1)[..., 0] for d in (-1, 0, 1)
            )
            bend = before - 2 * here + after
            shift = 0.5 * (before - after) / np.where(bend < 0, bend, -1.0)
            tau += np.where((at == inner) & (bend < 0), np.clip(shift, -0.5, 0.5), 0.0)
        return LagEstimate(np.where(support, tau / sample_rate, np.nan), support, None, score=f_values)


def var_f_tests(x: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Regress each channel on all channels' last samples, by least squares.

    Lags never reach across the edge of a window.

    Parameters
    ----------
    x : array [N, C, T]
        Windows.
    order : int
        Samples of past.

    Returns
    -------
    coefficients : array [C, C, order]
        By target, source and lag.
    f_values : array [C, C]
        F statistic of each source's block, by target and source.
    degrees : int
        The residual degrees of freedom.
    """
    n_windows, n_channels, n_samples = x.shape
    rows_per_window = n_samples - order
    n_rows, n_columns = n_windows * rows_per_window, n_channels * order
    degrees = n_rows - n_columns - n_windows
    if degrees < 1:
        raise ValueError(f"{n_rows} samples are too few for {n_columns} coefficients a channel")
    scale = x.std(axis=(0, 2), keepdims=True)
    x = x / np.where(scale > 0, scale, 1)
    gram, cross, power = (
        np.zeros((n_columns, n_columns)),
        np.zeros((n_columns, n_channels)),
        np.zeros(n_channels),
    )
    for window in x - x.mean(axis=-1, keepdims=True):
        past = np.lib.stride_tricks.sliding_window_view(window[:, :-1], order, axis=-1)[
            ..., ::-1
        ]  # [C, rows, L]
        for first in range(0, rows_per_window, _CHUNK):
            block = past[:, first : first + _CHUNK].transpose(1, 0, 2).reshape(-1, n_columns)
            target = window[:, order + first : order + first + len(block)].T
            gram += block.T @ block
            cross += block.T @ target
            power += (target**2).sum(axis=0)
    inverse = np.linalg.inv(gram + 1e-10 * np.trace(gram) / n_columns * np.eye(n_columns))
    beta = inverse @ cross  # [C L, C]
    noise = (power - (beta * cross).sum(axis=0)) / degrees
    f_values = np.zeros((n_channels, n_channels))
    for source in range(n_channels):
        own = slice(source * order, (source + 1) * order)
        solved = np.linalg.solve(inverse[own, own], beta[own])
        f_values[:, source] = (beta[own] * solved).sum(axis=0) / (order * noise)
    relative = scale[0, :, 0][:, None] / np.where(scale[0, :, 0] > 0, scale[0, :, 0], 1)
    coefficients = beta.T.reshape(n_channels, n_channels, order) * relative[..., None]
    return coefficients, f_values, degrees
