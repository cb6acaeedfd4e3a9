"""Choosing what is in the model: edges by search and elimination, own past by an information criterion."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.linalg import solve_toeplitz, solve_triangular
from scipy.linalg.lapack import dpotrf

from cldtrans.lag.fit.fisher import SINGULAR, Layout, covariance, information
from cldtrans.lag.fit.likelihood import Evaluation, Innovation, Parameters, evaluate
from cldtrans.lag.fit.progress import Watch
from cldtrans.lag.fit.refine import refine
from cldtrans.lag.fit.search import Edge, Grid, Row, Threshold, search_rows
from cldtrans.lag.fit.spectra import Spectra

MAX_ROUNDS = 12
GAUSSIAN_ROUNDS = 4
"""Rounds of the second start: strong edges enter first, and only those that the other start missed matter."""

LEAST_GAIN = 0.5
"""Log likelihood, above the cost of its edges, that a round must gain."""

LOOSE = 0.05
"""Family-wise p-value at which an edge enters and stays during the search (or the level, if higher)."""

GAUSSIAN_LAGS = 4.0
"""Samples, the largest lag: below, a Gaussian fit is no place to start from."""

NEARLY_ALL = 0.8
"""Part of the own past that is allowed, beyond which a longer one is tried."""

SAME_LAG = 0.2
"""Samples within which two fits agree on a lag; sharp waves have false maxima less than a sample apart."""


@dataclass(frozen=True)
class Problem:
    """What stays the same during one fit.

    Attributes
    ----------
    data : Spectra
        The windows.
    innovation : one of "laplace", "student", "gaussian"
        Density of the innovations.
    min_lag, max_lag : float
        Range of lags, samples.
    own : array [C]
        Longest own past of each channel, samples.
    jacobian : bool
        Whether `log|det M|` is part of the likelihood.
    threshold : Threshold
        p-values of the search.
    alpha : float
        Level of the support.
    discovery : bool
        Whether alpha bounds the false-discovery rate instead of the family-wise error rate.
    watch : Watch
        Is told of every round, and keeps the best complete model.
    """

    data: Spectra
    innovation: Innovation
    min_lag: float
    max_lag: float
    own: np.ndarray
    jacobian: bool
    threshold: Threshold
    alpha: float
    discovery: bool
    watch: Watch = field(default_factory=Watch)

    @cached_property
    def grid(self) -> Grid:
        """Candidates; made once."""
        return Grid.of(self.data, (self.min_lag, self.max_lag))

    def level(self, n_edges: int) -> float:
        """Return the family-wise p-value at which the last of `n_edges` stays.

        By Bonferroni, or by Benjamini-Hochberg.
        """
        return self.alpha * max(1, n_edges) if self.discovery else self.alpha

    def loose(self, n_edges: int) -> float:
        """Return the level during the search."""
        return max(LOOSE, self.level(n_edges))

    def worth(self, model: Parameters, at: Evaluation) -> float:
        """Return a model's loss, and what its edges must be worth."""
        return float(at.loss + 0.5 * self.threshold.z(self.level(model.n_edges)) ** 2 * model.n_edges)

    def criterion(self, model: Parameters, at: Evaluation) -> float:
        """Return a model's loss, and what its edges and its own past must be worth, a sample."""
        past = 0.5 * np.log(self.data.effective_samples)
        worth = self.worth(model, at) + past * model.order.sum()
        return float(worth / self.data.effective_samples)

    def loss(self, model: Parameters) -> float:
        """Return minus the log likelihood of a model, lags held to their range."""
        inside = replace(model, lag=np.clip(model.lag, self.min_lag, self.max_lag))
        return evaluate(self.data, inside, self.innovation, self.jacobian).loss

    def refine(
        self,
        model: Parameters,
        tolerance: float = 1e-2,
        max_steps: int = 60,
        bar: float = np.inf,
    ) -> tuple[Parameters, Evaluation]:
        """Climb from a model to the nearest maximum of this problem's likelihood."""
        return refine(
            self.data,
            model,
            self.innovation,
            (self.min_lag, self.max_lag),
            jacobian=self.jacobian,
            tolerance=tolerance,
            max_steps=max_steps,
            bar=bar,
        )

    def complete(self, found: "Found") -> None:
        """Keep a model as what an interrupted fit returns, unless a likelier one is kept."""
        kept = self.watch.best
        if self.innovation != self.watch.innovation:  # a start for another density, not a result
            return
        if kept is None or self.criterion(*found[:2]) < kept[0].criterion(*kept[1][:2]):
            self.watch.best = (self, found)

    def covariance(
        self, model: Parameters, at: Evaluation, *, of_edges: bool = False
    ) -> tuple[Layout, np.ndarray]:
        """Return positions of the parameters and their covariance [n, n]; or that of weights and lags alone.

        The latter is [2 E, n]: they come first in the layout, and the rest is most of the work.
        """
        layout, hessian, score = information(self.data, model, self.innovation, at)
        return layout, covariance(hessian, score, 2 * model.n_edges if of_edges else None)


