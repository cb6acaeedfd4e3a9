"""One waveform in all channels, each with a gain and a delay of its own, found by variational inference.

    X_c(f) = g_c exp(-2 pi i f d_c) s(f) + N_c(f),   s(f) ~ CN(0, P(f)),   N(f) ~ CN(0, S(f)),   g_c ~ N(0, 1)

with d_c anywhere on a grid. Waveform, gains and delays are factors of their own in the approximation of the
posterior; each is updated from what the others say. Whatever channel asks, it is left out of the estimate of
the waveform that it is compared with: otherwise it would find itself. Several windows of one discharge share
gains and delays, and each has a waveform of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from cldtrans.lag.single_source.grids import Grids, power, smooth

STARTS, TRIED, REFINED = 5, 3, 4  # channels that may start it; rounds with each; rounds with the best
FIRST = 1  # of the misfits: the one that chooses the start
LOUDEST = 50.0  # bins of a channel count at most so much in the choice of starts
SMOOTH_HZ = 0.5  # of the power P
LEAST = 1e-12  # of P, where that of the background is one


@dataclass
class Discharge:
    """The posterior of the discharge of each window, under each noise."""

    log_bayes: Float[Tensor, "B M C D"]  # for "the discharge is here with this delay" against "not here"
    evidence: Float[Tensor, "B M"]  # nats, against noise alone


@dataclass
class _State:
    mean: Complex[Tensor, "B R 1 S C m"]  # of g exp(-2 pi i f d)
    square: Float[Tensor, "B R C"]  # of |g|^2
    power: Float[Tensor, "B R N S m"] | None  # P

    def take(self, index: Tensor) -> _State:
        """Choose among the R of each window: index [B, k]."""

        def of(values: Tensor) -> Tensor:
            wide = index.reshape(*index.shape, *[1] * (values.dim() - 2))
            return values.gather(1, wide.expand(*index.shape, *values.shape[2:]))

        return _State(of(self.mean), of(self.square), None if self.power is None else of(self.power))

    def repeated(self, times: int) -> _State:
        """Repeat every window: [B, ...] -> [B * times, ...]."""
        parts = (self.mean, self.square, self.power)
        return _State(*(p if p is None else p.repeat_interleave(times, 0) for p in parts))  # type: ignore[arg-type]


def find(
    spectrum: Complex[Tensor, "B N C F"],
    precision: Float[Tensor, "B M N S C C"],
    valid: Bool[Tensor, "B C"],
    grids: Grids,
) -> Discharge:
    """Find the discharge of each window under each of M noises, [B, M, ...].

    The start is chosen under one of them: the loudest channels are tried as the whole discharge.

    Parameters
    ----------
    spectrum : tensor [B, N, C, F]
        Scaled windows.
    precision : tensor [B, M, N, S, C, C]
        Inverse covariances of their noise.
    valid : tensor [B, C] of bool
        Channels.
    grids : Grids
        Of the windows.
    """
    n_noises, n_channels = precision.shape[1], spectrum.shape[2]
    under_one = _Inference(spectrum, precision[:, FIRST], valid, grids)
    loud = torch.where(valid, under_one.loudness(), -1.0)
    start = F.one_hot(loud.topk(min(STARTS, n_channels), -1).indices, n_channels).to(loud)  # [B, R, C]
    mean = torch.complex(start, torch.zeros_like(start))[:, :, None, None, :, None]
    state = _State(mean.expand(-1, -1, 1, grids.stripes, -1, grids.per_stripe), start, None)
    for _ in range(TRIED):
        state, found = under_one.update(state)
    best = under_one.evidence(state, found).argmax(-1, keepdim=True)
    state = state.take(best).repeated(n_noises)

    under_all = _Inference(
        spectrum.repeat_interleave(n_noises, 0),
        precision.flatten(0, 1),
        valid.repeat_interleave(n_noises, 0),
        grids,
    )
    for _ in range(REFINED):
        state, found = under_all.update(state)
    shape = (len(spectrum), n_noises)
    evidence = under_all.evidence(state, found)[:, 0]
    return Discharge(found.log_bayes[:, 0].unflatten(0, shape), evidence.unflatten(0, shape))


@dataclass
class _Found:
    log_bayes: Float[Tensor, "B R C D"]
    divergence: Float[Tensor, "B R C"]  # of gain and delay from their prior


class _Inference:
    """The updates of windows [B] under a noise each, for R discharges of each side by side."""

    def __init__(self, spectrum: Tensor, precision: Tensor, valid: Tensor, grids: Grids) -> None:
        self.precision, self.valid, self.grids = precision, valid, grids
        self.x = grids.stripe(spectrum).transpose(2, 3)[:, None]  # [B, 1, N, S, C, m]
        self.own = precision.diagonal(dim1=-2, dim2=-1)[:, None, ..., None]  # [B, 1, N, S, C, 1]
        self.per_own = torch.where(self.own > 0, 1 / self.own.clamp_min(1e-12), 0.0)
        self.y = self._press(self.x)
        self.y_own = self.y * self.per_own

    def loudness(self) -> Float[Tensor, "B C"]:
        """Sum how far bins of a channel stand out of its noise, whatever the others do."""
        return (power(self.x) * self.own).clamp_max(LOUDEST).sum((1, 2, 3, 5))

    def update(self, state: _State) -> tuple[_State, _Found]:
        """Update the waveform, then gains and delays."""
        grids, mean = self.grids, state.mean
        pressed, spread, known, heard = self._moments(state)
        if state.power is None:
            p = self._smooth(power(heard) / known.clamp_min(1e-12).square()).clamp_min(LEAST)
        else:
            p = state.power
        inverse = 1 / p + known
        p = self._smooth(power(heard) / inverse.square() + 1 / inverse).clamp_min(LEAST)
        inverse = 1 / p + known

        # What all the others say of the waveform.
        alone = pressed * self.per_own
        without = inverse[..., None, :] - spread - power(pressed) * self.per_own
        without = torch.maximum(without, (1 / p)[..., None, :])
        wave = (heard[..., None, :] - pressed.conj() * self.y_own) / without
        # And what the channel shows of it: signal, and the inverse variance of the error of both.
        sure = self.own / (1 + (power(alone) * self.own + spread) / without)
        shown = (self.y_own - (alone - mean) * wave) * sure

        match = (wave.conj() * shown).sum(2).transpose(2, 3).flatten(-2)  # [B, R, C, F]
        a = 2 * grids.kappa * (power(wave) * sure).sum((2, 3, 5))  # [B, R, C]
        b = 2 * grids.kappa * grids.at_delays(match)
        # The gain integrated out, under a standard normal prior.
        log_bayes = b.square() / (2 * (a + 1))[..., None] - 0.5 * torch.log1p(a)[..., None]
        log_share = torch.log_softmax(log_bayes, -1)
        share, gain, variance = log_share.exp(), b / (a + 1)[..., None], 1 / (a + 1)
        divergence = (share * (log_share + math.log(share.shape[-1]) + gain.square() / 2)).sum(-1)
        divergence = divergence + (variance - 1 - variance.log()) / 2
        turned = grids.stripe(grids.of_delays(share * gain)).transpose(2, 3)[:, :, None]
        square = (share * gain.square()).sum(-1) + variance
        return _State(turned, square, p), _Found(log_bayes, divergence)

    def evidence(self, state: _State, found: _Found) -> Float[Tensor, "B R"]:
        """Bound the log likelihood from below, relative to that of noise alone."""
        assert state.power is not None
        _, _, known, heard = self._moments(state)
        inverse = 1 / state.power + known
        gained = (power(heard) / inverse - torch.log(state.power * inverse)).sum((2, 3, 4))
        return self.grids.kappa * gained - (found.divergence * self.valid[:, None]).sum(-1)

    def _moments(self, state: _State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return K v, the spread of v in each channel, what v tells of the waveform, and what is heard."""
        mean = state.mean
        pressed = self._press(mean.expand(-1, -1, self.x.shape[2], -1, -1, -1))
        spread = self.own * (state.square[:, :, None, None, :, None] - power(mean)).clamp_min(0)
        known = (mean.real * pressed.real + mean.imag * pressed.imag).sum(-2) + spread.sum(-2)
        return pressed, spread, known, (mean.conj() * self.y).sum(-2)

    def _press(self, z: Tensor) -> Tensor:
        """Multiply by the precision: [B, R, N, S, C, m] -> the same."""
        n_tried, width = z.shape[1], z.shape[-1]
        columns = torch.cat([z.real, z.imag], -1).permute(0, 2, 3, 4, 1, 5)  # [B, N, S, C, R, 2 m]
        product = (self.precision @ columns.flatten(-2)).unflatten(-1, (n_tried, 2 * width))
        real, imaginary = product.permute(0, 4, 1, 2, 3, 5).split(width, -1)
        return torch.complex(real, imaginary)

    def _smooth(self, values: Tensor) -> Tensor:
        width = self.grids.bins_in(SMOOTH_HZ)
        return smooth(values.flatten(-2), width).unflatten(-1, values.shape[-2:])
