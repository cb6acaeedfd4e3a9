"""How the evidence for lags is read before any correction, and what the network that corrects it sees.

A window is read in one of two ways, or between them. Where channels have a life of their own, the
significance of a pair given all others counts. Where one source drives everything, conditioning explains
everything by everything; then the times count at which it reaches the channels. The gate learns to tell
which, and another network how much each assumption of that source counts.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.lag.single_source.assumptions import ASSUMPTIONS
from cldtrans.models.lag_inference.evidence import LEAST_ERROR, LagEvidence, pairs
from cldtrans.models.lag_inference.one_source import LEAST, OneSource

N_FEATURES = 35
WIDTH = 16
GATE_GAIN = 16.0  # so that a window is soon taken for one kind or the other
NATS = 100.0  # of evidence that are taken for one


class Gate(nn.Module):
    """How likely one source drives each window, 0 to 1, [B]; 1/2 with fresh weights.

    It sees the evidence for one source, and how significant pairs of no special interest stay given all
    others: a loop of lagged edges near resonance has one rhythm, too, but its models are sparse.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, WIDTH)
        self.out = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, first: LagEvidence, source: OneSource, mask: Tensor) -> Tensor:
        """Judge windows.

        Parameters
        ----------
        first : LagEvidence
            Of models with any sources.
        source : OneSource
            Of the windows.
        mask : tensor [B, C] of bool
            Valid channels.
        """
        valid = mask.sum(1).clamp_min(2).to(first.score.dtype)
        score = torch.log1p(first.score).masked_fill(~pairs(mask), torch.nan).flatten(1)
        quartiles = score.nanquantile(torch.tensor([0.25, 0.75]).to(score), 1).nan_to_num(1.0)
        least, most = source.evidence.aminmax(dim=1)
        columns = [
            *torch.asinh(torch.stack([least, most]).to(valid) / NATS),
            torch.asinh(most.to(valid) / valid / (NATS / 20)),
            source.carries.mean(1).sum(-1).to(valid) / valid,
            source.quiet.to(valid),
            *(10 * (quartiles - 1)),
            torch.log(valid) - 2,
        ]
        known = torch.stack(columns, -1).to(self.out.weight.dtype)
        out = self.out(F.gelu(self.embed(known)))[:, 0]
        return (torch.sigmoid(GATE_GAIN * out) * source.looked).to(valid.dtype)


