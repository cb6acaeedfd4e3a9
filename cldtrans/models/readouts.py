"""Which channel leads: named functions of the lags and edge probabilities that the model inferred.

tau [B, C, C] in seconds, row = target: tau_ij is how much later the target i carries what the source j did.
So a leading channel has edges in its *column*. All scores: higher = more likely the leading channel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

READOUT = "first"  # the default
LEAST = 1e-4  # of a probability


def first(tau: Tensor, probability: Tensor) -> Tensor:
    """Score by how likely some channel follows, and none is followed.

    That is `log max_i p_ij + sum_i log(1 - p_ji)` of channel j: pairs taken as if they were independent. Of
    lags it asks only that they be later than zero, which is what an edge is.
    """
    p = probability.clamp(LEAST, 1 - LEAST)
    return torch.log(p.amax(1)) + torch.log1p(-p).sum(2)


def literal(tau: Tensor, probability: Tensor) -> Tensor:
    """Score by `-sum_j tau_ij`, blind to whether an edge exists.

    Its argmax is the paper's `argmin_i sum_j tau_ij`.
    """
    return -tau.sum(2)


def net_lead(tau: Tensor, probability: Tensor) -> Tensor:
    """Score by outgoing minus incoming lag, weighted by edge probability.

    That is `sum_i p_ij tau_ij - sum_i p_ji tau_ji` of channel j.
    """
    lag = probability * tau
    return lag.sum(1) - lag.sum(2)


def arrival(tau: Tensor, probability: Tensor) -> Tensor:
    """Score by minus the time at which a channel joins in.

    That is theta of `min sum p_ij (theta_i - theta_j - tau_ij)^2`: one consistent timeline for all pairs; a
    chain of lags counts as their sum. Channels without edges stay at the mean.

    References
    ----------
    HodgeRank, Jiang et al. 2011, doi:10.1007/s10107-010-0419-x.
    """
    n = tau.shape[-1]
    weight = probability + probability.transpose(1, 2)
    laplacian = torch.diag_embed(weight.sum(2)) - weight
    lag = probability * tau
    later = lag.sum(2) - lag.sum(1)
    ridge = 1e-3 * torch.eye(n, dtype=tau.dtype, device=tau.device)
    return -torch.linalg.solve(laplacian + ridge, later[..., None])[..., 0]


def out_degree(tau: Tensor, probability: Tensor) -> Tensor:
    """Score by the expected number of outgoing minus incoming edges; the lags' sizes do not count."""
    return probability.sum(1) - probability.sum(2)


READOUTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "first": first,
    "net_lead": net_lead,
    "literal": literal,
    "arrival": arrival,
    "out_degree": out_degree,
}


def focal_scores(tau: Tensor, probability: Tensor, mask: Tensor, readout: str = READOUT) -> Tensor:
    """Score channels by a named readout.

    Parameters
    ----------
    tau : tensor [B, C, C]
        Seconds, row = target.
    probability : tensor [B, C, C]
        Of the edges.
    mask : tensor [B, C] of bool
        Valid channels.
    readout : str
        One of `READOUTS`.

    Returns
    -------
    tensor [B, C]
        Higher: more likely the leading channel; masked: -inf.
    """
    if readout not in READOUTS:
        raise ValueError(f"readout is {readout!r}; known: {', '.join(READOUTS)}")
    return READOUTS[readout](tau, probability).masked_fill(~mask, -torch.inf)
