"""Each channel of a window in a few numbers: moments of latents and states, and a summary of its lags."""

from __future__ import annotations

import torch
from torch import Tensor

from cldtrans.models.lag_inference.network import Lags
from cldtrans.models.readouts import net_lead


def pool_channels(latents: Tensor, states: Tensor, lags: Lags) -> Tensor:
    """Pool each channel over time.

    Parameters
    ----------
    latents : tensor [B, C, L, D]
        Of the tokens.
    states : tensor [B, C, S, H]
        Of the ODE.
    lags : Lags
        Of the windows.

    Returns
    -------
    tensor [B, C, P]
        One vector a channel.
    """
    p, lag = lags.edge_probability, lags.edge_probability * lags.tau
    summaries = torch.stack([p.sum(1), p.sum(2), 10 * net_lead(lags.tau, p).abs(), 10 * lag.sum(2)], -1)
    parts = [*_moments(latents), latents.amax(2), *_moments(states), summaries]
    return torch.cat([part.to(latents.dtype) for part in parts], -1)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over time, dimension 2."""
    variance, mean = torch.var_mean(values, 2, correction=0)
    return mean, (variance + 1e-8).sqrt()
