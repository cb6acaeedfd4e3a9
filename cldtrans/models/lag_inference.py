"""Amortised lag inference: lags, their uncertainty and edge probabilities from the window itself.

A small network, the same for every pair of channels, refines the closed-form evidence of `lag_features`. It
sees a pair's evidence in both directions and averages over the pair's row and column, so it applies to any
number of channels and is equivariant under their permutations. With fresh weights it returns a fixed reading
of the evidence: the network adds to that reading and starts at zero.

tau_ij is the delay from source j to target i in seconds: x_i(t) contains x_j(t - tau_ij).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.config import ModelConfig
from cldtrans.models.lag_features import (
    FLOATS_AT_ONCE,
    OWN_LAGS,
    LagFeatures,
    floats_a_target,
    lag_features,
    standardise,
)
from cldtrans.models.motifs import RATE_HZ
from cldtrans.models.recompute import recomputed

CHOICE_GAIN = 4.0  # of the network's say in the choice, so that it can be nearly hard
CANDIDATES = 4  # lags offered for each pair: conditional, marginal, and by the timelines of two bands
N_FEATURES = 30
MASS, MASS_SLOPE = 0.1, 60.0  # explained coherence of a window at which the reading changes over
LEFT, LEFT_SLOPE = (
    2.2,
    10.0,
)  # and |t| of the lower quartile of its pairs: 1.2 to 2.1 in sparse networks, 2.3 up else
FEW_CHANNELS = 4.0  # so many always fit a timeline
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
    candidates: Tensor  # [B, C, C, 4] seconds, the lags that tau chooses from
    choice: Tensor  # [B, C, C, 4] logarithm of the share of each


class LagInference(nn.Module):
    """Evidence of a window -> `Lags`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.tau_max_s = dict(config.tau_max_s)
        self.sources = config.sources
        self.integer = config.lag == "integer"
        width = config.pair_width
        self.embed = nn.Sequential(nn.Linear(N_FEATURES, width), nn.GELU(), nn.Linear(width, width))
        self.mix = nn.Sequential(nn.Linear(5 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2 + CANDIDATES)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, mask: Tensor, modality: str) -> Lags:
        """`x` [B, C, T] at the modality's rate, `mask` bool [B, C]."""
        rate_hz, max_lag = RATE_HZ[modality], self.max_lag(modality)
        with torch.autocast(x.device.type, enabled=False):
            # The search for the best lag is a choice: in float64, rounding (hence the order of the channels)
            # does not decide it even where channels are sums of others.
            signal, alive = standardise(x.double(), mask)
            evidence = self._evidence(signal, alive, max_lag).to(x.dtype)
        return self.refine(evidence, alive, max_lag, rate_hz)

    def max_lag(self, modality: str) -> int:
        """End of the lag grid in samples."""
        return round(self.tau_max_s[modality] * RATE_HZ[modality])  # type: ignore[index]

    def _evidence(self, x: Tensor, mask: Tensor, max_lag: int) -> LagFeatures:
        """In parts that bound the memory; the result does not depend on them."""
        n_channels, n_samples = x.shape[1:]
        models = n_channels * floats_a_target(n_channels, max_lag, self.sources)
        spectra = 8 * n_channels * n_samples  # of overlapping frames of two signals, and their copies
        at_once = max(1, FLOATS_AT_ONCE // max(models, spectra))
        parts = [
            lag_features(part, valid, max_lag, self.sources)
            for part, valid in zip(x.split(at_once), mask.split(at_once), strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        return LagFeatures(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(LagFeatures)))

    def refine(self, evidence: LagFeatures, mask: Tensor, max_lag: int, rate_hz: float) -> Lags:
        """The network's reading of the evidence."""
        pair = mask[:, :, None] & mask[:, None, :]
        pair = pair & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        parameter = self.out.weight
        features = pair_features(evidence, mask, max_lag).to(parameter.dtype)
        known = torch.cat([features, pair[..., None].to(features.dtype)], -1)
        delta = recomputed(self._network, known, 1, self.parameters()).to(evidence.score.dtype)
        prior_logit, prior_choice = reading(evidence, mask, max_lag)
        choice = F.log_softmax(prior_choice + CHOICE_GAIN * delta[..., 2:], -1)
        candidates = candidate_lags(evidence, max_lag)
        # The likeliest candidate: a mean of candidates is none of them. Gradients are those of the mean.
        mean = (choice.exp() * candidates).sum(-1)
        tau = candidates.gather(-1, choice.argmax(-1, keepdim=True))[..., 0]
        if self.integer:
            tau = tau.round()
        tau = tau + (mean - mean.detach())
        logit = prior_logit + delta[..., 0]
        spread = F.softplus(delta[..., 1] - 1.0)

        def keep(value: Tensor) -> Tensor:
            return torch.where(pair, value, 0.0)

        return Lags(
            tau=keep(tau / rate_hz),
            tau_stderr=keep(spread / rate_hz),
            edge_logit=torch.where(pair, logit, -30.0),
            edge_probability=keep(torch.sigmoid(logit)),
            weight=keep(evidence.weight),
            own=evidence.own,
            candidates=candidates / rate_hz,
            choice=choice,
        )

    def _network(self, known: Tensor) -> Tensor:
        """What is added to the fixed reading; `known` [B, C, C, N_FEATURES + 1] ends with the validity."""
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


class ZeroLag(nn.Module):
    """The no-lag ablation: tau = 0 and edges by zero-lag correlation, without parameters."""

    def forward(self, x: Tensor, mask: Tensor, modality: str) -> Lags:
        x, alive = standardise(x, mask)
        correlation = x @ x.transpose(1, 2) / x.shape[-1]
        pair = alive[:, :, None] & alive[:, None, :]
        pair = pair & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        correlation = torch.where(pair, correlation.clamp(-1, 1), 0.0)
        probability = correlation.abs()
        zero = torch.zeros_like(correlation)
        return Lags(
            tau=zero,
            tau_stderr=zero,
            edge_logit=torch.where(pair, torch.logit(probability.clamp(1e-4, 1 - 1e-4)), -30.0),
            edge_probability=probability,
            weight=correlation,
            own=x.new_zeros(*x.shape[:2], OWN_LAGS),
            candidates=zero[..., None].expand(*zero.shape, CANDIDATES),
            choice=torch.full((*zero.shape, CANDIDATES), -math.log(CANDIDATES)).to(zero),
        )


def candidate_lags(evidence: LagFeatures, max_lag: int) -> Tensor:
    """Lags in samples that tau chooses from, [B, C, C, CANDIDATES]."""
    fitted = torch.stack([evidence.tau, evidence.marginal_tau], -1)
    return torch.cat([fitted, evidence.later], -1).clamp(0, max_lag)


def coherent_share(evidence: LagFeatures, mask: Tensor) -> Tensor:
    """How much of each window one timeline explains, 0 to 1, in each band [B, 2].

    It does so only where it explains what sparse models of the targets do not: where pairs of no special
    interest stay significant given all others. A loop of lagged edges near resonance has one rhythm, too.
    """
    valid = mask.sum(1, keepdim=True).to(evidence.mass.dtype)
    explained = evidence.mass * (1 - FEW_CHANNELS / valid.clamp_min(FEW_CHANNELS))
    pair = mask[:, :, None] & mask[:, None, :]
    pair = pair & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    left = evidence.score.masked_fill(~pair, torch.nan).flatten(1).nanquantile(0.25, 1, keepdim=True)
    unexplained = torch.sigmoid(LEFT_SLOPE * (left.nan_to_num(0.0) - LEFT))
    return torch.sigmoid(MASS_SLOPE * (explained - MASS)) * unexplained


def reading(evidence: LagFeatures, mask: Tensor, max_lag: int) -> tuple[Tensor, Tensor]:
    """Edge logit [B, C, C] and preference among the candidate lags [B, C, C, 4] without any learning.

    The significance of the conditional fit counts where channels have a life of their own; where one
    timeline explains the coherence of the window, so that conditioning explains everything by everything,
    the timeline of the better band counts.
    """
    share = coherent_share(evidence, mask)[:, None, None]
    gate = share.amax(-1)
    better = torch.softmax(60.0 * evidence.mass, -1)[:, None, None]
    conditional = 4.0 * (torch.log1p(evidence.score) - math.log(6.0))
    on_line = evidence.height.square() / (1 + (evidence.misfit / OFF_LINE).square())
    follows = (evidence.later > 0) & (evidence.later <= max_lag)
    coherent = torch.logit(((on_line * follows) * better).sum(-1).clamp(1e-3, 0.99))
    zero = torch.zeros_like(conditional)
    timeline = 20.0 * (gate - 0.5)[..., None] + torch.log(better.clamp_min(1e-6))
    choice = torch.cat([torch.stack([zero, zero - 5.0], -1), zero[..., None] + timeline], -1)
    return torch.lerp(conditional, coherent, gate), choice


def pair_features(evidence: LagFeatures, mask: Tensor, max_lag: int) -> Tensor:
    """What the network sees of each ordered pair: [B, C, C, N_FEATURES], numbers of order one."""
    e = evidence
    score, marginal = torch.log1p(e.score), torch.log1p(e.marginal)
    noise = torch.log(e.noise.clamp_min(1e-6))
    valid = mask.sum(1).clamp_min(2).to(score.dtype)
    best = score.amax((1, 2), keepdim=True)
    one = torch.ones_like(score)

    def both(value: Tensor) -> list[Tensor]:
        return [value, value.transpose(1, 2)]

    def close(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-(a - b).abs())

    share = coherent_share(e, mask)[:, None, None] * one[..., None]
    columns = [
        *both(score),
        *both(marginal),
        *both(e.weight.clamp(-2, 2)),
        e.weight.abs().clamp_max(2),
        *both(e.selected.to(score.dtype)),
        *both(e.tau / max_lag),
        e.marginal_tau / max_lag,
        *(3 * e.height).unbind(-1),
        *(1 / (1 + (e.misfit / OFF_LINE).square())).unbind(-1),
        *(e.later / max_lag).clamp(-2, 2).unbind(-1),
        close(e.tau, e.marginal_tau),
        *(close(e.tau, later) for later in e.later.unbind(-1)),
        noise[:, :, None] * one / 4,
        noise[:, None, :] * one / 4,
        (e.efficiency[:, :, None] - 1).clamp(-1, 3) * one,
        (e.efficiency[:, None, :] - 1).clamp(-1, 3) * one,
        torch.log(valid)[:, None, None] * one / 4,
        score - best,
        *share.unbind(-1),
        share.amax(-1) * (e.later * share).sum(-1).sign(),
    ]
    return torch.stack(columns, -1)


def _context(z: Tensor, pair: Tensor) -> list[Tensor]:
    """Means of the embeddings [B, C, C, W] over a pair's row, its column, and all pairs; these become 1."""
    return [
        z.sum(over, keepdim=True) / pair.sum(over, keepdim=True).clamp_min(1) for over in ((2,), (1,), (1, 2))
    ]
