"""What channels see of each other's discharge without delay, integrated out of the judgement of delays.

    X_c(f) = [g_c exp(-2 pi i f d_c) + sum_(j != c) o_cj v_j(f)] s(f) + N_c(f),   o_cj ~ N(0, CONDUCTED^2)

Volume conduction shows a channel's neighbours its discharge at once. So a neighbour of the lead has something
as early as the lead has, and the lead has what reaches its neighbours later: one delay a channel is then
between those. What tells is size: a channel's own discharge may be of any, what it sees of others is less.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from cldtrans.lag.single_source.discharge import Found, Inference, State, judged

CONDUCTED = 0.2  # standard deviation of the share of another channel's discharge that a channel sees
MOST = 24  # channels that others see: those with the most discharge
COARSER = 2  # steps of delay, for the share of a gain's precision that others take: it is smooth


def judge_beyond(inference: Inference, state: State) -> tuple[Found, Float[Tensor, "B R"]]:
    """Judge each channel's delays by what no mixture of the other channels' discharges explains.

    Parameters
    ----------
    inference : Inference
        Of windows [B].
    state : State
        The discharge without conduction, V = 1.

    Returns
    -------
    found : Found
        Posteriors of the channels' own gains and delays.
    gained : tensor [B, R]
        Log likelihood ratio of "conducted" to "not at all", each channel given the others, summed.
    """
    compared = inference.compare(state)
    a, b = inference.projections(compared)
    plain = torch.logsumexp(judged(b, a[..., None, :]).log_bayes, -2)
    kappa, count, paths = inference.grids.kappa, b.shape[-1], inference.paths
    weight = 2 * kappa * compared.weight.sum(2)[..., None, :, :]
    match = 2 * kappa * compared.match.sum(2)
    weight, match, v = _rows(weight.expand_as(match)), _rows(match), _rows(state.mean[:, :, 0])

    # The others' discharges as regressors beside the channel's own, [B, R, C, J].
    heard = v.square().sum(-1).topk(min(count, MOST), -1).indices  # [B, R, J]
    others = (heard[:, :, None] != torch.arange(count, device=b.device)[:, None]).to(b)  # [B, R, C, J]
    v = v.gather(2, heard[..., None].expand(-1, -1, -1, v.shape[-1]))
    count = v.shape[2]
    weighted = weight[..., None, :] * v[:, :, None]  # [B, R, C, J, G]
    gram = (weighted @ v[:, :, None].mT) * others[..., :, None] * others[..., None, :]
    gram = gram + torch.eye(count, dtype=b.dtype, device=b.device) / CONDUCTED**2
    root = torch.linalg.cholesky(gram)
    inverse = torch.linalg.solve_triangular(root, torch.eye(count).to(b).expand_as(root), upper=False)
    seen = (match @ v.mT) * others
    shown = inverse @ seen[..., None]
    share = (inverse.mT @ shown)[..., 0]  # their mean, if alone

    explained = (weight * (share @ v)).mT.unflatten(2, compared.match.shape[3:6])
    b = b - paths.at_delays(explained[:, :, None])
    along = inverse @ (paths.rows_at_delays(weighted, COARSER) * others[..., None])
    taken = torch.nn.functional.interpolate(
        along.square().sum(-2), (a.shape[-1], b.shape[-2]), mode="bicubic", align_corners=True
    )
    found = judged(b, (a[..., None, :] - taken.mT).clamp_min(0))

    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1) + count * math.log(CONDUCTED)
    mixing = shown.square().sum((-2, -1)) / 2 - log_det
    gained = torch.logsumexp(found.log_bayes, -2) - plain + mixing
    return found, (gained * inference.valid[:, None]).sum(-1)


def _rows(z: Float[Tensor, "B R S 2 m C"]) -> Float[Tensor, "B R C G"]:
    """Put the bins of a channel side by side."""
    return z.flatten(2, 4).mT.contiguous()