class Shares(nn.Module):
    """How much each assumption counts of a window with one source: log shares [B, M].

    With fresh weights they are the model's own posteriors; each is corrected by the same small network, which
    sees what is assumed, and its evidence beside the others'.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(10, WIDTH)
        self.out = nn.Linear(WIDTH, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, source: OneSource, mask: Tensor) -> Tensor:
        """Judge the assumptions of windows [B]."""
        evidence = source.evidence / NATS
        one = torch.ones_like(evidence)
        valid = mask.sum(1, keepdim=True).clamp_min(2).to(evidence)
        assumed = ASSUMPTIONS[: evidence.shape[1]]
        columns = [
            torch.asinh(evidence),
            torch.asinh(4 * (evidence - evidence.amax(1, keepdim=True))),
            source.log_share.clamp_min(-10) / 4,
            torch.log1p(source.spread).mean(-1),
            source.quiet[:, None] * one,
            (torch.log(valid) - 2) * one,
            one * evidence.new_tensor([math.sqrt(a.misfit.pooled) for a in assumed]),
            one * evidence.new_tensor([math.sqrt(a.misfit.excess) for a in assumed]),
            one * evidence.new_tensor([float(a.conducted) for a in assumed]),
            one * evidence.new_tensor([abs(a.drift) for a in assumed]),
        ]
        known = torch.stack(columns, -1).to(self.out.weight.dtype)
        more = self.out(F.gelu(self.embed(known)))[..., 0]
        return torch.log_softmax(source.log_share.to(more) + more, -1)


def candidate_lags(evidence: LagEvidence, source: OneSource, max_lag: int) -> Tensor:
    """Return the lags in samples that tau is chosen from: the model's, and one source's, [B, C, C, 1 + M]."""
    later = source.later().to(evidence.tau)
    return torch.cat([evidence.tau[..., None], later], -1).clamp(0, max_lag)


def candidate_errors(evidence: LagEvidence, source: OneSource, max_lag: int) -> Tensor:
    """Return their standard errors, [B, C, C, 1 + M]; at most a quarter of the lag grid."""
    later = source.later_error().to(evidence.tau)
    return torch.cat([evidence.tau_error[..., None], later.clamp(LEAST_ERROR, 0.25 * max_lag)], -1)


def edge_reading(evidence: LagEvidence, source: OneSource, gate: Tensor, log_share: Tensor) -> Tensor:
    """Read edges before the networks' corrections.

    The significance of the conditional fit counts where channels have a life of their own; where one source
    drives the window, so that conditioning explains everything by everything, the order in which it reaches
    the channels counts.

    Parameters
    ----------
    evidence : LagEvidence
        Of refitted models.
    source : OneSource
        Of the windows.
    gate : tensor [B]
        From `Gate`.
    log_share : tensor [B, M]
        From `Shares`.

    Returns
    -------
    tensor [B, C, C]
        Edge logits.
    """
    conditional = 4.0 * (torch.log1p(evidence.score) - math.log(6.0))
    follows = (source.follows * log_share.exp()[..., None, None]).sum(1).to(conditional)
    ordered = torch.logit(follows.clamp(LEAST, 1 - LEAST))
    return torch.lerp(conditional, ordered, gate[:, None, None])


def lag_reading(evidence: LagEvidence, gate: Tensor, log_share: Tensor) -> Tensor:
    """Read preferences among the candidate lags [B, C, C, 1 + M], likewise.

    It is the gate's alone: what a network knows of a pair tells no better lag than the model's.
    """
    fitted = torch.zeros_like(evidence.score)[..., None]
    ordered = (20.0 * (gate - 0.5)[:, None] + log_share.to(gate))[:, None, None]
    return torch.cat([fitted, fitted + ordered], -1)


def pair_readings(
    first: LagEvidence,
    refitted: LagEvidence,
    source: OneSource,
    mask: Tensor,
    max_lag: int,
    gate: Tensor,
    log_share: Tensor,
) -> Tensor:
    """Put together what the network sees of each ordered pair.

    Parameters
    ----------
    first, refitted : LagEvidence
        Of models with any sources, and with significant ones.
    source : OneSource
        Of the windows.
    mask : tensor [B, C] of bool
        Valid channels.
    max_lag : int
        Samples.
    gate : tensor [B]
        From `Gate`.
    log_share : tensor [B, M]
        From `Shares`.

    Returns
    -------
    tensor [B, C, C, N_FEATURES]
        Numbers of order one.
    """
    e = refitted
    score, marginal = torch.log1p(e.score), torch.log1p(e.marginal)
    noise = torch.log(e.noise.clamp_min(1e-6))
    valid = mask.sum(1).clamp_min(2).to(score.dtype)
    best = score.amax((1, 2), keepdim=True)
    one = torch.ones_like(score)
    driven = gate[:, None, None] * one
    share = log_share.exp().to(score)
    later = (source.later() * share[:, None, None]).sum(-1).to(score)
    spread = (source.later_error() * share[:, None, None]).sum(-1).to(score)
    follows = (source.follows * share[..., None, None]).sum(1).to(score)
    carries = (source.carries * share[..., None]).sum(1).to(score)
    evidence = torch.asinh(source.evidence.amax(1).to(score) / NATS)
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
        _close(e.tau, e.marginal_tau),
        noise[:, :, None] * one / 4,
        noise[:, None, :] * one / 4,
        (e.efficiency[:, :, None] - 1).clamp(-1, 3) * one,
        (e.efficiency[:, None, :] - 1).clamp(-1, 3) * one,
        torch.log(valid)[:, None, None] * one / 4,
        score - best,
        quartile[:, None, None] * one,
        torch.log(e.tau_error.clamp_min(LEAST_ERROR)) / 2,
        *_both(torch.log1p(first.score)),
        first.tau / max_lag,
        _close(first.tau, e.tau),
        *_both(torch.logit(follows.clamp(LEAST, 1 - LEAST)) / 4),
        carries[:, :, None] * one,
        carries[:, None, :] * one,
        (later / max_lag).clamp(-2, 2),
        torch.log(spread.clamp_min(LEAST_ERROR)) / 2,
        _close(e.tau, later),
        evidence[:, None, None] * one,
        driven,
        driven * later.sign(),
    ]
    return torch.stack(columns, -1)


def _both(value: Tensor) -> list[Tensor]:
    """Return the value of a pair and of its reverse."""
    return [value, value.transpose(1, 2)]


def _close(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-(a - b).abs())
