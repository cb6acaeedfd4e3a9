"""Joint maximum likelihood for a given support: Fisher scoring on weights, lags, self-dynamics and scales.

A step is damped (Levenberg and Marquardt) where the undamped one does not gain. Of real recordings the
information is close to singular, and an undamped step goes far along what the data do not determine: most
climbs ended where they began. Lags at a bound are held there, so that the others move as they should.

The information matrix costs as much as ten steps. What the slopes of the steps since say of how the surface
curves is added to it (limited-memory BFGS, Nocedal 1980, with the matrix where that has a multiple of unity),
and it is made again only where that foretells badly.
"""

from dataclasses import replace

import numpy as np

from cldtrans.lag.fit.fisher import Damped, Layout, expected_hessian
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

MOST_TRIALS = 8
"""Steps tried from one point, each more damped than the one before."""

PATIENCE = 2
"""Steps after which a climb that will not reach its bar is given up."""

MOST_PAIRS = 8
"""Steps that are remembered beside one information matrix; then it is made again."""

FARTHEST = 0.5
"""Samples, all steps together, that a lag may go from where the matrix was made."""

FIRST_DAMPING, LEAST_DAMPING = 1e-3, 1e-7
"""Added to the unit diagonal of the information where a step without fails, and where it may be left out."""


def refine(
    data: Spectra,
    model: Parameters,
    innovation: Innovation,
    lags: tuple[float, float],
    *,
    jacobian: bool = True,
    tolerance: float = 1e-2,
    max_steps: int = 60,
    bar: float = np.inf,
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
    bar : float
        The loss that the model must reach to be of use: stop where twice what a step foretells is not enough.
    """
    model = rescale(data, replace(model, lag=np.clip(model.lag, *lags)), innovation)
    at = evaluate(data, model, innovation, jacobian)
    layout, surface, damping, moved = Layout.of(model), None, 0.0, 0.0
    slope = layout.pack(*gradient(data, model, at))
    for step in range(max_steps):
        fresh = surface is None
        if surface is None:
            layout, hessian = expected_hessian(data, model, innovation, at)
            surface, moved = _Remembered(Damped(hessian)), 0.0
        held = _held(model, layout, slope, lags)
        tried: Evaluation | None = None
        for _ in range(MOST_TRIALS):
            change, damping = surface.step(slope, held, damping)
            expected = -0.5 * float(slope @ change)
            trial, change = _moved(model, layout, change, lags)
            tried = evaluate(data, trial, innovation, jacobian)
            if tried.loss <= at.loss or expected < 0.1 * tolerance:
                break
            damping = max(10.0 * damping, FIRST_DAMPING)
            if not fresh:
                break
        if tried is None or tried.loss > at.loss:
            if fresh:
                break
            surface = None
            continue
        gained = at.loss - tried.loss
        moved += float(np.abs(trial.lag - model.lag).max(initial=0.0))
        model, at = trial, tried
        if expected < tolerance and gained < tolerance:
            if innovation != "student":
                break
            # Degrees of freedom are no parameter of the steps: refitted here, and now and then below.
            refitted = rescale(data, model, innovation, at)
            again = evaluate(data, refitted, innovation, jacobian)
            if at.loss - again.loss < tolerance:
                break
            model, at = refitted, again
        if step >= PATIENCE and at.loss - 2.0 * max(expected, gained) > bar:
            break
        if gained > 0.75 * expected:
            damping = max(0.1 * damping, 1e-6)
        before, slope = slope, layout.pack(*gradient(data, model, at))
        surface.remember(change, slope - before)
        # Far from a maximum what is remembered can lead into the basin of a far worse one.
        misled = moved > FARTHEST or not 0.3 * expected <= gained <= 3.0 * expected
        if misled or len(surface.steps) >= MOST_PAIRS:
            surface = None
        if innovation == "student" and step % 5 == 4:
            model = rescale(data, model, innovation, at)
            at = evaluate(data, model, innovation, jacobian)
            slope = layout.pack(*gradient(data, model, at))
    return model, at


class _Remembered:
    """An information matrix, and how the slope changed along the steps taken since.

    Parameters
    ----------
    matrix : Damped
        Where the steps begin.
    """

    def __init__(self, matrix: Damped):
        self._matrix = matrix
        self.steps: list[np.ndarray] = []
        self._changes: list[np.ndarray] = []

    def remember(self, step: np.ndarray, change: np.ndarray) -> None:
        """Keep a step [n] and the change [n] of the slope along it, where the surface is convex there."""
        if step @ change > 1e-6 * np.linalg.norm(step) * np.linalg.norm(change):
            self.steps.append(step)
            self._changes.append(change)

    def step(self, slope: np.ndarray, held: np.ndarray, damping: float) -> tuple[np.ndarray, float]:
        """Return the step against `slope`, as `Damped.step`; Nocedal's two loops."""
        free = ~held
        kept = [(s * free, y * free) for s, y in zip(self.steps, self._changes, strict=True)]
        pairs = [(s, y, 1.0 / float(s @ y)) for s, y in kept if s @ y > 0]
        left, pulls = slope * free, list[float]()
        for s, y, scale in reversed(pairs):
            pulls.append(scale * float(s @ left))
            left = left - pulls[-1] * y
        change, damping = self._matrix.step(left, held, damping)
        for (s, y, scale), pull in zip(pairs, reversed(pulls), strict=True):
            change = change - (pull + scale * (y @ change)) * s
        return change, damping


def _held(model: Parameters, layout: Layout, slope: np.ndarray, lags: tuple[float, float]) -> np.ndarray:
    """Tell which parameters [n] stay where they are: lags at a bound that the slope would take beyond it."""
    held = np.zeros(len(slope), bool)
    by_lag = slope[layout.lag]
    held[layout.lag] = ((model.lag <= lags[0]) & (by_lag > 0)) | ((model.lag >= lags[1]) & (by_lag < 0))
    return held


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


def _moved(
    model: Parameters, layout: Layout, change: np.ndarray, lags: tuple[float, float]
) -> tuple[Parameters, np.ndarray]:
    """Return the model after a step, bounded, and the step [n] that this was."""
    own = np.where(layout.own >= 0, change[np.maximum(layout.own, 0)], 0.0)
    lag = model.lag + np.clip(change[layout.lag], -LARGEST_STEP, LARGEST_STEP)
    moved = replace(
        model,
        weight=np.clip(model.weight + change[layout.weight], -LARGEST_WEIGHT, LARGEST_WEIGHT),
        lag=np.clip(lag, *lags),
        own=model.own + own,
        log_scale=np.maximum(model.log_scale + np.clip(change[layout.log_scale], -1.0, 1.0), FLOOR),
    )
    taken = layout.pack(
        moved.weight - model.weight, moved.lag - model.lag, own, moved.log_scale - model.log_scale
    )
    return moved, taken
