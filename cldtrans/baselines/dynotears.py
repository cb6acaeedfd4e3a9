"""DYNOTEARS (Pamfil et al. 2020, AISTATS, arXiv 2002.00498), linear, written from the paper.

Least squares of each channel on the other channels now (W, acyclic) and on all channels up to p samples ago
(A_1..A_p),

    min 1 / (2 n) |X - X W - Y A|_F^2 + lambda_w |W|_1 + lambda_a |A|_1   with   h(W) = tr exp(W o W) - C = 0,

by the augmented Lagrangian of NOTEARS; every subproblem is smooth and bounded after W and A are split into
positive and negative parts, and is solved by L-BFGS-B. All terms that hold data are Gram matrices, so a
step's cost does not grow with the recording. As an estimator of lags, an edge is a pair with a weight
beyond the threshold at any lag of at least one sample or now, and its lag is that of the largest weight:
whole samples only.
"""

from __future__ import annotations

import numpy as np

from cldtrans.methods.cards import Card
from cldtrans.methods.estimators import LagEstimate


class Dynotears:
    """The `estimator` factory.

    Parameters
    ----------
    penalty_w, penalty_a : float
        Weights of the absolute values (0.05 each in the paper's simulations).
    threshold : float
        Smallest |weight| that counts as an edge, on channels of unit variance.
    max_iterations : int
        Outer steps of the augmented Lagrangian.
    """

    card = Card(
        title="DYNOTEARS",
        source="Pamfil et al. 2020, AISTATS, arXiv 2002.00498",
        licence="MIT (ours, from the paper); causalnex's is Apache-2.0",
        reproduced="objective, acyclicity, augmented Lagrangian, L-BFGS-B",
        differs="an edge is a pair with a weight beyond a threshold at any lag, its lag that of the largest",
    )

    def __init__(
        self,
        penalty_w: float = 0.05,
        penalty_a: float = 0.05,
        threshold: float = 0.1,
        max_iterations: int = 30,
    ) -> None:
        self.penalty_w, self.penalty_a = penalty_w, penalty_a
        self.threshold, self.max_iterations = threshold, max_iterations

    def __call__(self, x: np.ndarray, sample_rate: float, tau_max_s: float, seed: int = 0) -> LagEstimate:
        """Estimate edges and lags of windows x [N, C, T] of one system; lags reach `tau_max_s` seconds."""
        order = max(1, int(np.ceil(tau_max_s * sample_rate)))
        scale = x.std(axis=(0, 2), keepdims=True)
        now, past = fit(
            (x - x.mean(axis=-1, keepdims=True)) / np.where(scale > 0, scale, 1),
            order,
            self.penalty_w,
            self.penalty_a,
            self.max_iterations,
        )
        size = np.abs(np.concatenate([now[None], past]))  # [lag, source, target]
        strongest = size.max(axis=0).T
        support = (strongest > self.threshold) & ~np.eye(x.shape[1], dtype=bool)
        tau = np.where(support, size.argmax(axis=0).T / sample_rate, np.nan)
        return LagEstimate(tau, support, None, score=strongest)


def fit(
    x: np.ndarray, order: int, penalty_w: float, penalty_a: float, max_iterations: int = 30
) -> tuple[np.ndarray, np.ndarray]:
    """Fit W and A to windows.

    Lags never reach across the edge of a window.

    Parameters
    ----------
    x : array [N, C, T]
        Windows of channels of unit variance.
    order : int
        Samples of past.
    penalty_w, penalty_a, max_iterations
        As in `Dynotears`.

    Returns
    -------
    W : array [C, C]
        Source by target.
    A : array [order, C, C]
        By lag, source and target.
    """
    from scipy.optimize import minimize

    n_channels = x.shape[1]
    gram, cross, power, n_rows = _moments(x, order)
    n_features = n_channels * (order + 1)

    def objective(split: np.ndarray, rho: float, alpha: float) -> tuple[float, np.ndarray]:
        positive, negative = split.reshape(2, n_features, n_channels)
        beta = positive - negative
        predicted = gram @ beta
        loss = 0.5 * (power - 2 * np.sum(beta * cross) + np.sum(beta * predicted)) / n_rows
        slope = (predicted - cross) / n_rows
        cyclic, cyclic_slope = acyclicity(beta[:n_channels])
        slope[:n_channels] += (rho * cyclic + alpha) * cyclic_slope
        total = loss + 0.5 * rho * cyclic**2 + alpha * cyclic + np.sum(penalty * (positive + negative))
        return float(total), np.stack([slope + penalty, -slope + penalty]).ravel()

    penalty = np.full((n_features, n_channels), penalty_a)
    penalty[:n_channels] = penalty_w
    fixed = np.zeros((n_features, n_channels), dtype=bool)
    fixed[np.arange(n_channels), np.arange(n_channels)] = True  # no channel causes itself now
    bounds = [(0.0, 0.0) if off else (0.0, None) for off in np.tile(fixed.ravel(), 2)]
    split, rho, alpha, violation = np.zeros(2 * n_features * n_channels), 1.0, 0.0, np.inf
    for _ in range(max_iterations):
        while True:
            found = minimize(objective, split, (rho, alpha), jac=True, method="L-BFGS-B", bounds=bounds).x
            beta = np.subtract(*found.reshape(2, n_features, n_channels))
            now = acyclicity(beta[:n_channels])[0]
            if now <= 0.25 * violation or rho >= 1e16:
                break
            rho *= 10
        split, violation = found, now
        alpha += rho * violation
        if violation <= 1e-8 or rho >= 1e16:
            break
    return beta[:n_channels], beta[n_channels:].reshape(order, n_channels, n_channels)


def acyclicity(weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Compute h(W) = tr exp(W o W) - C, zero exactly for acyclic graphs, and its gradient [C, C]."""
    from scipy.linalg import expm

    power = expm(weight * weight)
    return float(np.trace(power) - len(weight)), power.T * weight * 2


def _moments(x: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Return what the least squares need of windows.

    These are the Gram matrix of the features (now, then lags 1..order), their products with now, the power of
    now, and the number of rows.
    """
    n_windows, n_channels, n_samples = x.shape
    n_features = n_channels * (order + 1)
    gram, n_rows = np.zeros((n_features, n_features)), n_windows * (n_samples - order)
    for window in x:
        columns = [window[:, order - lag : n_samples - lag] for lag in range(order + 1)]
        stacked = np.concatenate(columns)  # [C (order + 1), rows]
        gram += stacked @ stacked.T
    cross = gram[:, :n_channels].copy()
    return gram, cross, float(np.trace(cross[:n_channels])), n_rows
