"""How the evidence for lags is read before any correction, and what the network that corrects it sees.

A window is read in one of two ways, or between them. Where channels have a life of their own, the
significance of a pair given all others counts. Where one source drives everything, conditioning explains
everything by everything; then the timeline of all channels counts. The gate learns to tell which.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.models.lag_inference.evidence import LEAST_ERROR, LagEvidence, pairs

CANDIDATES = 3  # lags offered for each pair: of the refitted model, and the timelines of two bands
N_FEATURES = 38
GATE_WIDTH = 16
GATE_GAIN = 16.0  # so that a window is soon taken for one kind or the other
OFF_LINE = 3.0  # samples between a pair's delay and the timeline


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

    def forward(self, first: LagEvidence, mask: Tensor) -> Tensor:
        """Judge windows by the evidence of their first models.

        Parameters
        ----------
        first : LagEvidence
            Of models with any sources.
        mask : tensor [B, C] of bool
            Valid channels.

        Returns
        -------
        tensor [B, 2]
            Share that one timeline explains, 0 to 1, in each band.
        """
        valid = mask.sum(1, keepdim=True).clamp_min(2).to(first.mass.dtype)
        score = torch.log1p(first.score).masked_fill(~pairs(mask), torch.nan).flatten(1)
        quartiles = score.nanquantile(torch.tensor([0.25, 0.75]).to(score), 1).nan_to_num(1.0).T
        known = torch.cat([30 * first.mass - 3, 10 * (quartiles - 1), torch.log(valid) - 2], 1)
        out = self.out(F.gelu(self.embed(known.to(self.out.weight.dtype))))
        return torch.sigmoid(GATE_GAIN * out).to(first.mass.dtype)


def candidate_lags(evidence: LagEvidence, max_lag: int) -> Tensor:
    """Return the lags in samples that tau is chosen from, [B, C, C, CANDIDATES]."""
    return torch.cat([evidence.tau[..., None], evidence.later], -1).clamp(0, max_lag)


def edge_reading(evidence: LagEvidence, share: Tensor, max_lag: int) -> Tensor:
    """Read edges before the networks' corrections.

    The significance of the conditional fit counts where channels have a life of their own; where one
    timeline explains the coherence of the window, so that conditioning explains everything by everything,
    the timeline of the better band counts.

    Parameters
    ----------
    evidence : LagEvidence
        Of refitted models.
    share : tensor [B, 2]
        From the gate.
    max_lag : int
        Samples.

    Returns
    -------
    tensor [B, C, C]
        Edge logits.
    """
    conditional = 4.0 * (torch.log1p(evidence.score) - math.log(6.0))
    on_line = evidence.height.square() / (1 + (evidence.misfit / OFF_LINE).square())
    follows = (evidence.later > 0) & (evidence.later <= max_lag)
    coherent = torch.logit(((on_line * follows) * _better(evidence)).sum(-1).clamp(1e-3, 0.99))
    return torch.lerp(conditional, coherent, share.amax(-1)[:, None, None])


def lag_reading(evidence: LagEvidence, share: Tensor) -> Tensor:
    """Read preferences among the candidate lags [B, C, C, CANDIDATES], likewise.

    It is the gate's alone: what a network knows of a pair tells no better lag than the model's.
    """
    gate, better = share.amax(-1)[:, None, None], _better(evidence)
    fitted = torch.zeros_like(evidence.score)[..., None]
    timeline = 20.0 * (gate - 0.5)[..., None] + torch.log(better.clamp_min(1e-6))
    return torch.cat([fitted, fitted + timeline], -1)


def _better(evidence: LagEvidence) -> Tensor:
    """Return the shares of the two bands' timelines, [B, 1, 1, 2]."""
    return torch.softmax(60.0 * evidence.mass, -1)[:, None, None]


def pair_readings(
    first: LagEvidence, refitted: LagEvidence, mask: Tensor, max_lag: int, share: Tensor
) -> Tensor:
    """Put together what the network sees of each ordered pair.

    Parameters
    ----------
    first, refitted : LagEvidence
        Of models with any sources, and with significant ones.
    mask : tensor [B, C] of bool
        Valid channels.
    max_lag : int
        Samples.
    share : tensor [B, 2]
        From the gate.

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
    """Return the value of a pair and of its reverse."""
    return [value, value.transpose(1, 2)]


def _close(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-(a - b).abs())
