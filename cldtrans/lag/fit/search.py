"""Search for the support: which source, at which lag, explains what a target's innovations leave over.

Around the present model the log likelihood of one target's row is nearly quadratic, with the score
`sum_t phi(u_i(t)) x_j(t - tau)` (minus the Jacobian's part) as slope and sums of products of lagged channels
as curvature. Both come from cross-spectra, for every source on a fine grid of lags at once, so that a row is
searched by least squares on small matrices: forward, backward and by exchanging one edge for another. A
candidate is always judged given everything already in the row: the target's own past, and every included
delayed source with its derivative in tau. Correlating with the source itself, not with its innovations, puts
the peak at the lag and not late by the ringing of the source's own dynamics. The sums run over the scored
samples exactly; with the usual approximation by a stationary covariance the search fails for poles of radius
0.98, where a prediction error is a difference of numbers a thousand times larger.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.optimize import brentq

from cldtrans.lag.fit.fisher import moments, search_p_value
from cldtrans.lag.fit.likelihood import Evaluation, Innovation, Parameters
from cldtrans.lag.fit.spectra import Spectra

PER_SAMPLE = 8
"""Grid points a sample."""

MAX_EXCHANGES = 5
"""Exchanges of one edge for another, a row and search."""

SAMPLES_AN_EDGE = 400
"""A row may have one edge for this many scored samples."""

Edge = tuple[int, float]
"""Source and lag in samples."""


@dataclass(frozen=True)
class Threshold:
    """Turns |z| of a pair's best lag into p-values, and back.

    Attributes
    ----------
    n_pairs : int
        Ordered pairs searched.
    span : float
        Range of lags times the rms frequency of the score as a function of lag, radians.
    """

    n_pairs: int
    span: float

    @classmethod
    def of(cls, data: Spectra, max_lag: float) -> "Threshold":
        """Set the threshold of data, for lags up to `max_lag` samples.

        The score of pair (i, j) at lag tau is a process with the spectrum of what is j's own. That is taken
        as flat (white innovations), or as the source's own spectrum where that is faster.
        """
        weight, square = data.bins.weight, data.bins.omega**2
        power = (np.abs(data.source) ** 2).sum(1) * weight  # [C, B]
        rms = np.sqrt(power @ square / power.sum(1)).max(initial=0.0)
        flat = np.sqrt(square @ weight)
        n_channels = data.n_channels
        return cls(max(1, n_channels * (n_channels - 1)), max_lag * float(max(rms, flat)))

    def p(self, z: np.ndarray) -> np.ndarray:
        """Return the family-wise p-value: over all lags of all pairs."""
        return search_p_value(z, self.n_pairs, self.span)

    def p_pair(self, z: np.ndarray) -> np.ndarray:
        """Return the p-value over all lags of one pair."""
        return search_p_value(z, 1, self.span)

    def z(self, p: float) -> float:
        """Return the |z| whose family-wise p-value is p."""
        return float(brentq(lambda z: float(self.p(np.array(z))) - p, 0.1, 40.0))


@dataclass(frozen=True)
class Grid:
    """Correlations with every delayed source on the grid of lags, from spectra.

    Attributes
    ----------
    first : int
        Grid points before this one are not searched.
    sources : array [B, N, C]
        Spectra of what is delayed.
    cosine, sine : array [B, lags]
        Real and minus imaginary part of the delays, times the bins' weights.
    energy : array [C, lags]
        Sums over the scored samples of the squared delayed sources.
    response : array [2 coarse B, lags]
        Of the Jacobian's bins: real and minus imaginary part of the delays, times the bins' weights.
    """

    first: int
    sources: np.ndarray
    cosine: np.ndarray
    sine: np.ndarray
    energy: np.ndarray
    response: np.ndarray
    _own: dict[int, np.ndarray]

    @classmethod
    def of(cls, data: Spectra, lags: tuple[float, float]) -> "Grid":
        """Make a grid up to lags[1], searched from lags[0], samples."""
        n_lags = int(np.floor(lags[1] * PER_SAMPLE + 1e-9)) + 1
        delay = data.delay(np.arange(n_lags) / PER_SAMPLE) * (data.bins.counts / data.n_fft)
        used = data.source if data.in_band is None else data.source * data.in_band
        # Delays by n + k/8 samples are shifts by n of eight series: the energy is exact at little cost.
        scored = fft.rfft(data.scored)
        energy = np.empty((data.n_channels, n_lags))
        for k in range(min(PER_SAMPLE, n_lags)):
            square = fft.rfft(data.samples(used * data.delay(np.array(k / PER_SAMPLE))) ** 2)
            whole = energy[:, k::PER_SAMPLE].shape[1]
            energy[:, k::PER_SAMPLE] = data.samples((scored * square.conj()).sum(1))[:, :whole]
        coarse = data.coarse.delay(np.arange(n_lags) / PER_SAMPLE) * data.coarse.weight
        return cls(
            first=int(np.ceil(lags[0] * PER_SAMPLE - 1e-9)),
            sources=np.ascontiguousarray(data.source.transpose(2, 1, 0)),
            cosine=np.ascontiguousarray(delay.real.T),
            sine=np.ascontiguousarray(-delay.imag.T),
            energy=energy,
            response=np.concatenate([coarse.real.T, -coarse.imag.T]),
            _own={},
        )

    def correlate(self, fixed: np.ndarray) -> np.ndarray:
        """Return `sum_t a_q(t) z_j(t - tau)`.

        Parameters
        ----------
        fixed : array [Q, N, B]
            Spectra of a.

        Returns
        -------
        array [Q, C, lags]
            The sums.
        """
        cross = fixed.conj().transpose(2, 0, 1) @ self.sources  # [B, Q, C]
        flat = cross.reshape(len(cross), -1).T
        return (flat.real @ self.cosine + flat.imag @ self.sine).reshape(*cross.shape[1:], -1)

    def own_rows(self, target: int, past: np.ndarray) -> np.ndarray:
        """Return correlations of a channel's own past with every candidate, [order, C, lags].

        They are the same in every search, and most of its cost: they are kept.

        Parameters
        ----------
        target : int
            The channel.
        past : array [order, N, B]
            Its scored spectra, delayed by 1, 2, ... samples.
        """
        if not len(past):
            return np.zeros((0, *self.energy.shape))
        if len(past) > len(self._own.get(target, ())):
            self._own[target] = self.correlate(past)
        return self._own[target][: len(past)]

    def responses(self, inverse: np.ndarray) -> np.ndarray:
        """Return `mean_f Re M^-1_ji exp(-i omega tau)` for every target i and source j, [C, C, lags].

        Parameters
        ----------
        inverse : array [coarse B, C, C]
            `M^-1`.
        """
        flat = inverse.transpose(2, 1, 0).reshape(-1, len(inverse))
        means = np.concatenate([flat.real, flat.imag], 1) @ self.response
        return means.reshape(*inverse.shape[1:], -1)


@dataclass(frozen=True)
class Judged:
    """Every candidate given some regressors of a row; K is the number of candidates, sources times lags.

    Attributes
    ----------
    number, left : array [K]
        A candidate's slope, and its energy, that the regressors leave over.
    solved : array [q, K]
        Coefficients of the regressors on each candidate.
    value : array [q]
        Coefficients of the row's own least squares, times the curvature.
    inverse : array [q, q]
        Of the regressors' products.
    """

    number: np.ndarray
    left: np.ndarray
    solved: np.ndarray
    value: np.ndarray
    inverse: np.ndarray

    def without(self, at: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return number and left with the regressors in `at` taken out, without solving again."""
        block = self.solved[at]
        pulled = np.linalg.solve(self.inverse[at, at], block)
        return self.number + self.value[at] @ pulled, self.left + (block * pulled).sum(0)


