"""The likelihood of the LD-SEM with its Jacobian, its gradient, and the innovation densities.

`-log L = sum_n { sum_i sum_t [rho(e_i(t) / s_i) + log s_i] - T mean_f log|det M(f)| }`, up to the densities'
constants: windows n, channels i, scored samples t, mean over the two-sided bins f. The last term is the
Jacobian of `e = M x`; without it lags near or below one sample are estimated wrongly (docs/ldsem.md).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import fft
from scipy.special import digamma, gammaln

from cldtrans.lag.fit.bins import Bins
from cldtrans.lag.fit.spectra import Spectra

Innovation = Literal["laplace", "student", "gaussian"]
KINK = 0.07
"""Half-width, in scales, over which the kink of |u| is rounded off (Huber); costs 1 % of a standard error."""


@dataclass(frozen=True)
class Parameters:
    """One LD-SEM in samples and standardised units; edges are sorted by target.

    Attributes
    ----------
    target, source : array [E] of int
        Channels of the edges.
    lag : array [E]
        Samples.
    weight : array [E]
        In standardised units.
    own : array [C, P]
        Coefficients of the channel's own past; those beyond `order` are 0.
    order : array [C] of int
        Longest own past, samples.
    log_scale : array [C]
        Of the density: b (Laplace), s (Student), the standard deviation (Gaussian).
    dof : array [C]
        Degrees of freedom (Student only).
    """

    target: np.ndarray
    source: np.ndarray
    lag: np.ndarray
    weight: np.ndarray
    own: np.ndarray
    order: np.ndarray
    log_scale: np.ndarray
    dof: np.ndarray

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.log_scale)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return len(self.lag)

    def keep(self, mask: np.ndarray) -> "Parameters":
        """Return the same model with only the edges in `mask`."""
        edges = {name: getattr(self, name)[mask] for name in ("target", "source", "lag", "weight")}
        return replace(self, **edges)

    def add(
        self, target: np.ndarray, source: np.ndarray, lag: np.ndarray, weight: np.ndarray
    ) -> "Parameters":
        """Return the same model with more edges."""
        target = np.concatenate([self.target, target])
        sort = np.lexsort((np.concatenate([self.source, source]), target))
        return replace(
            self,
            target=target[sort],
            source=np.concatenate([self.source, source])[sort],
            lag=np.concatenate([self.lag, lag])[sort],
            weight=np.concatenate([self.weight, weight])[sort],
        )


# ---------------------------------------------------------------------------------------------- densities
def density_loss(innovation: Innovation, u: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Return `rho(u)`, minus the log density without its constant; u [C, ...], dof [C]."""
    if innovation == "laplace":
        size = np.abs(u)
        return np.where(size < KINK, u**2 / (2 * KINK) + KINK / 2, size)
    if innovation == "student":
        nu = dof.reshape(-1, *(1,) * (u.ndim - 1))
        return 0.5 * (nu + 1) * np.log1p(u**2 / nu)
    return 0.5 * u**2


