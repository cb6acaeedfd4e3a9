"""One waveform in all channels, each with a gain and a delay of its own, found by variational inference.

    X_c(f) = g_c exp(-2 pi i f d_c) s(f) + N_c(f),   s(f) ~ CN(0, P(f)),   N(f) ~ CN(0, S(f)),   g_c ~ N(0, 1)

with d_c anywhere on a grid. Waveform, gains and delays are factors of their own in the approximation of the
posterior; each is updated from what the others say. Whatever channel asks, it is left out of the estimate of
the waveform that it is compared with: otherwise it would find itself. Several windows of one discharge share
gains and delays, and each has a waveform of its own. So have the parts of one window in which delays drift.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from cldtrans.lag.single_source.grids import Grids, Paths, beside, energy, smooth

LOUDEST = 50.0  # bins of a channel count at most so much in the choice of starts
SMOOTH_HZ = 0.5  # of the power P
LEAST = 1e-12  # of P, where that of the background is one


@dataclass
class State:
    """What is thought of R discharges of each window; V: windows in which v differs, or 1."""

    mean: Float[Tensor, "B R V S 2 m C"]  # v, the mean of g exp(-2 pi i f d)
    square: Float[Tensor, "B R C"]  # of |g|^2
    power: Float[Tensor, "B R N S m"] | None  # P

    def take(self, index: Tensor) -> State:
        """Choose among the R of each window: index [B, k]."""

        def of(values: Tensor) -> Tensor:
            wide = index.reshape(*index.shape, *[1] * (values.dim() - 2))
            return values.gather(1, wide.expand(*index.shape, *values.shape[2:]))

        return State(of(self.mean), of(self.square), None if self.power is None else of(self.power))

    def repeated(self, times: int) -> State:
        """Repeat every window: [B, ...] -> [B * times, ...]."""
        parts = (self.mean, self.square, self.power)
        return State(*(p if p is None else p.repeat_interleave(times, 0) for p in parts))  # type: ignore[arg-type]

    def split(self, times: int) -> list[State]:
        """Undo `repeated`: one for each of the `times`."""
        assert self.power is not None
        parts = [p.unflatten(0, (-1, times)).unbind(1) for p in (self.mean, self.square, self.power)]
        return [State(*one) for one in zip(*parts, strict=True)]


@dataclass
class Found:
    """Posteriors of gains and delays."""

    log_bayes: Float[Tensor, "B R D C"]  # for "the discharge is here with this delay" against "not here"
    weight: Float[Tensor, "B R D C"]  # of a delay: its probability times the mean gain there
    square: Float[Tensor, "B R C"]  # mean of |g|^2
    divergence: Float[Tensor, "B R C"]  # of gain and delay from their prior

    def split(self, times: int) -> list[Found]:
        """Return what was found for each window's `times` repetitions."""
        parts = (self.log_bayes, self.weight, self.square, self.divergence)
        each = (part.unflatten(0, (-1, times)).unbind(1) for part in parts)
        return [Found(*one) for one in zip(*each, strict=True)]


@dataclass
class Comparison:
    """Channels beside the waveform that the others tell of."""

    power: Float[Tensor, "B R N S m"]  # P
    match: Float[Tensor, "B R N S 2 m C"]  # of what a channel shows with the waveform, weighted
    weight: Float[Tensor, "B R N S m C"]  # of the waveform's power: so the gain's precision is their sum

    def repeated(self, times: int) -> Comparison:
        """Repeat every window: [B, ...] -> [B * times, ...]."""
        if times == 1:
            return self
        parts = (self.power, self.match, self.weight)
        return Comparison(*(part.repeat_interleave(times, 0) for part in parts))


