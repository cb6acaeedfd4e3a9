"""Signs that a fit's assumptions fail, each as one line that says what it means and what to do."""

from dataclasses import dataclass

import numpy as np

from cldtrans.lag.fit.likelihood import Innovation, Parameters
from cldtrans.lag.fit.prepare import Prepared

MANY = 12
"""Channels named in a warning before the rest is counted."""


@dataclass(frozen=True)
class Rival:
    """Another lag of an edge that fits nearly as well.

    Attributes
    ----------
    edge : int
        Position of the edge.
    lag : float
        The other lag, samples.
    loss : float
        By which it is worse, in log likelihood.
    """

    edge: int
    lag: float
    loss: float


def excess_kurtosis(residual: np.ndarray) -> np.ndarray:
    """Return the fourth moment over squared variance, minus 3, of residuals [C, n]."""
    centred = residual - residual.mean(1, keepdims=True)
    variance = (centred**2).mean(1)
    return (centred**4).mean(1) / np.maximum(variance**2, 1e-300) - 3.0


def preparation(prepared: Prepared, names: np.ndarray) -> list[str]:
    """Warn of channels that a likelihood cannot contain, and of drift.

    Parameters
    ----------
    prepared : Prepared
        What was done to the input.
    names : array [C]
        Of all channels of the input.

    Returns
    -------
    list of str
        One line each.
    """
    lines = []
    if prepared.constant:
        lines.append(f"channels {_listed(names[prepared.constant])} are constant and were left out")
    for channel, others in prepared.dependent:
        lines.append(
            f"channel {names[channel]} is a linear combination of channels {_listed(names[others])} and was "
            "left out: the likelihood has no maximum with it"
        )
    if prepared.drifting:
        lines.append(
            f"channels {_listed(names[prepared.drifting])} drift: slow change was taken out of all channels, "
            "window by window"
        )
    return lines


def worst_autocorrelation(residual: np.ndarray, runs: np.ndarray, max_order: np.ndarray) -> np.ndarray:
    """Return the largest autocorrelation of each channel's residuals [K], by amount.

    Arguments as of `assumptions`.
    """
    delays = range(1, max(2, int(max_order.max())) + 1)
    return np.array([max(abs(_autocorrelation(r, runs, k)) for k in delays) for r in residual])


def most_autocorrelation(n_samples: int) -> float:
    """Return what residuals may have that are as good as white."""
    return max(0.05, 5.0 / np.sqrt(n_samples))


def assumptions(
    model: Parameters,
    innovation: Innovation,
    residual: np.ndarray,
    runs: np.ndarray,
    names: np.ndarray,
    *,
    min_lag: float,
    max_lag: float,
    max_order: np.ndarray,
    rivals: list[Rival],
    undecided: float,
    sample_rate: float,
) -> list[str]:
    """Warn where a fitted model contradicts what it assumes.

    Parameters
    ----------
    model : Parameters
        The fitted model.
    innovation : one of "laplace", "student", "gaussian"
        Density of the innovations.
    residual : array [K, n]
        Scored residuals, windows one after another.
    runs : array [n]
        Number of the window that each belongs to.
    names : array [K]
        Of the channels.
    min_lag, max_lag : float
        Range of lags searched, samples.
    max_order : array [K]
        Longest own past tried, samples.
    rivals : list of Rival
        Edges of which another lag fits nearly as well.
    undecided : float
        Below a loss of this the lag is not identified.
    sample_rate : float
        Hertz.

    Returns
    -------
    list of str
        One line each.
    """
    n_samples = residual.shape[1]
    lines = []
    limit = max(0.25, 3 * np.sqrt(24.0 / n_samples))
    gaussian = names[excess_kurtosis(residual) < limit]
    if innovation != "gaussian" and len(gaussian):
        lines.append(
            f"innovations of channels {_listed(gaussian)} look Gaussian (excess kurtosis below {limit:.2f}): "
            f"a {innovation} likelihood is not justified, and lags below one sample and their direction "
            "are not identified"
        )
    worst = worst_autocorrelation(residual, runs, max_order)
    coloured = worst > most_autocorrelation(n_samples)
    if coloured.any():
        lines.append(
            f"residuals of channels {_listed(names[coloured])} are autocorrelated (up to "
            f"{worst.max():.2f}): own past of at most {max_order.max()} samples does not describe them; "
            "standard errors and p-values are too small"
        )
    full = names[(model.order == max_order) & (max_order > 0)]
    if len(full):
        lines.append(f"own past of channels {_listed(full)} is as long as allowed: try a larger max_order")
    low, high = model.lag <= min_lag, model.lag >= max_lag - 1e-6
    if low.any():
        lines.append(
            f"the lag of {_pairs(model, names, low)} is at the smallest allowed: zero-lag mixing such as "
            "volume conduction looks so"
        )
    if high.any():
        lines.append(f"the lag of {_pairs(model, names, high)} is at tau_max: try a larger one")
    undecided_lags: list[str] = []
    doubtful_lags: list[str] = []
    for rival in rivals:
        name = _pairs(model, names, np.arange(model.n_edges) == rival.edge)
        own_ms, other_ms = 1e3 * model.lag[rival.edge] / sample_rate, 1e3 * rival.lag / sample_rate
        found = undecided_lags if rival.loss < undecided else doubtful_lags
        found.append(f"{name} ({own_ms:.1f} or {other_ms:.1f} ms)")
    if undecided_lags:
        lines.append(
            f"significant, but with two lags equally likely, and so left out of the support: "
            f"{_listed(undecided_lags)}"
        )
    if doubtful_lags:
        lines.append(
            f"another lag is at most {np.exp(max(r.loss for r in rivals)):.0f} times less likely, outside "
            f"the interval: {_listed(doubtful_lags)}"
        )
    per_row = 2 * np.bincount(model.target, minlength=model.n_channels) + model.order + 1
    if n_samples < 50 * per_row.max(initial=1):
        lines.append(
            f"{n_samples} scored samples for up to {per_row.max()} parameters a channel: too little data for "
            "the standard errors to be trusted"
        )
    return lines


def _pairs(model: Parameters, names: np.ndarray, mask: np.ndarray) -> str:
    """Edges in `mask` as source→target."""
    chosen = zip(model.target[mask], model.source[mask], strict=True)
    return _listed([f"{names[j]}→{names[i]}" for i, j in chosen])


def _autocorrelation(residual: np.ndarray, runs: np.ndarray, lag: int) -> float:
    products = (residual[lag:] * residual[:-lag])[runs[lag:] == runs[:-lag]]
    # Windows may score fewer samples than the longest own past.
    return float(products.mean() / (residual**2).mean()) if products.size else 0.0


def _listed(items: object) -> str:
    names = [str(i) for i in items]  # type: ignore[attr-defined]
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + more
