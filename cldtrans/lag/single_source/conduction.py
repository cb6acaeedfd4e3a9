"""What channels see of each other's discharge without delay, integrated out of the judgement of delays.

    X_c(f) = [g_c exp(-2 pi i f d_c) + sum_(j != c) o_cj v_j(f)] s(f) + N_c(f),   o_cj ~ N(0, CONDUCTED^2)

Volume conduction shows a channel's neighbours its discharge at once. So a neighbour of the lead has something
as early as the lead has, and the lead has what reaches its neighbours later: one delay a channel is then
between those. What tells is size: a channel's own discharge may be of any, what it sees of others is less.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from cldtrans.lag.single_source.discharge import Found, Inference, State, judged
from cldtrans.lag.single_source.grids import parts, power

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
    plain = torch.logsumexp(judged(b, a[..., None]).log_bayes, -1)
    kappa, count, paths = inference.grids.kappa, b.shape[2], inference.paths
    weight = 2 * kappa * _rows(compared.weight.sum(2))  # [B, R, C, F]
    match = 2 * kappa * _rows(compared.match.sum(2))
    v = _rows(state.mean[:, :, 0])

    # The others' discharges as regressors beside the channel's own, [B, R, C, J].
    heard = power(v).sum(-1).topk(min(count, MOST), -1).indices  # [B, R, J]
    others = (heard[:, :, None] != torch.arange(count, device=b.device)[:, None]).to(b)  # [B, R, C, J]
    v = v.gather(2, heard[..., None].expand(-1, -1, -1, v.shape[-1]))
    count = v.shape[2]
    sides = parts(v)
    weighted = weight.repeat_interleave(2, -1)[..., None, :] * sides[:, :, None]  # [B, R, C, J, 2 F]
    gram = (weighted @ sides[:, :, None].mT) * others[..., :, None] * others[..., None, :]
    gram = gram + torch.eye(count, dtype=b.dtype, device=b.device) / CONDUCTED**2
    root = torch.linalg.cholesky(gram)
    inverse = torch.linalg.solve_triangular(root, torch.eye(count).to(b).expand_as(root), upper=False)
    seen = (parts(match) @ sides.mT) * others
    shown = inverse @ seen[..., None]
    share = (inverse.mT @ shown)[..., 0]  # their mean, if alone

    explained = weight * (share.to(v.dtype) @ v)
    b = b - paths.at_delays(explained.flatten(1, 2)[:, :, None]).unflatten(1, b.shape[1:3])
    along = paths.parts_at_delays(weighted.flatten(1, 3), COARSER).unflatten(1, (*b.shape[1:3], count))
    along = inverse @ (along * others[..., None])
    taken = torch.nn.functional.interpolate(
        along.square().sum(-2), b.shape[-2:], mode="bicubic", align_corners=True
    )
    found = judged(b, (a[..., None] - taken).clamp_min(0))

    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1) + count * math.log(CONDUCTED)
    mixing = shown.square().sum((-2, -1)) / 2 - log_det
    gained = torch.logsumexp(found.log_bayes, -1) - plain + mixing
    return found, (gained * inference.valid[:, None]).sum(-1)


def _rows(z: Complex[Tensor, "B R S C m"] | Float[Tensor, "B R S C m"]) -> Tensor:
    """Put the bins of a channel side by side, [B, R, C, F]."""
    return z.transpose(2, 3).flatten(-2)
