"""Cramér-Rao bounds of the LD-SEM's parameters.

Derivation. In whitened form `e = 𝓜 x` with independent unit-variance e of density p, the log-likelihood is
`Σ log p(e) + log|det 𝓜|`. With `B_a = (∂𝓜/∂θ_a) 𝓜^-1` and the score function `ψ = p'/p` its derivative is
`ψ(e)ᵀ B_a e + tr B_a`; the trace is the Jacobian's part and makes the mean zero, because E[ψ e] = -1. For a
symmetric p, with `κ = E ψ²` (information on a location) and `η = E ψ² e²`, the covariance of two scores is

`I_ab = Σ_{s≠t} (κ_s B_a,st B_b,st + B_a,st B_b,ts) + Σ_s (η_s - 1) B_a,ss B_b,ss`

over all entries s, t = (channel, sample). Every B is a circular filter, so the sums become sums over the n
bins of the discrete Fourier transform (two-sided; bar: conjugate):

`I_ab = Σ_f Σ_ij (κ_i B_a,ij B̄_b,ij + B_a,ij B_b,ji) + n Σ_i (η_i - κ_i - 2) b_a,i b_b,i`,
`b_a,i = mean_f B_a,ii`.

A parameter of target i fills only row i of its B: `B_a,ik(f) = d_a(f) M^-1_jk(f) σ_k / σ_i` with `d_a(f)` the
derivative of M's entry ij (an edge from j; own filter: j = i), and -1 on the diagonal for log σ_i. The first
term is the ordinary regression information and never couples two targets. The second comes from the Jacobian
and couples target i with target k through the loops between them; it vanishes where the graph has none. The
third is zero for Gaussian innovations. Scales and own filters are unknown too: the bound on tau is of the
joint problem.

κ = 1, η = 3 (Gaussian); κ = 2, η = 2 (Laplace); κ = ν(ν+1)/((ν-2)(ν+3)), η = 3(ν+1)/(ν+3) (Student-t).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from cldtrans.lag.simulate import Innovation
from cldtrans.lag.system import bin_counts, rfft_bins, system_matrix

_VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Bounds:
    """Smallest standard deviations that an unbiased estimate of all parameters together can have.

    tau in seconds; tau and weight are NaN off the support.
    """

    tau: Float[np.ndarray, "C C"]
    weight: Float[np.ndarray, "C C"]
    self_dynamics: Float[np.ndarray, "C P"]
    scale: Float[np.ndarray, " C"]


def lag_bounds(
    x: Any,
    weight: Any,
    tau: Any,
    sample_rate: float,
    self_dynamics: Any,
    innovation: Innovation,
    scale: Any,
    degrees_of_freedom: float = 5.0,
) -> Float[np.ndarray, "C C"]:
    """Compute the Cramér-Rao standard deviation of every lag.

    Arguments as in `parameter_bounds`.

    Returns
    -------
    array [C, C]
        Seconds; NaN off the support.
    """
    return parameter_bounds(
        x, weight, tau, sample_rate, self_dynamics, innovation, scale, degrees_of_freedom
    ).tau


def parameter_bounds(
    x: Any,
    weight: Any,
    tau: Any,
    sample_rate: float,
    self_dynamics: Any,
    innovation: Innovation,
    scale: Any,
    degrees_of_freedom: float = 5.0,
) -> Bounds:
    """Compute Cramér-Rao standard deviations of lags, weights, own filters and scales, all unknown together.

    Parameters
    ----------
    x : array [N, C, T]
        Windows; only their number and length matter (the information is the expected one).
    weight : array [C, C]
        Row = target; 0 off the support.
    tau : array [C, C]
        Lags in seconds, row = target, not used where the weight is 0.
    sample_rate : float
        Hertz.
    self_dynamics : array [C, P] or None
        Coefficients of lags 1..P samples.
    innovation : one of "laplace", "student", "gaussian"
        Family of the innovations.
    scale : array [C], or float
        Standard deviation of the innovations.
    degrees_of_freedom : float
        Of Student-t innovations; they count as known.

    Returns
    -------
    Bounds
        One standard deviation for each parameter.
    """
    n_windows, n_channels, n_samples = np.shape(x)
    weight = np.asarray(weight, dtype=float)
    support = weight != 0
    if weight.shape != (n_channels, n_channels) or np.shape(tau) != weight.shape:
        raise ValueError(
            f"x has {n_channels} channels; weight {weight.shape} and tau {np.shape(tau)} must be "
            f"({n_channels}, {n_channels})"
        )
    lag = np.where(support, np.asarray(tau, dtype=float) * sample_rate, 0.0)
    if not np.isfinite(lag).all():
        raise ValueError("tau is not finite at an edge whose weight is not 0")
    own = np.zeros((n_channels, 0)) if self_dynamics is None else np.asarray(self_dynamics, dtype=float)
    deviation = np.broadcast_to(np.asarray(scale, dtype=float), (n_channels,))

    information, target, edge_target, edge_source = _information(
        weight, lag, own, deviation, n_samples, *_moments(innovation, degrees_of_freedom)
    )
    std = _standard_deviations(information * n_windows, target)
    n_edges, n_own = len(edge_target), own.size
    bound_tau, bound_weight = (np.full((n_channels, n_channels), np.nan) for _ in range(2))
    bound_tau[edge_target, edge_source] = std[:n_edges] / sample_rate
    bound_weight[edge_target, edge_source] = std[n_edges : 2 * n_edges]
    return Bounds(
        tau=bound_tau,
        weight=bound_weight,
        self_dynamics=std[2 * n_edges : 2 * n_edges + n_own].reshape(own.shape),
        scale=std[2 * n_edges + n_own :] * deviation,
    )


def _moments(innovation: Innovation, degrees_of_freedom: float) -> tuple[float, float]:
    """κ and η of the unit-variance density."""
    if innovation == "gaussian":
        return 1.0, 3.0
    if innovation == "laplace":
        return 2.0, 2.0
    if innovation == "student":
        nu = degrees_of_freedom
        if nu <= 2:
            raise ValueError(f"degrees_of_freedom is {nu}; a finite variance needs more than 2")
        return nu * (nu + 1) / ((nu - 2) * (nu + 3)), 3 * (nu + 1) / (nu + 3)
    raise ValueError(f"innovation is {innovation!r}; known: laplace, student, gaussian")


def _information(
    weight: np.ndarray,
    lag: np.ndarray,
    own: np.ndarray,
    deviation: np.ndarray,
    n_samples: int,
    kappa: float,
    eta: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fisher information of one window of (lags in samples, weights, own filters, log scales).

    Also returns each parameter's target channel, and the edges' targets and sources.
    """
    n_channels, order = own.shape
    edge_target, edge_source = np.nonzero(weight)
    own_target, own_lag = np.divmod(np.arange(n_channels * order), max(order, 1))
    target = np.concatenate([edge_target, edge_target, own_target, np.arange(n_channels)])
    # Row of M^-1 that a parameter's derivative multiplies: an edge's source, else the channel itself.
    source = np.concatenate([edge_source, edge_source, own_target])
    n_parameters, n_edges = len(target), len(edge_target)
    edge_weight, edge_lag = weight[edge_target, edge_source], lag[edge_target, edge_source]

    frequency, counts = rfft_bins(n_samples), bin_counts(n_samples)
    information = np.zeros((n_parameters, n_parameters))
    mean_diagonal = np.zeros(n_parameters)
    block = max(1, _VALUES_AT_ONCE // (n_parameters * max(n_parameters, n_channels)))
    for start in range(0, len(frequency), block):
        f, count = frequency[start : start + block], counts[start : start + block]
        inverse = np.linalg.inv(system_matrix(weight, lag, own, f))
        phase = np.exp(-2j * np.pi * f[:, None] * edge_lag)
        derivative = np.concatenate(
            [
                2j * np.pi * f[:, None] * phase * edge_weight,
                -phase,
                -np.exp(-2j * np.pi * f[:, None] * (own_lag + 1)),
            ],
            axis=1,
        )
        # At the Nyquist bin a real signal stays real: cosine and its derivative.
        derivative[f == 0.5] = derivative[f == 0.5].real
        rows = (
            derivative[:, :, None] * inverse[:, source] * (deviation / deviation[target[: len(source)], None])
        )
        scales = np.broadcast_to(-np.eye(n_channels), (len(f), n_channels, n_channels))
        rows = np.concatenate([rows, scales], axis=1)  # [bins, parameters, C]: row `target` of each B
        mean_diagonal += count @ rows[:, np.arange(n_parameters), target].real / n_samples
        for i in range(n_channels):
            mine = np.flatnonzero(target == i)
            flat = (rows[:, mine] * np.sqrt(count)[:, None, None]).swapaxes(0, 1).reshape(len(mine), -1)
            information[np.ix_(mine, mine)] += kappa * (flat @ flat.conj().T).real
        facing = rows[:, :, target]  # B_a's entry in the column of b's target
        information += np.einsum("f,fab,fba->ab", count, facing, facing).real
    same = target[:, None] == target
    information += same * n_samples * (eta - kappa - 2.0) * np.outer(mean_diagonal, mean_diagonal)
    assert len(source) == 2 * n_edges + own.size
    return information, target, edge_target, edge_source


def _standard_deviations(information: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Square roots of the inverse's diagonal; infinite where the data say nothing about a parameter."""
    size = np.sqrt(np.diag(information))
    unit = information / np.outer(size, size)
    value, vector = np.linalg.eigh(unit)
    blind = value <= len(value) * np.finfo(float).eps * value[-1]
    variance = (vector**2) @ np.where(blind, 0.0, 1.0 / np.where(blind, 1.0, value))
    lost = (vector[:, blind] ** 2).sum(1) > 1e-9
    return np.where(lost, np.inf, np.sqrt(variance)) / size