def score_function(innovation: Innovation, u: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Return `phi(u) = rho'(u)`; u [C, ...], dof [C]."""
    if innovation == "laplace":
        return np.clip(u / KINK, -1.0, 1.0)
    if innovation == "student":
        nu = dof.reshape(-1, *(1,) * (u.ndim - 1))
        return (nu + 1) * u / (nu + u**2)
    return u


def density_curvature(innovation: Innovation, u: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Return `phi'(u)`; u [C, ...], dof [C]."""
    if innovation == "laplace":
        return (np.abs(u) < KINK) / KINK
    if innovation == "student":
        nu = dof.reshape(-1, *(1,) * (u.ndim - 1))
        return (nu + 1) * (nu - u**2) / (nu + u**2) ** 2
    return np.ones_like(u)


def log_constant(innovation: Innovation, dof: np.ndarray) -> np.ndarray:
    """Return the log of the density's normalising constant at scale 1, [C]."""
    if innovation == "laplace":
        return np.full(len(dof), -np.log(2.0))
    if innovation == "student":
        return gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * np.log(np.pi * dof)
    return np.full(len(dof), -0.5 * np.log(2 * np.pi))


def deviation(innovation: Innovation, log_scale: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the innovations, [C]."""
    if innovation == "laplace":
        return np.sqrt(2.0) * np.exp(log_scale)
    if innovation == "student":
        return np.exp(log_scale) * np.sqrt(dof / (dof - 2.0))
    return np.exp(log_scale)


def fit_density(
    innovation: Innovation, residual: np.ndarray, dof: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the density to residuals with location 0, by maximum likelihood.

    Parameters
    ----------
    innovation : one of "laplace", "student", "gaussian"
        Density of the innovations.
    residual : array [C, n]
        Residuals.
    dof : array [C]
        Degrees of freedom, which only "student" changes.

    Returns
    -------
    log_scale, dof : array [C]
        Log scale and degrees of freedom.
    """
    if innovation == "laplace":
        return np.log(np.abs(residual).mean(1)), dof
    if innovation == "gaussian":
        return 0.5 * np.log((residual**2).mean(1)), dof
    return _fit_student(residual)


def _fit_student(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Alternate the scale's fixed point with a bisection in log(dof - 2) of its score, channels at once."""
    square = residual**2
    dof = np.full(len(residual), 6.0)
    scale2 = square.mean(1) * 0.6
    for _ in range(12):
        for _ in range(3):
            scale2 = ((dof[:, None] + 1) * square / (dof[:, None] + square / scale2[:, None])).mean(1)
        low, high = np.full_like(dof, np.log(0.05)), np.full_like(dof, np.log(200.0))
        ratio = square / scale2[:, None]
        for _ in range(12):
            middle = 0.5 * (low + high)
            nu = np.exp(middle) + 2.0
            shrunk = (nu[:, None] + 1) / (nu[:, None] + ratio)
            score = digamma((nu + 1) / 2) - digamma(nu / 2) + (np.log(nu) + 1) - np.log(nu + 1)
            score += (np.log(shrunk) - shrunk).mean(1)
            low, high = np.where(score > 0, middle, low), np.where(score > 0, high, middle)
        previous, dof = dof, np.exp(0.5 * (low + high)) + 2.0
        if np.abs(np.log(dof / previous)).max() < 1e-2:
            break
    return 0.5 * np.log(scale2), dof


# ------------------------------------------------------------------------------------------- the LD-SEM
def residual_spectrum(data: Spectra, model: Parameters, delay: np.ndarray | None = None) -> np.ndarray:
    """Return `E(f) = M(f) X(f)`, complex [C, N, B]; the dense tensor of all delayed pairs is never built.

    `delay` [E, B] are the delays of the model's edges, where they are known.
    """
    result = data.spectrum * data.bins.own_filter(model.own)[:, None, :]
    mixed = model.weight[:, None] * (data.delay(model.lag) if delay is None else delay)
    for edge in range(model.n_edges):
        result[model.target[edge]] -= mixed[edge] * data.source[model.source[edge]]
    return result


def residuals(data: Spectra, model: Parameters, delay: np.ndarray | None = None) -> np.ndarray:
    """Return `e_i(t)`, [C, N, n_fft]; only scored samples are valid. `delay` as in `residual_spectrum`."""
    return data.samples(residual_spectrum(data, model, delay))


def system_spectrum(bins: Bins, model: Parameters) -> np.ndarray:
    """Return `M(f)`, complex [B, C, C]."""
    n_channels = model.n_channels
    matrix = np.zeros((len(bins.omega), n_channels, n_channels), complex)
    matrix[:, model.target, model.source] = -(model.weight[:, None] * bins.delay(model.lag)).T
    diagonal = np.arange(n_channels)
    matrix[:, diagonal, diagonal] = bins.own_filter(model.own).T
    return matrix


@dataclass(frozen=True)
class Evaluation:
    """Minus log likelihood (smoothed, without constants) and what its derivatives need.

    Attributes
    ----------
    loss : float
        The value.
    u : array [C, N, n_fft]
        Residuals over their scales, 0 where not scored.
    data : Spectra
        The windows.
    model : Parameters
        Where the loss was computed.
    innovation : one of "laplace", "student", "gaussian"
        Density of the innovations.
    delay : array [E, B] of complex
        Delays of the model's edges.
    system : array [coarse B, C, C] of complex or None
        `M(f)` on the bins of the Jacobian; None where that is not part of the likelihood, or not finite.
    """

    loss: float
    u: np.ndarray
    data: Spectra
    model: Parameters
    innovation: Innovation
    delay: np.ndarray
    system: np.ndarray | None

    @cached_property
    def score(self) -> np.ndarray:
        """Spectra of phi(u), unscored samples 0, complex [C, N, B]; computed when asked for."""
        if self.data.in_band is None:
            phi = score_function(self.innovation, self.u, self.model.dof)
        else:
            phi = self.data.samples(fft.rfft(self.u) * self.data.in_band)
        return fft.rfft(phi * self.data.scored)

    @cached_property
    def inverse(self) -> np.ndarray | None:
        """`M(f)^-1`, complex [coarse B, C, C], or None; computed when asked for, which few trials do."""
        return None if self.system is None else np.linalg.inv(self.system)


def evaluate(data: Spectra, model: Parameters, innovation: Innovation, jacobian: bool = True) -> Evaluation:
    """Compute the loss at `model`.

    Parameters
    ----------
    data : Spectra
        The windows.
    model : Parameters
        Where the loss is computed.
    innovation : one of "laplace", "student", "gaussian"
        Density of the innovations.
    jacobian : bool
        False drops `log|det M|` (nonlinear coupling, and for comparison).
    """
    delay = data.delay(model.lag)
    u = residuals(data, model, delay) * data.scored
    u *= np.exp(-model.log_scale)[:, None, None]
    n_samples = data.effective_samples
    if data.in_band is None:
        # Unscored samples have u = 0: what they would add is subtracted as a constant.
        blank = density_loss(innovation, np.zeros((len(u), 1)), model.dof).sum()
        loss = density_loss(innovation, u, model.dof).sum() - blank * (u[0].size - data.n_scored)
    else:
        filtered = data.samples(fft.rfft(u) * data.in_band)
        loss = 0.5 * (filtered**2).sum()
    loss += n_samples * model.log_scale.sum()
    system = None
    if jacobian:
        system = system_spectrum(data.coarse, model)
        _, log_det = np.linalg.slogdet(system)
        loss -= n_samples * float(data.coarse.mean(log_det))
        system = system if np.isfinite(log_det).all() else None
    value = float(loss) if np.isfinite(loss) else np.inf
    return Evaluation(value, u, data, model, innovation, delay, system)


def gradient(data: Spectra, model: Parameters, at: Evaluation) -> tuple[np.ndarray, ...]:
    """Return derivatives of the loss by weight [E], lag [E], own [C, P] and log_scale [C]."""
    delay, slope = at.delay, data.bins.slope(model.lag, at.delay)
    score = at.score.conj()
    cross = np.empty((model.n_edges, len(data.bins.omega)), complex)
    for edge, (i, j) in enumerate(zip(model.target, model.source, strict=True)):
        cross[edge] = np.einsum("nb,nb->b", score[i], data.source[j])
    scale = np.exp(-model.log_scale)
    n_own, n_samples = model.own.shape[1], data.effective_samples

    def summed(spectrum: np.ndarray) -> np.ndarray:
        return (spectrum.real @ data.bins.counts) / data.n_fft

    by_weight = -scale[model.target] * summed(cross * delay)
    by_lag = -scale[model.target] * model.weight * summed(cross * slope)
    own_cross = np.einsum("cnb,cnb->cb", at.score, data.spectrum.conj())
    by_own = -scale[:, None] * data.samples(own_cross)[:, 1 : n_own + 1]
    by_scale = n_samples - summed(np.einsum("cnb,cnb->cb", score, fft.rfft(at.u)))
    if at.inverse is not None:
        bins = data.coarse
        back = at.inverse[:, model.source, model.target].T
        by_weight = by_weight + n_samples * bins.mean(back * bins.delay(model.lag))
        by_lag = by_lag + n_samples * model.weight * bins.mean(back * bins.delay(model.lag, 1))
        own_back = np.einsum("bcc->cb", at.inverse)
        by_own = by_own + n_samples * bins.mean_delayed(own_back, n_own)
    return by_weight, by_lag, by_own * (np.arange(n_own) < model.order[:, None]), by_scale


def log_likelihood(data: Spectra, model: Parameters, innovation: Innovation, jacobian: bool = True) -> float:
    """Return the log likelihood with the density's constant and, for Laplace, without the rounded kink."""
    at = evaluate(data, model, innovation, jacobian)
    value = -at.loss + data.effective_samples * log_constant(innovation, model.dof).sum()
    if innovation == "laplace":
        value += (density_loss(innovation, at.u, model.dof) - np.abs(at.u))[:, data.scored > 0].sum()
    return float(value)
