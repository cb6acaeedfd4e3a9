"""Amortised lag inference: lags, their uncertainty and edge probabilities from the window itself.

A small network, the same for every pair of channels, refines the closed-form evidence of `lag_features`. It
sees a pair's evidence in both directions and averages over the pair's row and column, so it applies to any
number of channels and is equivariant under their permutations; a still smaller one, the gate, tells windows
that one source drives. With fresh weights the gate is half open, and the other network adds nothing to the
reading of the evidence.

tau_ij is the delay from source j to target i in seconds: x_i(t) contains x_j(t - tau_ij).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.config import ModelConfig
from cldtrans.models.lag_features import (
    FLOATS_AT_ONCE,
    LEAST_ERROR,
    OWN_LAGS,
    Covariances,
    LagFeatures,
    floats_a_target,
    standardise,
)
from cldtrans.models.motifs import RATE_HZ
from cldtrans.models.recompute import recomputed

CHOICE_GAIN = 4.0  # of a network's say in a choice, so that it can be nearly hard
CANDIDATES = 5  # lags offered for each pair: of both models, marginal, and the timelines of two bands
N_FEATURES = 38
GATE_WIDTH = 16
GATE_GAIN = 16.0  # so that a window is soon taken for one kind or the other
OFF_LINE = 3.0  # samples between a pair's delay and the timeline


@dataclass
class Lags:
    """What one window says about every ordered pair, row = target; zero where a channel is invalid."""

    tau: Tensor  # [B, C, C] seconds, 0 <= tau <= tau_max
    tau_stderr: Tensor  # [B, C, C] seconds, the network's own estimate of its error
    edge_logit: Tensor  # [B, C, C]
    edge_probability: Tensor  # [B, C, C]
    weight: Tensor  # [B, C, C] signed coefficient for channels of unit variance
    own: Tensor  # [B, C, P] coefficients of a channel's own past, lags 1..P samples
    candidates: Tensor  # [B, C, C, 5] seconds, the lags that tau chooses from
    choice: Tensor  # [B, C, C, 5] logarithm of the share of each


class PairNetwork(nn.Module):
    """Features of every ordered pair [B, C, C, n_features] -> [B, C, C, n_out]; zero with fresh weights."""

    def __init__(self, n_features: int, width: int, n_out: int):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_features, width), nn.GELU(), nn.Linear(width, width))
        self.mix = nn.Sequential(nn.Linear(5 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, n_out)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, pair: Tensor) -> Tensor:
        """`pair` [B, C, C] bool: which pairs there are."""
        features = features.to(self.out.weight.dtype)
        known = torch.cat([features, pair[..., None].to(features.dtype)], -1)
        return recomputed(self._of_windows, known, 1, self.parameters())

    def _of_windows(self, known: Tensor) -> Tensor:
        """`known` [B, C, C, n_features + 1] ends with the validity."""
        features, pair = known[..., :-1], known[..., -1:]
        z = self.embed(features) * pair
        # The first map sees a pair, its reverse and the means around it, each through its own columns: so
        # the means are mapped once, and no wide table is made.
        first = self.mix[0]
        assert isinstance(first, nn.Linear)
        from_pair, from_reverse, *from_means = first.weight.chunk(5, 1)
        means = [F.linear(m, w) for m, w in zip(_context(z, pair), from_means, strict=True)]
        hidden = F.linear(z, from_pair, first.bias) + F.linear(z.transpose(1, 2), from_reverse)
        for mean in means:
            hidden = hidden + mean
        return self.out(self.norm(self.mix[1:](hidden)))


class Gate(nn.Module):
    """How much of each window one timeline explains, 0 to 1, in each band [B, 2]; 1/2 with fresh weights.

    It sees the coherence that the timelines explain, and how significant pairs of no special interest stay
    given all others: a loop of lagged edges near resonance has one rhythm, too, but its models are sparse.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, GATE_WIDTH)
        self.out = nn.Linear(GATE_WIDTH, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, first: LagFeatures, mask: Tensor) -> Tensor:
        valid = mask.sum(1, keepdim=True).clamp_min(2).to(first.mass.dtype)
        score = torch.log1p(first.score).masked_fill(~pairs(mask), torch.nan).flatten(1)
        quartiles = score.nanquantile(torch.tensor([0.25, 0.75]).to(score), 1).nan_to_num(1.0).T
        known = torch.cat([30 * first.mass - 3, 10 * (quartiles - 1), torch.log(valid) - 2], 1)
        out = self.out(F.gelu(self.embed(known.to(self.out.weight.dtype))))
        return torch.sigmoid(GATE_GAIN * out).to(first.mass.dtype)


