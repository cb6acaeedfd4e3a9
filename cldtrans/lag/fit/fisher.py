"""Fisher information of the LD-SEM, robust standard errors, and p-values that account for the search.

Write `D = dM M^-1` for the derivative of M by one parameter: it turns innovations into the change of the
residuals, `du_i = sum_k D_ik e_k`. With n samples, scales absorbed into M, and phi the density's score, the
expected Hessian and the covariance of the score of parameters theta of row i and theta' of row i' are

    A = n { [i=i'] E[phi'] E[du du'] + mean_f Re D_ii' D'_i'i + [i=i'] d0 d0' (E[phi' u^2] - E[phi'] E[u^2]) }
    B = n { [i=i'] E[phi^2] E[du du'] + q_i q_i' mean_f Re D_ii' D'_i'i
            + [i=i'] d0 d0' (E[phi^2 u^2] - 2 q_i^2 - E[phi^2] E[u^2]) },     q_i = E[phi u]

where d0 is the coefficient of D_ii at lag 0. The middle term comes from the Jacobian. For the right density
A = B = Fisher information; else `A^-1 B A^-1` is the covariance of the estimate. `E[du du']` is the data's.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.special import log_ndtr

from cldtrans.lag.fit.likelihood import (
    Evaluation,
    Innovation,
    Parameters,
    density_curvature,
    score_function,
)
from cldtrans.lag.fit.spectra import Spectra

OF_ERRORS, OF_STEPS = 512, 256
"""Samples of the transform from which the Jacobian's part is computed: responses are short. What a step lacks
for a coarse grid, the next ones make good; standard errors get a fine one."""


@dataclass(frozen=True)
class Layout:
    """Positions of the parameters in one vector, and the row and column of M that each one moves.

    Attributes
    ----------
    weight, lag : array [E]
        Positions.
    own : array [C, P]
        Positions; -1 beyond a channel's order.
    log_scale : array [C]
        Positions.
    row, column : array [n]
        Of M; a scale's column is its row.
    """

    weight: np.ndarray
    lag: np.ndarray
    own: np.ndarray
    log_scale: np.ndarray
    row: np.ndarray
    column: np.ndarray

    @classmethod
    def of(cls, model: Parameters) -> "Layout":
        """Lay out the parameters of a model."""
        n_edges, (n_channels, n_own) = model.n_edges, model.own.shape
        active = np.arange(n_own) < model.order[:, None]
        own = np.full((n_channels, n_own), -1)
        own[active] = 2 * n_edges + np.arange(active.sum())
        channel = np.nonzero(active)[0]
        every = np.arange(n_channels)
        return cls(
            weight=np.arange(n_edges),
            lag=n_edges + np.arange(n_edges),
            own=own,
            log_scale=2 * n_edges + len(channel) + every,
            row=np.concatenate([model.target, model.target, channel, every]),
            column=np.concatenate([model.source, model.source, channel, every]),
        )

    def pack(self, weight: np.ndarray, lag: np.ndarray, own: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
        """Put values of all parameters into one vector [n]."""
        return np.concatenate([weight, lag, own[self.own >= 0], log_scale])


def moments(innovation: Innovation, u: np.ndarray, dof: np.ndarray) -> dict[str, np.ndarray]:
    """Return the expectations [C] over residuals u [C, n] that the information is made of."""
    phi, curvature = score_function(innovation, u, dof), density_curvature(innovation, u, dof)
    return {
        "curvature": np.maximum(curvature.mean(1), 1e-3),
        "score2": (phi**2).mean(1),
        "score_u": (phi * u).mean(1),
        "u2": (u**2).mean(1),
        "curvature_u2": (curvature * u**2).mean(1),
        "score2_u2": (phi**2 * u**2).mean(1),
    }


def information(
    data: Spectra, model: Parameters, innovation: Innovation, at: Evaluation
) -> tuple[Layout, np.ndarray, np.ndarray]:
    """Compute what errors of the estimate follow from.

    Parameters
    ----------
    data : Spectra
        The windows.
    model : Parameters
        Where the derivatives are taken.
    innovation : one of "laplace", "student", "gaussian"
        Density of the innovations.
    at : Evaluation
        Of the loss at `model`.

    Returns
    -------
    layout : Layout
        Positions of the n parameters.
    hessian : array [n, n]
        A, the expected Hessian of the loss.
    covariance : array [n, n]
        B, the score's covariance.
    """
    parts = _Parts.of(data, model, innovation, at)
    mean = parts.mean
    q = mean["score_u"]
    covariance = parts.combined(mean["score2"], q, mean["score2_u2"] - 2 * q**2 - mean["score2"] * mean["u2"])
    return parts.layout, parts.hessian(), covariance


def expected_hessian(
    data: Spectra, model: Parameters, innovation: Innovation, at: Evaluation
) -> tuple[Layout, np.ndarray]:
    """Compute A alone, which steps need; arguments and results as of `information`."""
    parts = _Parts.of(data, model, innovation, at, OF_STEPS)
    return parts.layout, parts.hessian()


@dataclass(frozen=True)
class _Parts:
    """What A and B are sums of; `n` is the number of parameters.

    Attributes
    ----------
    layout : Layout
        Positions of the parameters.
    mean : dict of arrays [C]
        From `moments`.
    n_samples : float
        Independent samples a channel.
    gram, coupled : array [n, n]
        Sums of du du', 0 between rows; `mean_f Re D_ii' D'_i'i`.
    instant : array [n]
        d0.
    """

    layout: Layout
    mean: dict[str, np.ndarray]
    n_samples: float
    gram: np.ndarray
    coupled: np.ndarray
    instant: np.ndarray

    @classmethod
    def of(
        cls, data: Spectra, model: Parameters, innovation: Innovation, at: Evaluation, n_bins: int = OF_ERRORS
    ) -> "_Parts":
        """Compute them; the Jacobian's part from a transform of `n_bins` samples or a little more."""
        layout = Layout.of(model)
        mean = moments(innovation, at.u[:, data.scored > 0], model.dof)
        coupled, instant = _jacobian_terms(data, model, layout, at, n_bins)
        return cls(layout, mean, data.effective_samples, _gram(data, model, layout, at), coupled, instant)

    def hessian(self) -> np.ndarray:
        """Return A, [n, n]."""
        mean = self.mean
        return self.combined(
            mean["curvature"],
            np.ones_like(mean["u2"]),
            mean["curvature_u2"] - mean["curvature"] * mean["u2"],
        )

    def combined(self, of_gram: np.ndarray, of_coupled: np.ndarray, of_instant: np.ndarray) -> np.ndarray:
        """Return the sum of the three terms with factors [C] of their rows, [n, n]."""
        row, n = self.layout.row, self.n_samples
        result = self.coupled * (n * of_coupled[row])[:, None]
        result *= of_coupled[row]
        for target in range(len(of_gram)):
            mine = np.nonzero(row == target)[0]
            d0 = self.instant[mine]
            result[np.ix_(mine, mine)] += of_gram[target] * self.gram[np.ix_(mine, mine)] + n * of_instant[
                target
            ] * np.multiply.outer(d0, d0)
        return result


def _gram(data: Spectra, model: Parameters, layout: Layout, at: Evaluation) -> np.ndarray:
    """Return sums over the scored samples of du du', [n, n]; 0 between rows."""
    result = np.zeros((len(layout.row),) * 2)
    x = data.samples(data.spectrum)
    slopes = data.bins.slope(model.lag, at.delay)
    for channel in range(model.n_channels):
        edges = np.nonzero(model.target == channel)[0]
        source = data.source[model.source[edges]]  # [edges, N, B]
        by_weight = data.samples(at.delay[edges, None] * source)
        by_lag = data.samples((slopes[edges] * model.weight[edges, None])[:, None] * source)
        own_error = at.u[channel] * np.exp(model.log_scale[channel])
        past = data.past(x[channel], int(model.order[channel]))
        values = np.concatenate(
            [data.scored_of(by_weight), data.scored_of(by_lag), past, data.scored_of(own_error[None])]
        )
        if data.in_band is not None:
            spread = np.zeros((len(values), *data.scored.shape))
            spread[:, data.scored > 0] = values
            values = data.samples(np.fft.rfft(spread) * data.in_band).reshape(len(values), -1)
        own = layout.own[channel][layout.own[channel] >= 0]
        at_index = np.concatenate([layout.weight[edges], layout.lag[edges], own, [layout.log_scale[channel]]])
        result[np.ix_(at_index, at_index)] = (values @ values.T) * np.exp(-2 * model.log_scale[channel])
    return result


def _jacobian_terms(
    data: Spectra, model: Parameters, layout: Layout, at: Evaluation, n_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """`mean_f Re D_ii' D'_i'i` [n, n] and the zero-lag coefficients d0 [n]; scales alone without Jacobian."""
    n = len(layout.row)
    coupled, instant = np.zeros((n, n)), np.zeros(n)
    coupled[layout.log_scale, layout.log_scale] = 1.0
    instant[layout.log_scale] = -1.0
    if at.inverse is None:
        return coupled, instant
    bins = data.coarse
    part = slice(None, None, max(1, bins.n // n_bins))
    count = bins.weight[part] / bins.weight[part].sum()
    inverse = at.inverse[part]  # [bins, C, C]
    moved = np.zeros((n, len(count)), complex)
    moved[layout.weight] = -bins.delay(model.lag)[:, part]
    moved[layout.lag] = -model.weight[:, None] * bins.delay(model.lag, 1)[:, part]
    order = np.arange(1, model.own.shape[1] + 1)
    channel, power = np.nonzero(layout.own >= 0)
    moved[layout.own[channel, power]] = -bins.delay(order)[power][:, part]
    moving = np.setdiff1d(np.arange(n), layout.log_scale)
    row, column = layout.row[moving], layout.column[moving]
    response = inverse.transpose(1, 2, 0)  # [C, C, bins]
    into_own = moved[moving] * response[column, row]
    instant[moving] = into_own.real @ count
    of_row = [np.nonzero(row == target)[0] for target in range(model.n_channels)]
    for first, mine in enumerate(of_row):
        for second, others in enumerate(of_row[first:], first):
            there = moved[moving[mine]] * response[column[mine], second] * count  # D_theta,i'
            back = moved[moving[others]] * response[column[others], first]  # D_theta',i
            block = there.real @ back.real.T - there.imag @ back.imag.T
            coupled[np.ix_(moving[mine], moving[others])] = block
            coupled[np.ix_(moving[others], moving[mine])] = block.T
    # D of a scale is minus the identity of its row.
    scale_of = layout.log_scale[row]
    coupled[moving, scale_of] = coupled[scale_of, moving] = -instant[moving]
    return coupled, instant


def inverse_of(matrix: np.ndarray) -> np.ndarray:
    """Invert a symmetric, maybe singular matrix: scaled to unit diagonal, small eigenvalues lifted."""
    scaled, scale = _unit_diagonal(matrix)
    inverse = _cholesky_inverse(scaled)
    if inverse is None:
        values, vectors = np.linalg.eigh(scaled)
        inverse = (vectors / np.maximum(values, SINGULAR * values.max(initial=1.0))) @ vectors.T
    return inverse / scale


class Damped:
    """An information matrix [n, n] that gives steps.

    Parameters
    ----------
    hessian : array [n, n]
        Symmetric, maybe singular.
    """

    def __init__(self, hessian: np.ndarray):
        """Scale to a unit diagonal."""
        root = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-12))
        self._root = root
        self._scaled = hessian / root[:, None]
        self._scaled /= root
        self._key: tuple[float, bytes] | None = None
        self._factor = np.zeros((0, 0))

    def step(self, slope: np.ndarray, held: np.ndarray, damping: float) -> tuple[np.ndarray, float]:
        """Return the step against `slope` [n] that leaves parameters in `held` [n] alone, and its damping.

        The latter is added to the unit diagonal; it is raised until the sum is positive definite.
        """
        while self._key != (damping, held.tobytes()):
            matrix = self._scaled.copy()
            matrix[held] = matrix[:, held] = 0.0
            matrix[np.diag_indices(len(matrix))] = np.where(held, 1.0, np.diag(self._scaled) + damping)
            factor, info = dpotrf(matrix, lower=1, overwrite_a=1)
            if info == 0 and np.diag(factor).min(initial=1.0) ** 2 > SINGULAR:
                self._factor, self._key = factor, (damping, held.tobytes())
            else:
                damping = max(10.0 * damping, 1e-6)
        change, _ = dpotrs(self._factor, np.where(held, 0.0, -slope / self._root), lower=1)
        return np.where(held, 0.0, change / self._root), damping


