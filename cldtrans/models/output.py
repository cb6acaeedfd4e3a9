"""What the network says of windows, and what training needs beside it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from cldtrans.models.graph_ode import Trajectory
from cldtrans.models.lag_inference.network import Lags
from cldtrans.models.motifs import Codes


@dataclass
class Output:
    """What the model says about a batch of windows; tau_ij is the delay from source j to target i.

    Attributes
    ----------
    tau : tensor [B, C, C]
        Lags in seconds.
    tau_stderr : tensor [B, C, C]
        Estimated error of tau, seconds.
    edge_probability : tensor [B, C, C]
        Of each pair.
    adjacency : tensor [B, knots, C, C]
        Signed, sparse, over time.
    focal_scores : tensor [B, C]
        Higher: more likely the leading channel; masked: -inf. A function of tau and edge_probability.
    lead : tensor [B, C]
        Log posterior of the first channel, were it one source that drives the window; masked: -inf.
    pooled : tensor [B, F] of float
        What heads and probes see, the same for any order of the channels: blocks as `CLDTrans.blocks` names
        them.
    channels : tensor [B, C, P]
        Of each channel: moments of latents and states over time, and a summary of its lags. No head sees it.
    tokens : tensor [B, C, L] or None
        Codebook entries; None without a codebook.
    logits : tensor [B, K] or None
        Of the chosen task.
    task : str or None
        The chosen task.
    nfe : int
        Evaluations of the ODE's right-hand side.
    """

    tau: Float[Tensor, "B C C"]
    tau_stderr: Float[Tensor, "B C C"]
    edge_probability: Float[Tensor, "B C C"]
    adjacency: Float[Tensor, "B knots C C"]
    focal_scores: Float[Tensor, "B C"]
    lead: Float[Tensor, "B C"]
    pooled: Float[Tensor, "B F"]
    channels: Float[Tensor, "B C P"]
    tokens: Int[Tensor, "B C L"] | None
    logits: Float[Tensor, "B K"] | None
    task: str | None
    nfe: int


@dataclass
class Encoding:
    """The same, with everything that training needs."""

    x: Float[Tensor, "B C T"]  # standardised, at the modality's rate
    scale: Float[Tensor, "B C"]  # deviation that each channel had
    mask: Bool[Tensor, "B C"]  # valid and not flat
    modality: str
    codes: Codes
    lags: Lags
    path: Float[Tensor, "B C S D"]  # control path before anything is hidden
    adjacency: Float[Tensor, "B knots C C"]
    trajectory: Trajectory
