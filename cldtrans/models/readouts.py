"""Which channel leads: named functions of the lags and edge probabilities, and the single-source posterior.

The named functions read what the model inferred, and nothing else; the posterior reads the window itself.

tau [B, C, C] in seconds, row = target: tau_ij is how much later the target i carries what the source j did.
So a leading channel has edges in its *column*. All scores: higher = more likely the leading channel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from cldtrans.lag.single_source.focal import TAU_MAX_S, log_lead

READOUT = "arrival"  # the default


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


SHORTEST_S = 2.0


@torch.no_grad()
def single_source_lead(
    x: Num[Tensor, "B C T"],
    sample_rate: float,
    background: Num[Tensor, "*batch K C U"] | None,
    mask: Bool[Tensor, "B C"],
) -> Float[Tensor, "B C"]:
    """Compute the log posterior of the first channel, each window by itself.

    Parameters
    ----------
    x : tensor [B, C, T]
        Windows in any unit.
    sample_rate : float
        Hertz.
    background : tensor [B, K, C, U] or [K, C, U] or None
        Windows without a discharge, of each recording or of all of them; None: the start of each window.
    mask : tensor [B, C] of bool
        Valid channels.

    Returns
    -------
    tensor [B, C]
        Uniform where windows are shorter than `SHORTEST_S`, or have one channel; masked: -inf.
    """
    x = x if x.dtype == torch.float64 else x.float()
    if x.shape[-1] < SHORTEST_S * sample_rate or x.shape[1] < 2:
        even = -torch.log(mask.sum(-1, keepdim=True).clamp_min(1).to(x))
        return even.expand(mask.shape).masked_fill(~mask, -torch.inf)
    if background is not None:
        background = background.to(x).expand(len(x), *background.shape[-3:])
    tau_max = min(TAU_MAX_S, x.shape[-1] / sample_rate / 4)
    found = log_lead(x[:, None], sample_rate, background, mask, tau_max)
    # A flat channel has no discharge, and is no first one.
    return found.masked_fill(~mask, -torch.inf)
