"""Lags of known edges in window after window: the model of a whole stretch, climbed again in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cldtrans.lag.fit.fisher import covariance, information
from cldtrans.lag.fit.likelihood import Parameters
from cldtrans.lag.fit.prepare import prepare
from cldtrans.lag.fit.refine import refine
from cldtrans.lag.fit.result import LagFit
from cldtrans.lag.fit.spectra import to_spectra

LEAST_A_PARAMETER = 10
"""Scored samples of a window for each parameter of a row."""


@dataclass(frozen=True)
class Followed:
    """Estimates of E edges in W windows, NaN where a window does not determine them.

    Attributes
    ----------
    tau, tau_stderr : array [W, E]
        Seconds.
    weight, weight_stderr : array [W, E]
        In the input's units.
    """

    tau: np.ndarray
    tau_stderr: np.ndarray
    weight: np.ndarray
    weight_stderr: np.ndarray


def follow(fit: LagFit, windows: np.ndarray, band_hz: tuple[float, float] | None = None) -> Followed:
    """Estimate lags and weights of a fit's edges in each window, with own past and scales of the window.

    No edge is searched: one climb a window, from where the whole stretch ended.

    Parameters
    ----------
    fit : LagFit
        Of the stretch that holds the windows.
    windows : array [W, C, T]
        In the same units, cut from a record.
    band_hz : (float, float), optional
        As it was given to the fit.

    Returns
    -------
    Followed
        Edges in the order of `np.nonzero(fit.support)`.
    """
    model, kept = _model(fit)
    edge = np.nonzero(fit.support)
    empty = np.full((len(windows), model.n_edges), np.nan)
    found = Followed(empty, empty.copy(), empty.copy(), empty.copy())
    if not model.n_edges:
        return found
    max_lag = fit.tau_max * fit.sample_rate
    in_band = None if band_hz is None else (band_hz[0] / fit.sample_rate, band_hz[1] / fit.sample_rate)
    for place, window in enumerate(windows):
        prepared = prepare(window[None, kept], periodic=False)
        if len(prepared.kept) < len(kept):
            continue
        reach = max(max_lag, float(model.order.max(initial=0)))
        data = to_spectra(prepared.x, None, reach, periodic=False, in_band=in_band)
        unit = prepared.scale[model.target] / prepared.scale[model.source]
        start = Parameters(**{**vars(model), "weight": model.weight / unit})
        climbed, at = refine(data, start, fit.innovation, (0.0, max_lag))  # type: ignore[arg-type]
        layout, hessian, score = information(data, climbed, fit.innovation, at)  # type: ignore[arg-type]
        variance = np.diag(covariance(hessian, score))
        stderr = np.sqrt(np.where(variance > 0, variance, np.nan))
        found.tau[place] = climbed.lag / fit.sample_rate
        found.tau_stderr[place] = stderr[layout.lag] / fit.sample_rate
        found.weight[place] = climbed.weight * unit
        found.weight_stderr[place] = stderr[layout.weight] * unit
    assert len(edge[0]) == model.n_edges
    return found


def least_samples(fit: LagFit) -> int:
    """Return the fewest scored samples of a window from which a fit's edges can be followed."""
    model, _ = _model(fit)
    per_row = 2 * np.bincount(model.target, minlength=model.n_channels) + model.order + 1
    return LEAST_A_PARAMETER * int(per_row.max(initial=1))


def _model(fit: LagFit) -> tuple[Parameters, np.ndarray]:
    """Return a fit's model, weights in the input's units, and the channels [K] that it has."""
    kept = np.setdiff1d(np.arange(len(fit.sigma)), fit.left_out)
    place = np.full(len(fit.sigma), -1)
    place[kept] = np.arange(len(kept))
    target, source = np.nonzero(fit.support)
    own = np.nan_to_num(fit.self_dynamics[kept])
    used = own != 0
    order = np.where(used.any(1), own.shape[1] - used[:, ::-1].argmax(1), 0) if own.shape[1] else np.zeros(0)
    model = Parameters(
        target=place[target],
        source=place[source],
        lag=fit.tau[target, source] * fit.sample_rate,
        weight=fit.weight[target, source],
        own=own,
        order=order.astype(int) if own.shape[1] else np.zeros(len(kept), int),
        log_scale=np.zeros(len(kept)),
        dof=np.full(len(kept), 6.0),
    )
    return model, kept