class LagInference(nn.Module):
    """Windows -> `Lags`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.tau_max_s = dict(config.tau_max_s)
        self.sources = config.sources
        self.integer = config.lag == "integer"
        self.gate = Gate()
        self.network = PairNetwork(N_FEATURES, config.pair_width, 2 + CANDIDATES)

    def forward(self, x: Tensor, mask: Tensor, modality: str) -> Lags:
        """`x` [B, C, T] at the modality's rate, `mask` bool [B, C]."""
        rate_hz, max_lag = RATE_HZ[modality], self.max_lag(modality)
        with torch.autocast(x.device.type, enabled=False):
            # The search for the best lag is a choice: in float64, rounding (hence the order of the channels)
            # does not decide it even where channels are sums of others.
            signal, alive = standardise(x.double(), mask)
            first, refitted = self._evidence(signal, alive, max_lag, x.dtype)
        return self.read(first, refitted, alive, max_lag, rate_hz)

    def max_lag(self, modality: str) -> int:
        """End of the lag grid in samples."""
        return round(self.tau_max_s[modality] * RATE_HZ[modality])  # type: ignore[index]

    def _evidence(
        self, x: Tensor, mask: Tensor, max_lag: int, dtype: torch.dtype
    ) -> tuple[LagFeatures, LagFeatures]:
        """Of models of any sources, and refitted; in parts that bound the memory, which changes nothing."""
        n_channels, n_samples = x.shape[1:]
        models = n_channels * floats_a_target(n_channels, max_lag, self.sources)
        spectra = 8 * n_channels * n_samples  # of overlapping frames of two signals, and their copies
        at_once = max(1, FLOATS_AT_ONCE // max(models, spectra))
        parts = []
        for part, valid in zip(x.split(at_once), mask.split(at_once), strict=True):
            covariances = Covariances.of(part, valid, max_lag)
            first = covariances.features(self.sources)
            parts.append((first, covariances.refitted(first, self.sources)))
        first, refitted = (LagFeatures.joined(some).to(dtype) for some in zip(*parts, strict=True))
        return first, refitted

    def read(
        self, first: LagFeatures, refitted: LagFeatures, mask: Tensor, max_lag: int, rate_hz: float
    ) -> Lags:
        """The networks' reading of the evidence."""
        pair, share = pairs(mask), self.gate(first, mask)
        features = pair_features(first, refitted, mask, max_lag, share)
        delta = self.network(features, pair).to(refitted.score.dtype)
        edge, spread, choice = delta.split([1, 1, CANDIDATES], -1)
        choice = F.log_softmax(lag_reading(refitted, share) + CHOICE_GAIN * choice, -1)
        candidates = candidate_lags(first, refitted, max_lag)
        # The likeliest candidate: a mean of candidates is none of them. Gradients are those of the mean.
        mean = (choice.exp() * candidates).sum(-1)
        tau = candidates.gather(-1, choice.argmax(-1, keepdim=True))[..., 0] + (mean - mean.detach())
        if self.integer:
            tau = tau + (tau.round() - tau).detach()
        logit = edge_reading(refitted, share, max_lag) + edge[..., 0]
        spread = refitted.tau_error * torch.exp(spread[..., 0].clamp(-3, 3))

        def keep(value: Tensor) -> Tensor:
            return torch.where(pair, value, 0.0)

        return Lags(
            tau=keep(tau / rate_hz),
            tau_stderr=keep(spread / rate_hz),
            edge_logit=torch.where(pair, logit, -30.0),
            edge_probability=keep(torch.sigmoid(logit)),
            weight=keep(refitted.weight),
            own=refitted.own,
            candidates=candidates / rate_hz,
            choice=choice,
        )


class ZeroLag(nn.Module):
    """The no-lag ablation: tau = 0 and edges by zero-lag correlation, without parameters."""

    def forward(self, x: Tensor, mask: Tensor, modality: str) -> Lags:
        x, alive = standardise(x, mask)
        correlation = x @ x.transpose(1, 2) / x.shape[-1]
        pair = pairs(alive)
        correlation = torch.where(pair, correlation.clamp(-1, 1), 0.0)
        probability = correlation.abs()
        logit = torch.where(pair, torch.logit(probability.clamp(1e-4, 1 - 1e-4)), -30.0)
        zero = torch.zeros_like(correlation)
        return Lags(
            tau=zero,
            tau_stderr=zero,
            edge_logit=logit,
            edge_probability=probability,
            weight=correlation,
            own=x.new_zeros(*x.shape[:2], OWN_LAGS),
            candidates=zero[..., None].expand(*zero.shape, CANDIDATES),
            choice=torch.full((*zero.shape, CANDIDATES), -math.log(CANDIDATES)).to(zero),
        )


def pairs(mask: Tensor) -> Tensor:
    """Ordered pairs of two different valid channels, bool [B, C, C]."""
    return (
        mask[:, :, None] & mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    )


def candidate_lags(first: LagFeatures, refitted: LagFeatures, max_lag: int) -> Tensor:
    """Lags in samples that tau chooses from, [B, C, C, CANDIDATES]."""
    fitted = torch.stack([refitted.tau, first.tau, first.marginal_tau], -1)
    return torch.cat([fitted, first.later], -1).clamp(0, max_lag)


def edge_reading(evidence: LagFeatures, share: Tensor, max_lag: int) -> Tensor:
    """Edge logit [B, C, C] before the networks' corrections, from `share` [B, 2] of the gate.

    The significance of the conditional fit counts where channels have a life of their own; where one
    timeline explains the coherence of the window, so that conditioning explains everything by everything,
    the timeline of the better band counts.
    """
    conditional = 4.0 * (torch.log1p(evidence.score) - math.log(6.0))
    on_line = evidence.height.square() / (1 + (evidence.misfit / OFF_LINE).square())
    follows = (evidence.later > 0) & (evidence.later <= max_lag)
    coherent = torch.logit(((on_line * follows) * _better(evidence)).sum(-1).clamp(1e-3, 0.99))
    return torch.lerp(conditional, coherent, share.amax(-1)[:, None, None])


def lag_reading(evidence: LagFeatures, share: Tensor) -> Tensor:
    """Preference among the candidate lags [B, C, C, CANDIDATES], likewise."""
    gate, better = share.amax(-1)[:, None, None], _better(evidence)
    zero = torch.zeros_like(evidence.score)
    timeline = 20.0 * (gate - 0.5)[..., None] + torch.log(better.clamp_min(1e-6))
    return torch.cat([torch.stack([zero, zero - 5.0, zero - 5.0], -1), zero[..., None] + timeline], -1)


def _better(evidence: LagFeatures) -> Tensor:
    """Shares of the two bands' timelines, [B, 1, 1, 2]."""
    return torch.softmax(60.0 * evidence.mass, -1)[:, None, None]


def pair_features(
    first: LagFeatures, refitted: LagFeatures, mask: Tensor, max_lag: int, share: Tensor
) -> Tensor:
    """What the network sees of each ordered pair: [B, C, C, N_FEATURES], numbers of order one."""
    e = refitted
    score, marginal = torch.log1p(e.score), torch.log1p(e.marginal)
    noise = torch.log(e.noise.clamp_min(1e-6))
    valid = mask.sum(1).clamp_min(2).to(score.dtype)
    best = score.amax((1, 2), keepdim=True)
    one = torch.ones_like(score)
    shares = share[:, None, None] * one[..., None]
    quartile = (
        torch.log1p(first.score)
        .masked_fill(~pairs(mask), torch.nan)
        .flatten(1)
        .nanquantile(0.25, 1)
        .nan_to_num(0.0)
    )
    columns = [
        *_both(score),
        *_both(marginal),
        *_both(e.weight.clamp(-2, 2)),
        e.weight.abs().clamp_max(2),
        *_both(e.selected.to(score.dtype)),
        *_both(e.tau / max_lag),
        e.marginal_tau / max_lag,
        *(3 * e.height).unbind(-1),
        *(1 / (1 + (e.misfit / OFF_LINE).square())).unbind(-1),
        *(e.later / max_lag).clamp(-2, 2).unbind(-1),
        _close(e.tau, e.marginal_tau),
        *(_close(e.tau, later) for later in e.later.unbind(-1)),
        noise[:, :, None] * one / 4,
        noise[:, None, :] * one / 4,
        (e.efficiency[:, :, None] - 1).clamp(-1, 3) * one,
        (e.efficiency[:, None, :] - 1).clamp(-1, 3) * one,
        torch.log(valid)[:, None, None] * one / 4,
        score - best,
        quartile[:, None, None] * one,
        *(10 * e.mass[:, None, None] * one[..., None]).clamp_max(5).unbind(-1),
        torch.log(e.tau_error.clamp_min(LEAST_ERROR)) / 2,
        *shares.unbind(-1),
        shares.amax(-1) * (e.later * shares).sum(-1).sign(),
        *_both(torch.log1p(first.score)),
        first.tau / max_lag,
        _close(first.tau, e.tau),
    ]
    return torch.stack(columns, -1)


def _both(value: Tensor) -> list[Tensor]:
    """Of a pair and of its reverse."""
    return [value, value.transpose(1, 2)]


def _close(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-(a - b).abs())


def _context(z: Tensor, pair: Tensor) -> list[Tensor]:
    """Means of the embeddings [B, C, C, W] over a pair's row, its column, and all pairs; these become 1."""
    return [
        z.sum(over, keepdim=True) / pair.sum(over, keepdim=True).clamp_min(1) for over in ((2,), (1,), (1, 2))
    ]