Found = tuple[Parameters, Evaluation, list[Row]]


def select(problem: Problem, start: Parameters | None = None) -> Found:
    """Fit the model.

    Parameters
    ----------
    problem : Problem
        The fit.
    start : Parameters, optional
        A model whose own past may be shorter; default: no edges.

    Returns
    -------
    model : Parameters
        The fitted model.
    at : Evaluation
        Of the loss there.
    rows : list of Row
        Those of the last search: they hold the evidence for every other pair.
    """
    if start is None:
        start = _own_past_only(problem)
    more = int(problem.own.max()) - start.own.shape[1]
    own = np.pad(start.own, ((0, 0), (0, max(0, more))))[:, : problem.own.max()]
    found = _climb(problem, problem.grid, replace(start, own=own, order=problem.own.copy()))
    assert found is not None
    return found


def likelier(problem: Problem, found: Found) -> Found:
    """Return `found`, or what the search finds from a Gaussian fit, whichever explains the data better.

    The search sees the likelihood as a quadratic around the present model. For the Gaussian density that is
    exact in the weights; for the others it is poor as long as a strong edge is missing, whose part of the
    residuals is anything but independent: of an ECG delayed against itself the Laplace search alone found
    two delays of six. Within a few samples the Gaussian density does not tell directions: no place to start.
    """
    if problem.innovation == "gaussian" or problem.max_lag < GAUSSIAN_LAGS:
        return found
    gaussian = replace(problem, innovation="gaussian")
    grid = problem.grid
    start, at = gaussian.refine(_own_past_only(problem), tolerance=0.5)
    start, _, _ = _rounds(gaussian, grid, start, at, gaussian.loose, GAUSSIAN_ROUNDS)
    known = _lags(found[0])
    if all(abs(lag - known.get(pair, np.inf)) < SAME_LAG for pair, lag in _lags(start).items()):
        return found  # the other start knows nothing new
    other = _climb(problem, grid, start, problem.worth(*found[:2]))
    if other is None:
        return found
    return min(found, other, key=lambda end: problem.criterion(end[0], end[1]))


