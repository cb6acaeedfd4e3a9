"""Joint maximum likelihood for a given support: Fisher scoring on weights, lags, self-dynamics and scales."""

from dataclasses import replace

import numpy as np

from cldtrans.lag.fit.fisher import Layout, damped_inverse, information
from cldtrans.lag.fit.likelihood import (
    Evaluation,
    Innovation,
    Parameters,
    evaluate,
    fit_density,
    gradient,
    residuals,
)
from cldtrans.lag.fit.spectra import Spectra

LARGEST_STEP = 0.4
"""Samples that a lag may move in one step: the likelihood's lobes in tau are about two samples wide."""


def refine(
    data: Spectra,
    model: Parameters,
    innovation: Innovation,
    lags: tuple[float, float],
    *,
    jacobian: bool = True,
    tolerance: float = 1e-2,
    max_steps: int = 60,
) -> tuple[Parameters, Evaluation]:
    """Climb to the nearest maximum of the likelihood.

    Parameters
    ----------
    data : Spectra
        The windows.
    model : Parameters
        Where the climb starts.
    innovation : one of "laplace", "student", "gaussian"
        Density of the innovations.
    lags : (float, float)
        Lags are held between these, samples.
    jacobian : bool
        Whether `log|det M|` is part of the likelihood.
    tolerance : float
        Stop where a step gains less than this in log likelihood.
    max_steps : int
        Stop after so many steps.
    """
    model = rescale(data, model, innovation)
    at = evaluate(data, model, innovation, jacobian)
    layout = Layout.of(model)
    inverse: np.ndarray | None = None
    fresh, moved = False, 0.0
    for step in range(max_steps):
        if inverse is None:
            layout, hessian, _ = information(data, model, innovation, at)
            inverse, fresh, moved = damped_inverse(hessian), True, 0.0
        slope = layout.pack(*gradient(data, model, at))
        change = -inverse @ slope
        expected = -0.5 * float(slope @ change)
        length = 1.0
        for _ in range(8):
            trial = _moved(model, layout, length * change, lags)
            tried = evaluate(data, trial, innovation, jacobian)
            if tried.loss <= at.loss:
                break
            length *= 0.4
        else:
            if fresh:
                break
            inverse = None
            continue
        gained = at.loss - tried.loss
        moved += float(np.abs(trial.lag - model.lag).max(initial=0.0))
        model, at = trial, tried
        if expected < tolerance and gained < tolerance:
            break
        # The matrix is used again as long as it foretells what a step gains.
        fresh = False
        if moved > 0.25 or gained < 0.3 * expected or gained > 3.0 * expected:
            inverse = None
        if innovation == "student" and step % 5 == 4:
            model = rescale(data, model, innovation, at)
            at = evaluate(data, model, innovation, jacobian)
    return model, at


def rescale(
    data: Spectra, model: Parameters, innovation: Innovation, at: Evaluation | None = None
) -> Parameters:
    """Refit scale and degrees of freedom to the model's residuals, channel by channel."""
    residual = residuals(data, model) if at is None else at.u * np.exp(model.log_scale)[:, None, None]
    log_scale, dof = fit_density(innovation, residual[:, data.scored > 0], model.dof)
    return replace(model, log_scale=np.maximum(log_scale, FLOOR), dof=dof)


FLOOR = np.log(1e-6)
"""Smallest log scale, channels being standardised: keeps the likelihood bounded."""


LARGEST_WEIGHT = 5.0
"""Of channels of unit variance; beyond lie models whose rows describe each other's channels."""


def _moved(model: Parameters, layout: Layout, change: np.ndarray, lags: tuple[float, float]) -> Parameters:
    own = np.where(layout.own >= 0, change[np.maximum(layout.own, 0)], 0.0)
    lag = model.lag + np.clip(change[layout.lag], -LARGEST_STEP, LARGEST_STEP)
    return replace(
        model,
        weight=np.clip(model.weight + change[layout.weight], -LARGEST_WEIGHT, LARGEST_WEIGHT),
        lag=np.clip(lag, *lags),
        own=model.own + own,
        log_scale=np.maximum(model.log_scale + np.clip(change[layout.log_scale], -1.0, 1.0), FLOOR),
    )
