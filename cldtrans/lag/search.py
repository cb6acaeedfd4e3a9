"""Search for the support: which source, at which lag, explains what a target's innovations leave over.

Around the present model the log likelihood of one target's row is nearly quadratic, with the score
`sum_t phi(u_i(t)) x_j(t - tau)` (minus the Jacobian's part) as slope and covariances of lagged channels as
curvature. Both are tables over a fine grid of lags, computed once a round, so that a target's row is searched
by least squares on small matrices: forward, backward and by exchanging one edge for another. A candidate is
always judged given everything already in the row: the target's own past, and every included delayed source
with its derivative in tau. Correlating with the source itself, not with its innovations, puts the peak at the
lag and not late by the ringing of the source's own dynamics.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.optimize import brentq

from cldtrans.lag.inference import moments, search_p_value
from cldtrans.lag.likelihood import Evaluation, Innovation, Parameters
from cldtrans.lag.spectra import Spectra

PER_SAMPLE = 8
"""Grid points a sample."""


def lag_correlation(data: Spectra, fixed: np.ndarray, moving: np.ndarray, n_grid: int) -> np.ndarray:
    """`sum_t a_i(t) b_j(t - tau)` at tau = 0, 1/8, ... samples, [C, C, n_grid], of spectra [C, N, B]."""
    cross = fixed.conj().transpose(2, 0, 1) @ moving.transpose(2, 1, 0)  # [B, C, C]
    return _on_grid(data, cross, n_grid)


def _on_grid(data: Spectra, cross: np.ndarray, n_grid: int) -> np.ndarray:
    """`mean_f Re cross(f) exp(-i omega tau)` over all bins, [C, C, n_grid]."""
    delay = data.delay(np.arange(n_grid) / PER_SAMPLE) * (data.counts / data.n_fft)  # [grid, B]
    shape = cross.shape[1:]
    flat = cross.reshape(len(cross), -1)
    table = flat.real.T @ delay.real.T - flat.imag.T @ delay.imag.T
    return table.reshape(*shape, n_grid)


@dataclass(frozen=True)
class Covariances:
    """Sums over the scored samples of products of lagged channels, on the grid; fixed for one data set.

    sources  [C, C, 2 n_grid - 1] `sum_t z_i(t) z_j(t - u)`, u from -(n_grid - 1) to n_grid - 1 grid steps
    own      [C, C, 2 n_grid - 1] `sum_t x_i(t) z_j(t - u)`
    past     [C, P + 1] `sum_t x_i(t) x_i(t - k)`
    """

    sources: np.ndarray
    own: np.ndarray
    past: np.ndarray

    @classmethod
    def of(cls, data: Spectra, max_lag: float, max_order: int) -> "Covariances":
        n_grid = int(np.ceil(max(max_lag, max_order) + 1)) * PER_SAMPLE + 1
        masked = [fft.rfft(data.samples(s) * data.scored) for s in (data.source, data.spectrum)]
        if data.in_band is not None:
            masked = [m * data.in_band for m in masked]
        linear = data.source is data.spectrum

        def two_sided(
            fixed: np.ndarray, moving: np.ndarray, back: np.ndarray, still: np.ndarray
        ) -> np.ndarray:
            ahead = lag_correlation(data, fixed, moving, n_grid)
            behind = ahead if fixed is back else lag_correlation(data, back, still, n_grid)
            return np.concatenate([behind.transpose(1, 0, 2)[:, :, :0:-1], ahead], 2)

        sources = two_sided(masked[0], data.source, masked[0], data.source)
        own = sources if linear else two_sided(masked[1], data.source, masked[0], data.spectrum)
        delay = data.delay(np.arange(max_order + 1)) * data.counts / data.n_fft
        past = np.einsum("cnb,cnb->cb", masked[1].conj(), data.spectrum)
        return cls(sources, own, (past @ delay.T).real)


@dataclass(frozen=True)
class Threshold:
    """Turns |z| of a pair's best lag into p-values, and back.

    n_pairs  ordered pairs searched
    span     range of lags times the rms frequency of the score as a function of lag, radians
    """

    n_pairs: int
    span: float

    @classmethod
    def of(cls, data: Spectra, max_lag: float) -> "Threshold":
        """The score of pair (i, j) at lag tau is a process with the spectrum of what is j's own.

        Taken as flat (white innovations), or as the source's own spectrum where that is faster.
        """
        count = data.counts if data.in_band is None else data.counts * data.in_band
        power = (np.abs(data.source) ** 2).sum(1) * count  # [C, B]
        rms = np.sqrt(power @ data.omega**2 / power.sum(1)).max(initial=0.0)
        flat = np.sqrt((data.omega**2 @ count) / count.sum())
        n_channels = data.n_channels
        return cls(max(1, n_channels * (n_channels - 1)), max_lag * float(max(rms, flat)))

    def p(self, z: np.ndarray) -> np.ndarray:
        """Family-wise p-value: over all lags of all pairs."""
        return search_p_value(z, self.n_pairs, self.span)

    def p_pair(self, z: np.ndarray) -> np.ndarray:
        """p-value over all lags of one pair."""
        return search_p_value(z, 1, self.span)

    def z(self, p: float) -> float:
        """The |z| whose family-wise p-value is p."""
        return float(brentq(lambda z: float(self.p(np.array(z))) - p, 0.1, 40.0))


class Row:
    """One target's quadratic model and the edges chosen in it."""

    def __init__(
        self,
        target: int,
        covariances: Covariances,
        score: np.ndarray,
        curvature: float,
        score2: float,
        own: np.ndarray,
        edges: list[tuple[int, float, float]],
        first_lag: int,
    ):
        """Quadratic model of the row around the present one.

        score [C, lags] on the grid; own [p] and edges (source, lag, weight) of the present model over the
        target's scale; curvature and score2 the density's E[phi'] and E[phi²]; lags before grid point
        `first_lag` are not searched.
        """
        self.target, self.cov = target, covariances
        self.curvature, self.score2 = curvature, score2
        self.first_lag, self.n_lags = first_lag, score.shape[1]
        self.centre = covariances.sources.shape[2] // 2
        self.n_own = len(own)
        self.edges = [(j, lag) for j, lag, _ in edges]
        n_channels = len(covariances.past)
        energy = covariances.sources[np.arange(n_channels), np.arange(n_channels), self.centre]
        self.energy = np.repeat(energy[:, None], self.n_lags, 1)
        # Slopes of the quadratic model at zero: what the score would be without own past and edges.
        rows, gram = self._design(self.edges)
        value = np.concatenate([own, *[[w, 0.0] for _, _, w in edges]])
        self.slope = score + curvature * np.tensordot(value, rows, 1)
        self.own_slope = curvature * (gram @ value)[: self.n_own]

    def _design(self, edges: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
        """Covariances of the regressors with every candidate [q, C, lags] and with each other [q, q]."""
        own = self.cov.own[self.target]
        grid = self.centre + np.arange(self.n_lags)
        rows = [own[:, grid - k * PER_SAMPLE] for k in range(1, self.n_own + 1)]
        for j, lag in edges:
            rows += self._shifted(self.cov.sources[j], grid, lag)
        lags = np.arange(self.n_own)
        q = self.n_own + 2 * len(edges)
        gram = np.zeros((q, q))
        gram[: self.n_own, : self.n_own] = self.cov.past[self.target][np.abs(lags[:, None] - lags)]
        for a, (j, lag) in enumerate(edges):
            at = self.n_own + 2 * a
            with_own = np.array([self._point(own[j], lag - k - 1) for k in lags]).reshape(-1, 3)
            gram[at, : self.n_own] = gram[: self.n_own, at] = with_own[:, 0]
            gram[at + 1, : self.n_own] = gram[: self.n_own, at + 1] = with_own[:, 1]
            for b, (other, other_lag) in enumerate(edges[: a + 1]):
                # z_other(t - other_lag) with z_j(t - lag): u = lag - other_lag; slopes by either lag.
                r, dr, ddr = self._point(self.cov.sources[other, j], lag - other_lag)
                to = self.n_own + 2 * b
                block = np.array([[r, -dr], [dr, -ddr]])  # rows: j's value, slope; columns: other's
                gram[at : at + 2, to : to + 2] = block
                gram[to : to + 2, at : at + 2] = block.T
        gram[np.diag_indices(q)] *= 1 + 1e-9
        return np.array(rows).reshape(q, len(self.energy), self.n_lags), gram

    @staticmethod
    def _shifted(table: np.ndarray, grid: np.ndarray, lag: float) -> list[np.ndarray]:
        """Value and slope in `lag` of `table` at tau - lag, each [C, lags]; linear between grid points."""
        position = lag * PER_SAMPLE
        low = int(np.floor(position))
        part = position - low
        before, after = table[:, grid - low - 1], table[:, grid - low]
        value = part * before + (1 - part) * after
        return [value, (before - after) * PER_SAMPLE]

    def _point(self, series: np.ndarray, u: float) -> tuple[float, float, float]:
        """Value, slope and curvature in u of a correlation at u samples: the parabola of three points."""
        position = self.centre + u * PER_SAMPLE
        mid = int(np.clip(np.round(position), 1, len(series) - 2))
        d = position - mid
        low, here, high = series[mid - 1 : mid + 2]
        first, second = 0.5 * (high - low), high - 2 * here + low
        return (
            here + d * first + 0.5 * d * d * second,
            (first + d * second) * PER_SAMPLE,
            second * PER_SAMPLE**2,
        )

    def _slopes(self, edges: list[tuple[int, float]]) -> np.ndarray:
        """Slopes of the quadratic model for own past and edges (value, derivative), [q]."""
        values = [self.own_slope]
        for j, lag in edges:
            mid = int(np.clip(np.round(lag * PER_SAMPLE), 1, self.n_lags - 2))
            d = lag * PER_SAMPLE - mid
            low, here, high = self.slope[j, mid - 1 : mid + 2]
            first, second = 0.5 * (high - low), high - 2 * here + low
            values.append(
                np.array([here + d * first + 0.5 * d * d * second, (first + d * second) * PER_SAMPLE])
            )
        return np.concatenate(values)

    def scan(self, edges: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
        """Squared z and gain in log likelihood of each candidate given own past and `edges`, [C, lags]."""
        rows, gram = self._design(edges)
        flat = rows.reshape(len(rows), -1)
        if len(rows):
            solved = np.linalg.solve(gram, np.column_stack([self._slopes(edges), flat]))
            number = self.slope - (flat.T @ solved[:, 0]).reshape(self.slope.shape)
            left = self.energy - np.einsum("qk,qk->k", flat, solved[:, 1:]).reshape(self.energy.shape)
        else:
            number, left = self.slope, self.energy
        square = number**2 / np.maximum(left, 0.02 * self.energy)
        for j in {self.target, *(j for j, _ in edges)}:
            square[j] = 0.0
        square[:, : self.first_lag] = 0.0
        return square / self.score2, square / (2 * self.curvature)

    def best(self, edges: list[tuple[int, float]]) -> tuple[float, float, int, float]:
        """Largest z², its gain, source and lag."""
        z2, gain = self.scan(edges)
        j, k = np.unravel_index(np.argmax(z2), z2.shape)
        return float(z2[j, k]), float(gain[j, k]), int(j), float(k) / PER_SAMPLE

    def solve(self, edges: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Least squares: weight and derivative's weight of each edge [E, 2], z² of weights [E], own [p]."""
        _, gram = self._design(edges)
        inverse = np.linalg.inv(gram)
        value = inverse @ self._slopes(edges) / self.curvature
        at = self.n_own + 2 * np.arange(len(edges))
        variance = self.score2 / self.curvature**2 * np.diag(inverse)
        return (
            np.stack([value[at], value[at + 1]], 1),
            value[at] ** 2 / np.maximum(variance[at], 1e-300),
            value[: self.n_own],
        )

    def search(self, z2_in: float, z2_out: float, at_most: int) -> None:
        """Forward, backward and exchange until nothing changes; leaves the result in `edges`."""
        for _ in range(4 * at_most):
            changed = False
            if len(self.edges) < at_most:
                z2, _, j, lag = self.best(self.edges)
                if z2 > z2_in:
                    self.edges.append((j, lag))
                    changed = True
            self._move()
            _, z2_edges, _ = self.solve(self.edges)
            if len(self.edges) and z2_edges.min() < z2_out:
                self.edges.pop(int(np.argmin(z2_edges)))
                if not changed:
                    changed = True
                else:
                    break
            if not changed and not self._exchange():
                break

    def _move(self) -> None:
        """One Gauss-Newton step of every lag, at most half a sample."""
        if not self.edges:
            return
        value, _, _ = self.solve(self.edges)
        step = np.clip(value[:, 1] / np.where(value[:, 0] == 0, 1e-12, value[:, 0]), -0.5, 0.5)
        first, last = self.first_lag / PER_SAMPLE, (self.n_lags - 1) / PER_SAMPLE
        self.edges = [
            (j, float(np.clip(lag + s, first, last))) for (j, lag), s in zip(self.edges, step, strict=True)
        ]

    def _exchange(self) -> bool:
        """Replace one edge by a better candidate given the others, if there is one."""
        for position, edge in enumerate(self.edges):
            others = self.edges[:position] + self.edges[position + 1 :]
            gain = self.scan(others)[1]
            here = int(np.clip(np.round(edge[1] * PER_SAMPLE), 0, self.n_lags - 1))
            near = gain[edge[0], max(0, here - 4) : here + 5].max()
            j, k = np.unravel_index(np.argmax(gain), gain.shape)
            if gain[j, k] > near + 2.0:
                self.edges[position] = (int(j), float(k) / PER_SAMPLE)
                self._move()
                return True
        return False


def search_rows(
    data: Spectra,
    covariances: Covariances,
    model: Parameters,
    innovation: Innovation,
    at: Evaluation,
    lags: tuple[float, float],
    z_in: float,
) -> list[Row]:
    """Search every target's row around `model`; their `edges` are the proposals, entered at |z| > z_in."""
    n_channels = model.n_channels
    n_lags = int(np.floor(lags[1] * PER_SAMPLE + 1e-9)) + 1
    first_lag = int(np.ceil(lags[0] * PER_SAMPLE - 1e-9))
    scale = np.exp(model.log_scale)
    cross = at.score.conj().transpose(2, 0, 1) @ data.source.transpose(2, 1, 0)  # [B, C, C]
    if at.inverse is not None:
        back = at.inverse.transpose(0, 2, 1) * (data.n_scored * scale[:, None])
        cross = cross - (back if data.in_band is None else back * data.in_band[:, None, None])
    score = _on_grid(data, cross, n_lags)
    mean = moments(innovation, at.u[:, data.scored > 0], model.dof)
    rows = []
    for target in range(n_channels):
        mine = np.nonzero(model.target == target)[0]
        row = Row(
            target,
            covariances,
            score[target],
            float(mean["curvature"][target]),
            float(mean["score2"][target]),
            model.own[target, : model.order[target]] / scale[target],
            [
                (int(model.source[e]), float(model.lag[e]), float(model.weight[e] / scale[target]))
                for e in mine
            ],
            first_lag,
        )
        row.search(z_in**2, (z_in - 1.0) ** 2, n_channels - 1)
        rows.append(row)
    return rows
