"""Fit an LD-SEM to windows of one system: which channel leads which, how long, how strongly, how surely."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy.stats import false_discovery_control
from threadpoolctl import threadpool_limits

from cldtrans.errors import DataError
from cldtrans.lag.fit import diagnostics
from cldtrans.lag.fit.diagnostics import Rival
from cldtrans.lag.fit.likelihood import (
    Evaluation,
    Innovation,
    Parameters,
    deviation,
    log_likelihood,
    residuals,
)
from cldtrans.lag.fit.prepare import Prepared, as_windows, prepare, through_tanh
from cldtrans.lag.fit.progress import Progress, Watch
from cldtrans.lag.fit.result import LagFit
from cldtrans.lag.fit.search import Row, Threshold
from cldtrans.lag.fit.selection import (
    GAUSSIAN_LAGS,
    NEARLY_ALL,
    Found,
    Problem,
    enough_past,
    likelier,
    select,
)
from cldtrans.lag.fit.spectra import GUARD, to_spectra
from cldtrans.lag.inputs import read_input

TAU_MAX_S = 0.1
FIRST_ORDER, LENGTHENED = 8, 2
"""Own past tried at first, samples, and how often it may be doubled."""


@threadpool_limits.wrap(limits=1, user_api="blas")
def fit_ldsem(
    x: Any,
    sample_rate: float | None = None,
    tau_max: float = TAU_MAX_S,
    innovation: Innovation = "laplace",
    periodic: bool = False,
    *,
    alpha: float = 0.01,
    error_rate: Literal["family", "discovery"] = "family",
    max_order: int = 32,
    nonlinearity: Literal["identity", "tanh"] = "identity",
    band_hz: tuple[float, float] | None = None,
    jacobian: bool = True,
    channels: Sequence[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> LagFit:
    """Estimate `x_i(t) = (a_i * x_i)(t) + sum_j W_ij g(x_j(t - tau_ij)) + e_i(t)`: support, lags, weights.

    Own past by Yule-Walker, then rounds of: search every row for edges on a fine grid of lags, climb to the
    maximum of the joint likelihood, eliminate what is not significant; the order of each channel's own past
    by BIC; standard errors from the Fisher information in its robust form. See docs/ldsem.md.

    Parameters
    ----------
    x : array [N, C, T], mne.io.BaseRaw or mne.BaseEpochs
        Windows of one system, torch or numpy, any float type and unit; they need not be contiguous. Of mne's
        objects the data channels, as they are: `read_input` says which, `lags_of_recording` also references,
        filters and resamples.
    sample_rate : float, optional
        Hertz; mne's objects know it.
    tau_max : float
        Largest lag searched, seconds; at most one lag a pair is found, between 0 and tau_max.
    innovation : one of "laplace", "student", "gaussian"
        Density of the innovations; of "student" the degrees of freedom are fitted.
    periodic : bool
        True where each window is exactly one period; False for windows cut from a record: the first
        tau_max and a guard at both ends of each are used but not scored.
    alpha : float
        Level of the support.
    error_rate : one of "family", "discovery"
        What alpha bounds: the probability of any false edge, or the expected fraction of false edges
        (Benjamini-Hochberg).
    max_order : int
        Longest own past, samples. Every channel starts with up to 8; where nearly all are used, as after
        a band-pass, twice and four times as many are tried.
    nonlinearity : one of "identity", "tanh"
        "tanh": g = tanh of the input as it is (scale it first), without the Jacobian; lags under two
        samples are then not identified and not searched.
    band_hz : (float, float), optional
        Use only this band, by the Whittle likelihood; "gaussian" innovations only.
    jacobian : bool
        False drops `log|det M|`, for comparison: wrong where lags come near one sample.
    channels : sequence of str, optional
        C names; default: those that mne knows, else numbers.
    progress : callable, optional
        Called with a `Progress` after every round of the search.

    Returns
    -------
    LagFit
        Support, lags and weights with their standard errors, and warnings. After Ctrl-C (KeyboardInterrupt)
        the best model so far, with `interrupted` set and a warning; there is none before the first round's
        end, and the interrupt goes on.

    Raises
    ------
    DataError
        Where the input cannot be fitted; one line says why and what to do.
    """
    given = read_input(x, sample_rate, channels)
    sample_rate, channels = given.sample_rate, given.channels
    windows = as_windows(given.x)
    if channels is not None and len(channels) != windows.shape[1]:
        raise DataError(f"{len(channels)} channel names for {windows.shape[1]} channels")
    first_order = min(FIRST_ORDER, max_order)
    max_lag = _checked(windows, sample_rate, tau_max, innovation, periodic, first_order, band_hz, alpha)
    prepared = prepare(windows, periodic=periodic)
    if len(prepared.kept) == 0:
        raise DataError("no channel varies: there is nothing to fit")
    min_lag = 0.0
    if nonlinearity == "tanh":
        jacobian, min_lag = False, 2.0
        prepared = through_tanh(prepared, windows)
        if max_lag < min_lag:
            raise DataError(
                f"tau_max is {max_lag:.3g} samples; with nonlinearity='tanh' lags under two samples are not "
                f"identified: use tau_max >= {2 / sample_rate:g} s or a higher sample rate"
            )
    elif nonlinearity != "identity":
        raise DataError(f"nonlinearity is {nonlinearity!r}; known: identity, tanh")
    n_starts = 1 if innovation == "gaussian" or max_lag < GAUSSIAN_LAGS else 3
    watch = Watch(progress, n_starts, innovation)
    in_band = None if band_hz is None else (band_hz[0] / sample_rate, band_hz[1] / sample_rate)

    def with_past(own: np.ndarray) -> Problem:
        reach = max(max_lag, int(own.max()))
        data = to_spectra(prepared.x, prepared.source, reach, periodic=periodic, in_band=in_band)
        return Problem(
            data=data,
            innovation=innovation,
            min_lag=min_lag,
            max_lag=max_lag,
            own=own,
            jacobian=jacobian,
            threshold=Threshold.of(data, max_lag - min_lag),
            alpha=alpha,
            discovery=error_rate == "discovery",
            watch=watch,
        )

    names = np.array(range(windows.shape[1]) if channels is None else list(channels), dtype=object)
    interrupted = False
    try:
        problem, found = _searched(with_past, len(prepared.kept), first_order, max_order)
    except KeyboardInterrupt:
        if watch.best is None:
            raise
        problem, found = watch.best
        interrupted = True
    fit = _result(problem, prepared, *found, sample_rate, tau_max, names, interrupted=interrupted)
    return replace(fit, warnings=[*given.notes, *fit.warnings], channels=channels)


def _searched(
    with_past: Callable[[np.ndarray], Problem], n_channels: int, first_order: int, max_order: int
) -> tuple[Problem, Found]:
    """Search with own past of at least `first_order` samples, at most `max_order`; then a second start."""
    own = np.full(n_channels, first_order)
    problem = with_past(own)
    room = max(min(max_order, problem.data.n_scored // 50), first_order)
    choices = np.unique(np.minimum(first_order * 2 ** np.arange(LENGTHENED + 1), room))
    if len(choices) > 1:
        own = enough_past(with_past(np.full_like(own, choices[-1])), choices)
        problem = with_past(own)
    found = select(problem)
    for _ in range(LENGTHENED):
        longer = np.where(
            found[0].order > NEARLY_ALL * own, np.clip(2 * own, own, np.maximum(own, room)), own
        )
        if (longer == own).all():
            break
        own = longer
        other = with_past(own)
        found_other = select(other, found[0])
        if other.criterion(*found_other[:2]) >= problem.criterion(*found[:2]):
            break
        problem, found = other, found_other
    return problem, likelier(problem, found)


def _checked(
    x: np.ndarray,
    sample_rate: float,
    tau_max: float,
    innovation: str,
    periodic: bool,
    order: int,
    band_hz: tuple[float, float] | None,
    alpha: float,
) -> float:
    """Return the largest lag in samples, or raise one clear error."""
    n_windows, n_channels, n_samples = x.shape
    if innovation not in ("laplace", "student", "gaussian"):
        raise DataError(f"innovation is {innovation!r}; known: laplace, student, gaussian")
    if not (sample_rate > 0 and tau_max > 0):
        raise DataError(f"sample_rate is {sample_rate} Hz and tau_max {tau_max} s; both must be positive")
    if not 0 < alpha < 1:
        raise DataError(f"alpha is {alpha}; expected a probability between 0 and 1")
    max_lag = tau_max * sample_rate
    if band_hz is not None:
        if innovation != "gaussian":
            raise DataError(
                f"band_hz with innovation={innovation!r}: band-limited residuals are neither independent nor "
                f"{innovation}; use innovation='gaussian', or resample so that the band fills the spectrum"
            )
        if not 0 <= band_hz[0] < band_hz[1] <= sample_rate / 2:
            raise DataError(f"band_hz is {band_hz}; expected 0 <= low < high <= {sample_rate / 2:g} Hz")
    longest = n_samples if periodic else n_samples - max(max_lag, order) - 2 * GUARD - 1
    scored = int(n_windows * max(0.0, longest))
    if (periodic and max_lag >= n_samples / 2) or longest < 8:
        raise DataError(
            f"windows of {n_samples} samples ({n_samples / sample_rate:g} s) are too short for tau_max = "
            f"{tau_max:g} s; use longer windows or a smaller tau_max"
        )
    least = 20 * (order + 3)
    if scored < least:
        raise DataError(
            f"{n_windows} windows leave {scored} samples a channel to score; {least} or more are needed: use "
            "more or longer windows"
        )
    if n_channels < 1:
        raise DataError("x has no channels")
    return float(max_lag)


def _result(
    problem: Problem,
    prepared: Prepared,
    model: Parameters,
    at: Evaluation,
    rows: list[Row],
    sample_rate: float,
    tau_max: float,
    names: np.ndarray,
    *,
    interrupted: bool,
) -> LagFit:
    """Back to all channels, seconds and the input's units; `names` [C] are for the warnings."""
    n_channels = len(names)
    data, kept, scale = problem.data, prepared.kept, prepared.scale
    layout, spread = problem.covariance(model, at, of_edges=True)
    variance = np.diag(spread)  # not positive where the information is singular: nothing is known there
    stderr = np.sqrt(np.where(variance > 0, variance, np.inf))
    residual = residuals(data, model)[:, data.scored > 0]
    runs = np.broadcast_to(np.arange(len(data.scored))[:, None], data.scored.shape)[data.scored > 0]

    rivals = _rivals(model, rows)
    certain = np.ones(model.n_edges, bool)
    certain[[r.edge for r in rivals if r.loss < UNDECIDED]] = False
    p_value = _p_values(problem, model, stderr[layout.weight], rows, kept, n_channels)
    certain &= p_value[kept[model.target], kept[model.source]] < problem.alpha
    edge = (kept[model.target[certain]], kept[model.source[certain]])
    unit = scale[model.target] / prepared.source_scale[model.source]

    def pairs(values: np.ndarray, empty: float) -> np.ndarray:
        full = np.full((n_channels, n_channels), empty)
        full[edge] = values[certain]
        return full

    def channels(values: np.ndarray) -> np.ndarray:
        full = np.full(n_channels, np.nan)
        full[kept] = values
        return full

    own = np.full((n_channels, int(model.order.max(initial=0))), np.nan)
    own[kept] = model.own[:, : own.shape[1]]
    warnings = [INTERRUPTED] if interrupted else []
    warnings += diagnostics.preparation(prepared, names)
    warnings += diagnostics.assumptions(
        model,
        problem.innovation,
        residual,
        runs,
        names[kept],
        min_lag=problem.min_lag,
        max_lag=problem.max_lag,
        max_order=problem.own,
        rivals=rivals,
        undecided=UNDECIDED,
        sample_rate=sample_rate,
    )
    return LagFit(
        tau=pairs(model.lag / sample_rate, np.nan),
        tau_stderr=pairs(stderr[layout.lag] / sample_rate, np.nan),
        weight=pairs(model.weight * unit, 0.0),
        weight_stderr=pairs(stderr[layout.weight] * unit, np.nan),
        support=pairs(np.ones(model.n_edges), 0.0) > 0,
        p_value=p_value,
        sigma=channels(deviation(problem.innovation, model.log_scale, model.dof) * scale),
        self_dynamics=own,
        kurtosis=channels(diagnostics.excess_kurtosis(residual)),
        degrees_of_freedom=channels(model.dof) if problem.innovation == "student" else None,
        log_likelihood=log_likelihood(data, model, problem.innovation, problem.jacobian)
        - data.effective_samples * float(np.log(scale).sum()),
        n_scored=data.n_scored,
        sample_rate=float(sample_rate),
        tau_max=float(tau_max),
        innovation=problem.innovation,
        left_out=sorted(prepared.constant + [c for c, _ in prepared.dependent]),
        warnings=warnings,
        interrupted=interrupted,
        autocorrelation=channels(diagnostics.worst_autocorrelation(residual, runs, problem.own)),
    )