def _climb(problem: Problem, grid: Grid, start: Parameters, bar: float = np.inf) -> Found | None:
    """Search, shorten own past, search again and eliminate, from one start.

    None where the model that the search finds, with all of the own past that is allowed, is worth no more
    than one that is known: its loss and that of its edges, `bar`.
    """
    model, at = problem.refine(start, tolerance=0.5)
    model, at, _ = _rounds(problem, grid, model, at, problem.loose)
    if problem.worth(model, at) >= bar:
        return None
    shorter, allowed = choose_order(problem, model, at)
    shorter, at_shorter = problem.refine(shorter, tolerance=0.1)
    if at_shorter.loss - at.loss < 2.0 * allowed + 10.0:
        model, at = shorter, at_shorter
    elif problem.data.in_band is not None:
        # Outside the band own past is free, and can carry a delay that every lag of the row then misses.
        brief = replace(problem, own=shorter.order)
        again, at_again = brief.refine(_own_past_only(brief), tolerance=0.5)
        again, at_again, _ = _rounds(brief, grid, again, at_again, brief.loose)
        if problem.criterion(again, at_again) < problem.criterion(model, at):
            model, at = again, at_again
    # Shorter own past leaves stronger evidence: one more look, with the threshold that was asked for.
    model, at, rows = _rounds(problem, grid, model, at, problem.level)
    model, at = eliminate(problem, model, at, problem.level)
    model, at = problem.refine(model)
    return model, at, rows


