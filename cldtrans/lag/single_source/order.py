"""Which of two channels a discharge reaches first."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cldtrans.lag.single_source.focal import Reading
from cldtrans.lag.single_source.grids import STEP_S


def precedence(reading: Reading, longest_s: float) -> Float[Tensor, "B M C C"]:
    """Return how likely a discharge is in both channels, and later in the row's, by `longest_s` at most.

    Channels are taken one by one given the waveform, as the model has them: row i follows column j with
    `p_i p_j sum_d q_i(d) sum_(e < d, d - e <= longest) q_j(e)`, q the posterior of a channel's delay.

    Parameters
    ----------
    reading : Reading
        Of windows [B], under M noises.
    longest_s : float
        Seconds.
    """
    share = torch.softmax(reading.log_bayes, -1) * reading.takes_part[..., None]
    reach = min(share.shape[-1] - 1, round(longest_s / STEP_S))
    until = torch.nn.functional.pad(share.cumsum(-1), (reach + 1, 0))  # at d: all up to d - reach - 1
    before = until[..., reach:-1] - until[..., : -reach - 1]
    follows = share @ before.mT
    return follows - torch.diag_embed(follows.diagonal(dim1=-2, dim2=-1))
