"""A head of hazards: one logit an interval, for any network; the loss of its labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cldtrans.scoring.discrete_time import at_risk, times_of


def hazard_loss(logits: Tensor, y: Tensor, classes: Sequence[str]) -> Tensor:
    """Compute minus the mean log-likelihood of a discrete-time logistic hazard.

    Parameters
    ----------
    logits : tensor [B, K]
        Of the hazard in each interval.
    y : tensor [B, 2]
        Time in seconds, and 1 for an event or 0 for the end of follow-up.
    classes : sequence of str
        Ends of the intervals in seconds.
    """
    exposed, failed = (
        torch.as_tensor(part, device=logits.device).to(logits)
        for part in at_risk(y.cpu().numpy(), times_of(classes))
    )
    each = F.binary_cross_entropy_with_logits(logits, failed, reduction="none")
    return (each * exposed).sum() / len(logits)


def event_probabilities(logits: Tensor) -> Tensor:
    """Turn logits [n, K] of hazards into probabilities [n, K] of an event until each interval's end."""
    return 1 - torch.cumprod(torch.sigmoid(-logits), dim=-1)