class Inference:
    """The updates of windows [B] under a noise each, for R discharges of each side by side."""

    def __init__(
        self,
        spectrum: Complex[Tensor, "B N C F"],
        precision: Float[Tensor, "B N S C C"],
        valid: Bool[Tensor, "B C"],
        grids: Grids,
        paths: Paths,
    ) -> None:
        self.precision, self.valid, self.grids, self.paths = precision, valid, grids, paths
        self.x = grids.sides(spectrum)[:, None]  # [B, 1, N, S, 2, m, C]
        self.own = precision.diagonal(dim1=-2, dim2=-1)[:, None, ..., None, :]  # [B, 1, N, S, 1, C]
        self.per_own = torch.where(self.own > 0, 1 / self.own.clamp_min(1e-12), 0.0)
        self.y = self._press(self.x)
        self.y_own = self.y * self.per_own[..., None, :]

    def begin(self, starts: int, rounds: int) -> State:
        """Try the loudest channels as the whole discharge, and return what is the best after some rounds.

        Where there are several assumptions of paths, their windows are the same: so is the first waveform.
        """
        alike = self._every(self.paths.several)
        n_channels = self.x.shape[-1]
        loud = (energy(alike.x) * alike.own).clamp_max(LOUDEST).sum((1, 2, 3, 4))
        loud = torch.where(alike.valid, loud, -1.0)
        start = F.one_hot(loud.topk(min(starts, n_channels), -1).indices, n_channels).to(loud)  # [B, R, C]
        mean = start.new_tensor([1.0, 0.0])[:, None, None] * start[:, :, None, None, None, None]
        mean = mean.expand(-1, -1, -1, self.grids.stripes, -1, self.grids.per_stripe, -1)
        compared = alike.compare(State(mean, start, None))
        state, found = self.update(compared.repeated(self.paths.several))
        if rounds > 1:
            state, found = self.refine(state, rounds - 1)
        evidence = self.evidence(state, found)
        there = (start * alike.valid[:, None]).any(-1).repeat_interleave(self.paths.several, 0)
        return state.take(evidence.masked_fill(~there, -torch.inf).argmax(-1, keepdim=True))

    def refine(self, state: State, rounds: int) -> tuple[State, Found]:
        """Update waveform, gains and delays in turns."""
        for _ in range(rounds):
            state, found = self.update(self.compare(state))
        return state, found

    def update(self, compared: Comparison) -> tuple[State, Found]:
        """Update gains and delays."""
        a, b = self.projections(compared)
        found = judged(b, a[..., None, :])
        return self.state_of(found, compared.power), found

    def compare(self, state: State) -> Comparison:
        """Update the waveform, and set each channel beside what all the others say of it."""
        pressed, spread, known, heard = self._moments(state)
        loudness = energy(heard[..., None])[..., 0]
        if state.power is None:
            p = self._smooth(loudness / known.clamp_min(1e-12).square()).clamp_min(LEAST)
        else:
            p = state.power
        inverse = 1 / p + known
        p = self._smooth(loudness / inverse.square() + 1 / inverse).clamp_min(LEAST)
        inverse = 1 / p + known

        # What all the others say of the waveform: its inverse variance, and that times its mean.
        mine = torch.addcmul(spread, energy(pressed), self.per_own)
        without = torch.maximum(inverse[..., None] - mine, (1 / p)[..., None])
        said = heard[..., None] - beside(pressed, self.y_own)
        # And what the channel shows of it: signal, and the inverse variance of the error of both.
        sure = self.own / (without + mine)
        weight = energy(said) * (sure / without)
        apart = pressed * self.per_own[..., None, :] - state.mean
        match = beside(said, self.y_own) * sure[..., None, :, :] - apart * weight[..., None, :, :]
        return Comparison(p, match, weight)

    def projections(self, compared: Comparison) -> tuple[Float[Tensor, "B R C"], Float[Tensor, "B R D C"]]:
        """Return the precision that the waveform gives to a gain, and what it shows of it at each delay."""
        a = 2 * self.grids.kappa * compared.weight.sum((2, 3, 4))
        return a, 2 * self.grids.kappa * self.paths.at_delays(compared.match)

    def state_of(self, found: Found, p: Tensor) -> State:
        """Return the state in which gains and delays are as they were found."""
        mean = self.paths.of_delays(found.weight)  # [B, R, V, S, 2, m, C]
        if 1 < mean.shape[2] < self.x.shape[2]:
            mean = mean.repeat(1, 1, self.x.shape[2] // mean.shape[2], 1, 1, 1, 1)
        return State(mean, found.square, p)

    def evidence(self, state: State, found: Found) -> Float[Tensor, "B R"]:
        """Bound the log likelihood from below, relative to that of noise alone."""
        assert state.power is not None
        _, _, known, heard = self._moments(state)
        inverse = 1 / state.power + known
        loudness = energy(heard[..., None])[..., 0]
        gained = (loudness / inverse - torch.log(state.power * inverse)).sum((2, 3, 4))
        return self.grids.kappa * gained - (found.divergence * self.valid[:, None]).sum(-1)

    def log_noise(self) -> Float[Tensor, " B"]:
        """Return the log likelihood of noise alone, but for its determinant."""
        return -self.grids.kappa * (self.x * self.y).flatten(1).sum(1)

    def _every(self, step: int) -> Inference:
        """Return the same for every so many-th of the windows, R = 1."""
        some = copy(self)
        for name in ("precision", "valid", "x", "own", "per_own", "y", "y_own"):
            setattr(some, name, getattr(self, name)[::step])
        return some

    def _moments(self, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return K v, the spread of v in each channel, what v tells of the waveform, and what is heard."""
        mean = state.mean
        pressed = self._press(mean.expand(-1, -1, self.x.shape[2], -1, -1, -1, -1))
        spread = self.own * (state.square[:, :, None, None, None] - energy(mean)).clamp_min(0)
        known = (mean * pressed).sum(-1).sum(-2) + spread.sum(-1)
        return pressed, spread, known, beside(mean, self.y).sum(-1)

    def _press(self, z: Float[Tensor, "B R N S 2 m C"]) -> Float[Tensor, "B R N S 2 m C"]:
        """Multiply by the precision."""
        columns = z.movedim(1, 3)
        return (columns.flatten(3, 5) @ self.precision).view(columns.shape).movedim(3, 1)

    def _smooth(self, values: Tensor) -> Tensor:
        width = self.grids.bins_in(SMOOTH_HZ)
        return smooth(values.flatten(-2), width).unflatten(-1, values.shape[-2:])


def judged(b: Float[Tensor, "B R D C"], a: Float[Tensor, "B R #D C"]) -> Found:
    """Judge delays with the gain integrated out, under a standard normal prior of it."""
    variance = 1 / (a + 1)
    log_bayes = variance * b.square() / 2 + 0.5 * torch.log(variance)
    log_share = torch.log_softmax(log_bayes, -2)
    share, gain = log_share.exp(), b * variance
    divergence = (share * (log_share + math.log(share.shape[-2]) + gain.square() / 2)).sum(-2)
    divergence = divergence + (share * (variance - 1 - variance.log())).sum(-2) / 2
    square = (share * (gain.square() + variance)).sum(-2)
    return Found(log_bayes, share * gain, square, divergence)