def _unit_diagonal(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a symmetric matrix divided by the products of its diagonal's roots; and those."""
    root = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-12))
    scale = np.multiply.outer(root, root)
    return 0.5 * (matrix + matrix.T) / scale, scale


def _cholesky_inverse(scaled: np.ndarray) -> np.ndarray | None:
    """Invert by Cholesky factors; None where the matrix is not clearly positive definite."""
    factor, info = dpotrf(scaled, lower=1)
    if info != 0 or np.diag(factor).min(initial=1.0) ** 2 <= SINGULAR:
        return None
    lower, _ = dpotri(factor, lower=1)
    return np.tril(lower) + np.tril(lower, -1).T


SINGULAR = 1e-7
"""Eigenvalue of the scaled information below which a direction counts as not identified."""


def covariance(hessian: np.ndarray, score_covariance: np.ndarray, n_rows: int | None = None) -> np.ndarray:
    """Return `A^-1 B A^-1`, [n, n], or its first rows alone, [n_rows, n]."""
    inverse = inverse_of(hessian)
    result = inverse[:n_rows] @ score_covariance @ inverse
    # No estimate is surer than with all other parameters known; rounding can say so where A is near singular.
    alone = np.diag(score_covariance) / np.maximum(np.diag(hessian), 1e-12) ** 2
    diagonal = np.arange(len(result))
    result[diagonal, diagonal] = np.maximum(result[diagonal, diagonal], alone[: len(result)])
    return result


def search_p_value(z: np.ndarray, n_pairs: int, span: float) -> np.ndarray:
    """Return the family-wise p-value of |z| that is the largest over all lags of all pairs.

    Davies' bound for the maximum of |Z(tau)| over an interval: `2 [Phi(-z) + r exp(-z^2 / 2) / (2 pi)]`,
    times the number of pairs searched.

    Parameters
    ----------
    z : array [...]
        Weight over its standard error.
    n_pairs : int
        Ordered pairs searched.
    span : float
        r, the interval's length times the standard deviation of dZ/dtau.

    Returns
    -------
    array [...]
        p-values, at most 1.

    References
    ----------
    Davies 1977, Biometrika 64, 247: a parameter that is present only under the alternative.
    """
    z = np.abs(z)
    log_p = np.logaddexp(log_ndtr(-z), np.log(span / (2 * np.pi) + 1e-300) - 0.5 * z**2)
    return np.minimum(1.0, np.exp(np.log(2.0 * n_pairs) + log_p))