INTERRUPTED = (
    "interrupted before the search had ended: edges may be missing, and others may take the place of some"
)

NEARLY_AS_WELL = 3.0
"""Log likelihood, against the best, within which another lag of an edge is reported."""

UNDECIDED = 1.0
"""The same, within which the lag is not identified: the pair is no edge of the result, its p-value stays."""


def _rivals(model: Parameters, rows: list[Row]) -> list[Rival]:
    """Edges of which another lag fits nearly as well."""
    found = []
    for row in rows:
        mine = np.nonzero(model.target == row.target)[0]
        edges = list(zip(model.source[mine].tolist(), model.lag[mine].tolist(), strict=True))
        for position, edge in enumerate(mine.tolist()):
            lag, loss = row.rival(edges, position)
            if loss < NEARLY_AS_WELL:
                found.append(Rival(edge, lag, loss))
    return found


def _p_values(
    problem: Problem,
    model: Parameters,
    stderr_weight: np.ndarray,
    rows: list[Row],
    kept: np.ndarray,
    n_channels: int,
) -> np.ndarray:
    """Family-wise p-values, or q-values: Wald's for edges, the last search's best lag for other pairs."""
    z = np.zeros((len(kept),) * 2)
    for row in rows:
        mine = model.target == row.target
        kept_edges = [edge for edge in row.edges if edge[0] in model.source[mine]]
        z[row.target] = np.sqrt(row.scan(kept_edges)[0].max(1))
    z[model.target, model.source] = np.abs(model.weight) / stderr_weight
    off = ~np.eye(len(kept), dtype=bool)
    p = problem.threshold.p(z)
    if problem.discovery:
        p[off] = false_discovery_control(problem.threshold.p_pair(z[off]))
    full = np.full((n_channels, n_channels), np.nan)
    full[np.ix_(kept, kept)] = np.where(off, p, np.nan)
    return full
