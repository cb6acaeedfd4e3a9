"""One delay a channel from the delays of all pairs: how late each is, beside the average of all.

The pairs' delays are pooled over windows before (their cross-spectra are), and each is trusted as its
standard error says: least squares on the graph of pairs, min sum_ij (tau_ij - t_i + t_j)^2 / s_ij^2 with
sum_i t_i = 0, as clocks are set from their differences. Averaging the rows of the matrix, the usual lag
projection (Mitra et al. 2014, J. Neurophysiol. 111:2374), is the same with equal weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cldtrans.errors import DataError
from cldtrans.lag.pairwise.result import PairwiseDelays

LEAST_S = 1e-6
"""Standard error below which a pair counts no more."""


@dataclass(frozen=True)
class Projection:
    """Delays of channels.

    Attributes
    ----------
    tau : array [C]
        Seconds after the average of all channels; NaN where no pair has a delay.
    tau_stderr : array [C]
        Its standard error, as if the pairs' errors were independent; those of pairs with a common channel are
        not, so it is a lower end.
    """

    tau: np.ndarray
    tau_stderr: np.ndarray


def project(delays: PairwiseDelays) -> Projection:
    """Reduce delays of pairs to delays of channels.

    Raises
    ------
    DataError
        Where pairs do not connect the channels that have any.
    """
    tau, error = delays.tau, delays.tau_stderr
    known = np.isfinite(tau) & np.isfinite(error) & ~np.eye(len(tau), dtype=bool)
    weight = np.zeros_like(tau)
    weight[known] = 1 / np.maximum(error[known], LEAST_S) ** 2
    alive = weight.any(axis=1)
    found, stderr = np.full((2, len(tau)), np.nan)
    if not alive.any():
        return Projection(found, stderr)
    weight = weight[np.ix_(alive, alive)] / 2  # a pair stands there twice
    weight += weight.T
    laplacian = np.diag(weight.sum(1)) - weight
    n = len(laplacian)
    values = np.linalg.eigvalsh(laplacian)
    if n > 1 and values[1] <= 1e-12 * values[-1]:
        raise DataError("pairs with a delay do not connect all channels; leave out those without a partner")
    inverse = np.linalg.inv(laplacian + values[-1] / n) - 1 / (n * values[-1])  # pseudo-inverse
    both = np.where(known, tau, 0.0)[np.ix_(alive, alive)]
    found[alive] = inverse @ (weight * both).sum(1)
    stderr[alive] = np.sqrt(np.diag(inverse).clip(0))
    return Projection(found, stderr)