class Row:
    """One target's quadratic model and the edges chosen in it.

    Parameters
    ----------
    target : int
        The target.
    data : Spectra
        The windows.
    grid : Grid
        Of lags.
    model : Parameters
        Around which the log likelihood is expanded.
    score : array [C, lags]
        The score there, times the target's scale.
    curvature, score2 : float
        The density's E[phi'] and E[phi²].
    """

    def __init__(
        self,
        target: int,
        data: Spectra,
        grid: Grid,
        model: Parameters,
        score: np.ndarray,
        curvature: float,
        score2: float,
    ):
        """Expand the row's log likelihood around `model`."""
        self.target, self.data, self.grid = target, data, grid
        self.curvature, self.score2 = curvature, score2
        self.scale = float(np.exp(model.log_scale[target]))
        mine = np.nonzero(model.target == target)[0]
        self.edges: list[Edge] = [(int(model.source[e]), float(model.lag[e])) for e in mine]
        self._n_own = int(model.order[target])
        past = self._values(data.spectrum[target], data.delay(np.arange(1, self._n_own + 1)))
        values, rows = [past[0]], [grid.own_rows(target, past[1])]
        for edge in self.edges:
            value, row = self._edge_regressors(edge)
            values.append(value)
            rows.append(row)
        coefficients = np.concatenate(
            [model.own[target, : self._n_own], *[[model.weight[e], 0.0] for e in mine]]
        )
        # Slopes of the quadratic model at zero, where own past and edges are absent: the score at the present
        # model, 0 for what is in it, plus what its coefficients explain.
        coefficients = coefficients * curvature / self.scale
        n_all = self._n_own + 2 * len(self.edges)
        # Regressors, one after another: own past, then source and derivative of each edge that was looked at.
        self._regressor = np.concatenate(values)
        self._rows = np.concatenate(rows).reshape(n_all, grid.energy.size)
        self._gram = self._regressor @ self._regressor.T
        self._slope = self._gram @ coefficients
        self.slope = score + (coefficients @ self._rows).reshape(score.shape)
        self.slope_by_lag = np.gradient(self.slope, 1 / PER_SAMPLE, axis=1, edge_order=2)
        self._place = {edge: self._n_own + 2 * k for k, edge in enumerate(self.edges)}
        self._judged: tuple[tuple[Edge, ...], Judged] | None = None

    def _values(self, spectrum: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scored values [q, samples] and spectra [q, N, B] of `spectrum` [N, B] times factors [q, B]."""
        if not len(factors):
            n_values = self.data.n_scored if self.data.in_band is None else self.data.scored.size
            return np.zeros((0, n_values)), np.zeros((0, *spectrum.shape), complex)
        masked = self.data.samples(spectrum * factors[:, None]) * self.data.scored
        transformed = fft.rfft(masked)
        if self.data.in_band is not None:
            transformed *= self.data.in_band
            masked = self.data.samples(transformed)
            return masked.reshape(len(masked), -1), transformed
        return masked[:, self.data.scored > 0], transformed

    def _edge_regressors(self, edge: Edge) -> tuple[np.ndarray, np.ndarray]:
        """Values of the delayed source and its derivative by the lag; correlations with candidates."""
        source, lag = edge
        factors = np.stack([self.data.delay(np.array(lag)), self.data.delay(np.array(lag), 1)])
        values, transformed = self._values(self.data.source[source], factors)
        return values, self.grid.correlate(transformed)

    def _known(self, edge: Edge) -> int:
        """Return the place of an edge's first regressor; make them where they are new."""
        if edge not in self._place:
            at = (edge[0], round(edge[1] * PER_SAMPLE))  # candidates lie on the grid
            values, rows = self._edge_regressors(edge)
            self._place[edge] = len(self._slope)
            with_others = self._regressor @ values.T
            self._gram = np.block([[self._gram, with_others], [with_others.T, values @ values.T]])
            self._regressor = np.concatenate([self._regressor, values])
            self._rows = np.concatenate([self._rows, rows.reshape(2, -1)])
            self._slope = np.append(self._slope, [self.slope[at], self.slope_by_lag[at]])
        return self._place[edge]

    def _design(self, edges: list[Edge]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places of all regressors [q], their products [q, q] and slopes [q]."""
        places = [[self._known(edge), self._known(edge) + 1] for edge in edges]
        used = np.concatenate([np.arange(self._n_own), *places]).astype(int)
        gram = self._gram[np.ix_(used, used)]
        gram[np.diag_indices(len(gram))] *= 1 + 1e-10
        return used, gram, self._slope[used]

    def _judge(self, edges: list[Edge]) -> Judged:
        """Judge each candidate given own past and `edges`; the last answer is kept."""
        if self._judged is None or self._judged[0] != tuple(edges):
            used, gram, slope = self._design(edges)
            flat = self._rows[used]
            inverse = np.linalg.inv(gram)
            solved, value = np.linalg.solve(gram, flat), np.linalg.solve(gram, slope)
            left = self.grid.energy.ravel() - np.einsum("qk,qk->k", flat, solved)
            judged = Judged(self.slope.ravel() - value @ flat, left, solved, value, inverse)
            self._judged = (tuple(edges), judged)
        return self._judged[1]

    def scan(self, edges: list[Edge], without: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Judge each candidate given own past and `edges`, or all of them but that at position `without`.

        Returns
        -------
        square_z, gain : array [C, lags]
            Squared z and gain in log likelihood.
        """
        judged, energy = self._judge(edges), self.grid.energy
        number, left = judged.number, judged.left
        if without is not None:
            first = self._n_own + 2 * without
            number, left = judged.without(slice(first, first + 2))
        # What is nearly determined by the rest of the row cannot be told from it.
        square = number.reshape(energy.shape) ** 2 / np.maximum(left.reshape(energy.shape), 1e-6 * energy)
        square[[self.target, *(j for k, (j, _) in enumerate(edges) if k != without)]] = 0.0
        square[:, : self.grid.first] = 0.0
        return square / self.score2, square / (2 * self.curvature)

    def solve(self, edges: list[Edge]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fit the row's edges by least squares.

        Returns
        -------
        weights : array [E, 2]
            Weight and derivative's weight of each edge.
        square_z : array [E]
            z² of the weights.
        own : array [P]
            Own past.
        """
        _, gram, slope = self._design(edges)
        inverse = np.linalg.pinv(gram, rcond=1e-13, hermitian=True)
        value = inverse @ slope / self.curvature
        at = self._n_own + 2 * np.arange(len(edges))
        variance = self.score2 / self.curvature**2 * np.diag(inverse)
        return (
            np.stack([value[at], value[at + 1]], 1) * self.scale,
            value[at] ** 2 / np.maximum(variance[at], 1e-300),
            value[: self._n_own] * self.scale,
        )

    def search(self, z2_in: float, z2_out: float, at_most: int) -> None:
        """Search forward, backward and by exchange until nothing changes; leave the result in `edges`."""
        exchanges = 0
        for _ in range(4 * at_most):
            added = None
            if len(self.edges) < at_most:
                z2 = self.scan(self.edges)[0]
                j, k = np.unravel_index(np.argmax(z2), z2.shape)
                if z2[j, k] > z2_in:
                    added = (int(j), float(k) / PER_SAMPLE)
                    self.edges.append(added)
            dropped = None
            if self.edges:
                z2_edges = self.solve(self.edges)[1]
                weakest = int(np.argmin(z2_edges))
                if z2_edges[weakest] < z2_out:
                    dropped = self.edges.pop(weakest)
            if added == dropped:
                exchanges += 1
                if exchanges > MAX_EXCHANGES or not self._exchange():
                    break

    def _exchange(self) -> bool:
        """Replace one edge by a better candidate given the others, if there is one."""
        for position, (source, lag) in enumerate(self.edges):
            gain = self.scan(self.edges, position)[1]
            here = int(np.clip(np.round(lag * PER_SAMPLE), 0, gain.shape[1] - 1))
            near = gain[source, max(0, here - 4) : here + 5].max()
            j, k = np.unravel_index(np.argmax(gain), gain.shape)
            if gain[j, k] > near + 2.0:
                self.edges[position] = (int(j), float(k) / PER_SAMPLE)
                return True
        return False

    def rival(self, edges: list[Edge], position: int) -> tuple[float, float]:
        """Find the best other peak of an edge's likelihood over its lag, given the others.

        Returns
        -------
        lag : float
            The other lag, samples.
        loss : float
            Against the edge's own lag in log likelihood; infinite where there is no other peak.
        """
        edges = [(j, round(lag * PER_SAMPLE) / PER_SAMPLE) for j, lag in edges]  # where slopes are known
        source, lag = edges[position]
        gain = self.scan(edges, position)[1][source]
        here = int(np.clip(np.round(lag * PER_SAMPLE), 0, len(gain) - 1))
        padded = np.concatenate([[-1.0], gain, [-1.0]])
        peak = (gain > padded[:-2]) & (gain >= padded[2:])
        near = slice(max(0, here - PER_SAMPLE), here + PER_SAMPLE + 1)
        own = gain[near].max()
        peak[near] = False
        if not peak.any():
            return lag, np.inf
        other = int(np.argmax(np.where(peak, gain, -1.0)))
        return other / PER_SAMPLE, float(own - gain[other])

    def proposal(self) -> tuple[list[tuple[int, int, float, float]], np.ndarray]:
        """Return the row's edges with lags off the grid, moved by a Gauss-Newton step.

        Returns
        -------
        edges : list of (int, int, float, float)
            Target, source, lag in samples, weight.
        own : array [P]
            Own past.
        """
        value, _, own = self.solve(self.edges)
        step = np.clip(value[:, 1] / np.where(value[:, 0] == 0, np.inf, value[:, 0]), -0.25, 0.25)
        last = (self.grid.energy.shape[1] - 1) / PER_SAMPLE
        lag = np.clip([lag for _, lag in self.edges] + step, self.grid.first / PER_SAMPLE, last)
        rows = zip(self.edges, lag.tolist(), value[:, 0].tolist(), strict=True)
        return [(self.target, j, moved, weight) for (j, _), moved, weight in rows], own


def search_rows(
    data: Spectra, grid: Grid, model: Parameters, innovation: Innovation, at: Evaluation, z_in: float
) -> list[Row]:
    """Search every target's row around `model`; edges enter at |z| > z_in, see each row's `proposal`."""
    n_channels = model.n_channels
    score = grid.correlate(at.score)
    if at.inverse is not None:
        score -= (data.effective_samples * np.exp(model.log_scale))[:, None, None] * grid.responses(
            at.inverse
        )
    mean = moments(innovation, at.u[:, data.scored > 0], model.dof)
    rows = []
    at_most = min(n_channels - 1, max(3, data.n_scored // SAMPLES_AN_EDGE))
    for target in range(n_channels):
        curvature, score2 = float(mean["curvature"][target]), float(mean["score2"][target])
        row = Row(target, data, grid, model, score[target], curvature, score2)
        row.search(z_in**2, (z_in - 1.0) ** 2, at_most)
        rows.append(row)
    return rows