def _rounds(
    problem: Problem,
    grid: Grid,
    model: Parameters,
    at: Evaluation,
    level: Callable[[int], float],
    at_most: int = MAX_ROUNDS,
) -> tuple[Parameters, Evaluation, list[Row]]:
    """Search and eliminate while the likelihood gains more than its edges cost."""
    limit = model.n_channels**2
    for _ in range(at_most):
        problem.watch.step(model.n_edges)
        p_in = level(model.n_edges)
        found, at_found, rows = _search(problem, grid, model, at, p_in, limit)
        if at_found.loss < at.loss:
            found, at_found = eliminate(problem, found, at_found, level)
        n_new = len(_lags(found).keys() - _lags(model).keys())
        cost = 0.5 * problem.threshold.z(p_in) ** 2
        if at.loss - at_found.loss > cost * (found.n_edges - model.n_edges) + LEAST_GAIN:
            model, at = found, at_found
            problem.complete((model, at, rows))
        elif n_new > 1:
            # Too many at once, each the answer to the same question: the strongest few first.
            limit = max(1, n_new // 4)
        else:
            break
    return model, at, rows


def _lags(model: Parameters) -> dict[tuple[int, int], float]:
    """Return the lag of each edge by its target and source, samples."""
    pairs = zip(model.target.tolist(), model.source.tolist(), strict=True)
    return dict(zip(pairs, model.lag.tolist(), strict=True))


def _own_past_only(problem: Problem) -> Parameters:
    """No edges; own past by Yule-Walker, which is stable."""
    data, longest = problem.data, int(problem.own.max(initial=0))
    past = data.samples((np.abs(data.spectrum) ** 2).sum(1))[:, : longest + 1]
    past[:, 0] *= 1 + 1e-9
    own = np.zeros((len(past), longest))
    for channel, order in enumerate(problem.own):
        if order:
            own[channel, :order] = solve_toeplitz(past[channel, :order], past[channel, 1 : order + 1])
    none = np.zeros(0)
    return Parameters(
        target=none.astype(int),
        source=none.astype(int),
        lag=none,
        weight=none,
        own=own,
        order=problem.own.copy(),
        log_scale=np.zeros(len(own)),
        dof=np.full(len(own), 6.0),
    )


def _search(
    problem: Problem, grid: Grid, model: Parameters, at: Evaluation, p_in: float, limit: int
) -> tuple[Parameters, Evaluation, list[Row]]:
    """One search of all rows around `model`, then joint refinement with up to `limit` new edges; the rows."""
    z_in = problem.threshold.z(p_in)
    rows = search_rows(problem.data, grid, model, problem.innovation, at, z_in)
    admitted = _without_new_cycles(model, rows, limit)
    own, edges = model.own.copy(), []
    for row in rows:
        row.edges = admitted[row.target]
        found, past = row.proposal()
        own[row.target, : len(past)] = past
        edges += found
    target, source, lag, weight = np.array(edges).reshape(-1, 4).T
    bare = replace(model.keep(np.zeros(model.n_edges, bool)), own=own)
    proposal = bare.add(target.astype(int), source.astype(int), lag, weight)
    model, at = problem.refine(proposal, tolerance=0.5, max_steps=10, bar=at.loss)
    return model, at, rows


def _without_new_cycles(model: Parameters, rows: list[Row], limit: int) -> list[list[Edge]]:
    """Each row's edges: those of `model`, and up to `limit` new ones, strongest first, that form no cycle.

    Rows are searched apart from each other. Where lags are short or channels narrow-band, i→j and j→i explain
    the same thing; entering both, the rows can settle exchanged (each describing the other's channel), and
    the likelihood cannot tell that from the truth. Once one direction is in, the Jacobian corrects the score
    of the other.
    """
    present = _lags(model)
    admitted: list[list[Edge]] = [
        [edge for edge in row.edges if (row.target, edge[0]) in present] for row in rows
    ]
    new = []
    for row in rows:
        gain = row.solve(row.edges)[1] * row.score2 / row.curvature
        new += [
            (float(g), row.target, edge)
            for g, edge in zip(gain, row.edges, strict=True)
            if (row.target, edge[0]) not in present
        ]
    reaches = np.eye(len(rows), dtype=bool)  # reaches[a, b]: from a to b along new edges
    n_new = 0
    for _, target, edge in sorted(new, reverse=True):
        if n_new < limit and not reaches[target, edge[0]]:
            n_new += 1
            admitted[target].append(edge)
            reaches |= np.outer(reaches[:, edge[0]], reaches[target])
    return admitted


def eliminate(
    problem: Problem, model: Parameters, at: Evaluation, level: Callable[[int], float]
) -> tuple[Parameters, Evaluation]:
    """Drop edges, weakest first, until each one's family-wise p-value is below `level(n_edges)`; refit.

    Within one pass the others' estimates follow by conditioning their joint normal distribution on the
    dropped weight being 0, so that a pass costs one information matrix.

    Parameters
    ----------
    problem : Problem
        The fit.
    model : Parameters
        With edges to judge.
    at : Evaluation
        Of the loss at `model`.
    level : callable
        From the number of edges to the p-value that they need.
    """
    at_once = max(1, model.n_edges // 4)
    while model.n_edges:
        z_out = problem.threshold.z(level(model.n_edges))
        layout, spread = problem.covariance(model, at, of_edges=True)
        rest, keep = _without_weakest(model, layout, spread, z_out, at_once)
        if keep.all():
            break
        n_dropped = int((~keep).sum())
        bar = at.loss + n_dropped * z_out**2
        start = min(rest.keep(keep), model.keep(keep), key=problem.loss)
        fewer, at_fewer = problem.refine(start, tolerance=0.5, bar=bar)
        if at_fewer.loss < bar:
            model, at = fewer, at_fewer
        elif n_dropped > 1:
            # Twice what the normal approximation allows: it misleads, so go in smaller steps.
            at_once = n_dropped // 4 + 1
        else:
            break
    return model, at


def _without_weakest(
    model: Parameters, layout: Layout, spread: np.ndarray, z_out: float, at_most: int
) -> tuple[Parameters, np.ndarray]:
    """Return the model with the other estimates moved as the dropped edges ask, and the edges kept.

    The latter are bool [E].
    """
    value = layout.pack(model.weight, model.lag, model.own, model.log_scale)
    keep = np.ones(model.n_edges, bool)
    for _ in range(at_most):
        deviation = np.sqrt(np.maximum(np.diag(spread)[layout.weight], 1e-300))
        z = np.where(keep, np.abs(value[layout.weight]) / deviation, np.inf)
        weakest = int(np.argmin(z))
        if z[weakest] >= z_out:
            break
        keep[weakest] = False
        # Without its weight an edge's lag has no meaning: both leave.
        target = value.copy()
        target[layout.weight[weakest]] = 0.0
        value, spread = _conditioned(
            value, spread, np.array([layout.weight[weakest], layout.lag[weakest]]), target
        )
    return _unpacked(model, layout, value), keep


def _conditioned(
    value: np.ndarray, spread: np.ndarray, fixed: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a normal vector once its entries `fixed` are known to be those of `target`.

    Of the covariance the first rows are enough, if they hold those of `fixed`.
    """
    block = spread[np.ix_(fixed, fixed)]
    pull = np.linalg.pinv(block, rcond=1e-12, hermitian=True) @ spread[fixed]
    return value + (target - value)[fixed] @ pull, spread - spread[:, fixed] @ pull


def _unpacked(model: Parameters, layout: Layout, value: np.ndarray) -> Parameters:
    """`model` with lags clipped to moves of a sample, and everything else, from a vector."""
    return replace(
        model,
        weight=value[layout.weight],
        lag=np.maximum(model.lag + np.clip(value[layout.lag] - model.lag, -1.0, 1.0), 0.0),
        own=np.where(layout.own >= 0, value[np.maximum(layout.own, 0)], 0.0),
        log_scale=value[layout.log_scale],
    )


def choose_order(problem: Problem, model: Parameters, at: Evaluation) -> tuple[Parameters, float]:
    """Shorten each channel's own past by the Bayesian information criterion, in its Wald form.

    Returns
    -------
    model : Parameters
        With shorter own past.
    cost : float
        The log likelihood that this should cost.
    """
    layout, spread = problem.covariance(model, at)
    value = layout.pack(model.weight, model.lag, model.own, model.log_scale)
    order = model.order.copy()
    penalty, total = np.log(problem.data.effective_samples), 0.0
    for channel in range(model.n_channels):
        own = layout.own[channel][layout.own[channel] >= 0]
        wald = _wald_of_tails(value[own], spread[np.ix_(own, own)])
        n_dropped = int(np.argmin(wald - penalty * np.arange(len(wald))))
        order[channel], total = len(own) - n_dropped, total + 0.5 * float(wald[n_dropped])
        if order[channel] < len(own):
            value, spread = _conditioned(value, spread, own[order[channel] :], np.zeros_like(value))
    kept = np.arange(model.own.shape[1]) < order[:, None]
    shortened = _unpacked(model, layout, value)
    return replace(shortened, order=order, own=shortened.own * kept), total


def _wald_of_tails(value: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return Wald's statistic of the last 0, 1, ..., P of P estimates, [P + 1].

    Counted from the end the tails are nested: one triangular factor has them all. A nearly singular spread
    gets a pseudo-inverse a tail.
    """
    variance = np.diag(spread)
    if variance.min(initial=1.0) > 0:
        deviation = np.sqrt(variance)
        scaled = (spread / np.multiply.outer(deviation, deviation))[::-1, ::-1]
        factor, info = dpotrf(scaled, lower=1)
        if info == 0 and np.diag(factor).min(initial=1.0) ** 2 > SINGULAR:
            white = solve_triangular(factor, (value / deviation)[::-1], lower=True)
            return np.concatenate([[0.0], np.cumsum(white**2)])
    wald = [0.0]
    for first in range(len(value) - 1, -1, -1):
        precision = np.linalg.pinv(spread[first:, first:], rcond=1e-12, hermitian=True)
        wald.append(float(value[first:] @ precision @ value[first:]))
    return np.array(wald)


def enough_past(problem: Problem, choices: np.ndarray) -> np.ndarray:
    """Return for each channel the shortest own past in `choices` of which it does not use nearly all, [C].

    Judged without edges, which costs next to nothing; edges seldom lengthen what a channel needs.

    Parameters
    ----------
    problem : Problem
        With own past as long as the longest choice.
    choices : array [n] of int
        In rising order, samples.
    """
    start, at = problem.refine(_own_past_only(problem), tolerance=0.5)
    order = choose_order(problem, start, at)[0].order
    return choices[np.minimum(np.searchsorted(NEARLY_ALL * choices, order), len(choices) - 1)]
