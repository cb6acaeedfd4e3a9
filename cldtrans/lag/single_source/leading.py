"""Which channel is the first that a discharge reaches."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cldtrans.lag.single_source.grids import STEP_S

TAKES_PART = 0.5  # of the channels, before anything is seen
LATER_S = 0.5  # mean of the exponential prior of a channel's delay after the first


def log_first(
    log_bayes: Float[Tensor, "*batch C D"], valid: Bool[Tensor, "*batch C"]
) -> Float[Tensor, "*batch C"]:
    """Weigh, for every channel, "it is the first": it has the discharge, and no other has it before.

    `log sum_d exp[ l_c(d) + sum_(j != c) log(1/2 + 1/2 sum_D w(D) exp l_j(d + D)) ]`, w over D >= 0.

    Parameters
    ----------
    log_bayes : tensor [..., C, D]
        Log Bayes factors l of each delay.
    valid : tensor [..., C] of bool
        Channels.

    Returns
    -------
    tensor [..., C]
        Up to a common constant; -inf where not valid.
    """
    n_delays = log_bayes.shape[-1]
    values = log_bayes.double()
    # An exponential prior falls as much between any two delays: so one running sum serves all of them.
    fall = STEP_S / LATER_S * torch.arange(n_delays, device=values.device).double()
    after = torch.logcumsumexp((values - fall).flip(-1), -1).flip(-1) + fall
    after = after - torch.logsumexp(-fall, 0)
    other = torch.logaddexp(torch.full_like(after, math.log(1 - TAKES_PART)), after + math.log(TAKES_PART))
    other = torch.where(valid[..., None], other, 0.0)
    first = torch.logsumexp(values + other.sum(-2, keepdim=True) - other, -1)
    return first.masked_fill(~valid, -torch.inf)


def likeliest(
    log_bayes: Float[Tensor, "*batch C D"], delays: Float[Tensor, " D"]
) -> tuple[Float[Tensor, "*batch C"], Float[Tensor, "*batch C"]]:
    """Return the likeliest delay of a channel, seconds, and the root of the expected squared distance to it.

    A rhythm leaves several delays possible, a period apart: then the distance is about a period. The
    parabola through the peak stands for the grid where the posterior is narrower than that.
    """
    share = torch.softmax(log_bayes, -1)
    step = delays[1] - delays[0]
    peak = log_bayes.argmax(-1, keepdim=True).clamp(1, len(delays) - 2)
    near = peak + torch.arange(-1, 2, device=peak.device)
    before, here, after = log_bayes.gather(-1, near).unbind(-1)
    bend = (2 * here - before - after).clamp_min(1e-6)
    delay = delays[peak[..., 0]] + ((after - before) / (2 * bend)).clamp(-0.5, 0.5) * step
    off = (delays - delay[..., None]).square()
    elsewhere = (share * off).sum(-1) - (share.gather(-1, near) * off.gather(-1, near)).sum(-1)
    local = torch.minimum(step.square() / bend, step.square())
    return delay, (elsewhere.clamp_min(0) + local).sqrt()
