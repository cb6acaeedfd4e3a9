"""Signs that a fit's assumptions fail, each as one line that says what it means and what to do."""

import numpy as np

from cldtrans.lag.likelihood import Innovation, Parameters
from cldtrans.lag.prepare import Prepared

MANY = 12
"""Channels named in a warning before the rest is counted."""


def excess_kurtosis(residual: np.ndarray) -> np.ndarray:
    """Fourth moment over squared variance, minus 3, of residuals [C, n]."""
    centred = residual - residual.mean(1, keepdims=True)
    variance = (centred**2).mean(1)
    return (centred**4).mean(1) / np.maximum(variance**2, 1e-300) - 3.0


def left_out(prepared: Prepared) -> list[str]:
    """Channels that a likelihood cannot contain."""
    lines = []
    if prepared.constant:
        lines.append(f"channels {_listed(prepared.constant)} are constant and were left out")
    for channel, others in prepared.dependent:
        lines.append(
            f"channel {channel} is a linear combination of channels {_listed(others)} and was left out: "
            "the likelihood has no maximum with it"
        )
    return lines


def assumptions(
    model: Parameters,
    innovation: Innovation,
    residual: np.ndarray,
    runs: np.ndarray,
    kept: np.ndarray,
    *,
    min_lag: float,
    max_lag: float,
    max_order: int,
    stderr_lag: np.ndarray,
) -> list[str]:
    """Warnings on a fitted model.

    Parameters
    ----------
    residual
        [K, n] scored residuals, windows one after another.
    runs
        [n] number of the window that each belongs to.
    kept
        [K] the channels' positions in the input.
    stderr_lag
        [E] samples.
    """
    n_samples = residual.shape[1]
    lines = []
    kurtosis = excess_kurtosis(residual)
    noise = np.sqrt(24.0 / n_samples)
    gaussian = kept[kurtosis < max(0.25, 3 * noise)]
    if innovation != "gaussian" and len(gaussian):
        lines.append(
            f"innovations of channels {_listed(gaussian)} look Gaussian (excess kurtosis below "
            f"{max(0.25, 3 * noise):.2f}): a {innovation} likelihood is not justified there, and lags below one "
            "sample and their direction are not identified"
        )
    lag_one = np.array(
        [[_autocorrelation(r, runs, k) for k in range(1, max(2, max_order) + 1)] for r in residual]
    )
    worst = np.abs(lag_one).max(1)
    limit = max(0.05, 5.0 / np.sqrt(n_samples))
    if (worst > limit).any():
        lines.append(
            f"residuals of channels {_listed(kept[worst > limit])} are autocorrelated (up to {worst.max():.2f}): "
            f"own past of at most {max_order} samples does not describe them; standard errors and p-values are "
            "too small"
        )
    full = kept[(model.order == max_order) & (max_order > 0)]
    if len(full):
        lines.append(
            f"own past of channels {_listed(full)} reaches max_order = {max_order}; try a larger one"
        )
    low = model.lag <= min_lag
    high = model.lag >= max_lag - 1e-6
    for at_edge, name in ((low, "the smallest"), (high, "tau_max")):
        if at_edge.any():
            pairs = [
                f"{kept[j]}→{kept[i]}"
                for i, j in zip(model.target[at_edge], model.source[at_edge], strict=True)
            ]
            meaning = (
                "zero-lag mixing such as volume conduction looks so"
                if name != "tau_max"
                else "try a larger tau_max"
            )
            lines.append(f"the lag of {_listed(pairs)} is at the boundary ({name}): {meaning}")
    unsure = (stderr_lag > 0.5) & ~low & ~high
    if unsure.any():
        pairs = [
            f"{kept[j]}→{kept[i]}" for i, j in zip(model.target[unsure], model.source[unsure], strict=True)
        ]
        lines.append(
            f"the lag of {_listed(pairs)} is known to no better than half a sample: another peak of the "
            "likelihood may be the right one"
        )
    per_row = 2 * np.bincount(model.target, minlength=model.n_channels) + model.order + 1
    if n_samples < 50 * per_row.max(initial=1):
        lines.append(
            f"{n_samples} scored samples for up to {per_row.max()} parameters a channel: too little data for the "
            "standard errors to be trusted"
        )
    return lines


def _autocorrelation(residual: np.ndarray, runs: np.ndarray, lag: int) -> float:
    same = runs[lag:] == runs[:-lag]
    return float((residual[lag:] * residual[:-lag])[same].mean() / (residual**2).mean())


def _listed(items: object) -> str:
    names = [str(i) for i in items]  # type: ignore[attr-defined]
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + more
