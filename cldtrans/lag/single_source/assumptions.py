"""What is assumed of a discharge, side by side: misfit, conduction, drift.

How much of it one delay a channel leaves unexplained; whether channels see each other's without delay;
whether delays drift.

Plain, for each of `MISFITS`; conducted, under the largest of them; drifting, for each of `DRIFTS`. Delays
that drift are the same within a part of the window, and a known multiple of their mean from part to part.
Whether they do is judged on the parts alone: with and without drift, under the same noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldtrans.lag.single_source.conduction import judge_beyond
from cldtrans.lag.single_source.discharge import Inference
from cldtrans.lag.single_source.grids import Grids, Paths
from cldtrans.lag.single_source.noise import MISFITS, Misfit, Quiet, whitened

STARTS, TRIED = 8, 3  # channels that may start it; rounds with each
REFINED = 3  # rounds with the best start
STARTS_IN_PARTS, TRIED_IN_PARTS = 2, 1
SMALL, FIRST, LARGE = 0, 1, 2  # of the misfits; `FIRST` chooses the start, and judges drift
DRIFTS = (0.5, -0.5)  # delays run from 1 - drift to 1 + drift times their mean
PARTS, PART_S = 3, 2.0  # of a window; shorter ones hold too little
RARE = 10.0, 40.0  # nats that conduction and drift have to gain to be believed as much as neither


@dataclass(frozen=True)
class Assumption:
    """One of the things that are assumed."""

    misfit: Misfit
    conducted: bool = False
    drift: float = 0.0


ASSUMPTIONS = (
    *(Assumption(misfit) for misfit in MISFITS),
    Assumption(MISFITS[LARGE], conducted=True),
    *(Assumption(MISFITS[FIRST], drift=drift) for drift in DRIFTS),
)
"""In the order of M; windows whose parts are too short to tell of delays lack those that drift."""


@dataclass
class Discharge:
    """The discharge of each window under each of M assumptions."""

    log_bayes: Float[Tensor, "B M C D"]  # for "the discharge is here with this delay" against "not here"
    evidence: Float[Tensor, "B M"]  # nats, against noise alone
    log_share: Float[Tensor, "B M"]  # posterior of the assumption


def find(x: Float[Tensor, "B N C T"], quiet: Quiet, grids: Grids) -> Discharge:
    """Find the discharge of windows under every assumption.

    Parameters
    ----------
    x : tensor [B, N, C, T]
        Windows; the N share delays and gains.
    quiet : Quiet
        Their noise, on `grids`.
    grids : Grids
        Of the windows.
    """
    n_misfits = len(MISFITS)
    noise = whitened(x, quiet, grids)
    still = Paths(grids)

    def under(number: int) -> Inference:
        return Inference(noise.spectrum, noise.precision[:, number], noise.valid, grids, still)

    every = Inference(
        noise.spectrum.repeat_interleave(n_misfits, 0),
        noise.precision.flatten(0, 1),
        noise.valid.repeat_interleave(n_misfits, 0),
        grids,
        still,
    )
    state, found = every.refine(under(FIRST).begin(STARTS, TRIED).repeated(n_misfits), REFINED)
    plain = every.evidence(state, found)[:, 0].unflatten(0, (-1, n_misfits))
    alone = every.log_noise().unflatten(0, (-1, n_misfits)) + grids.kappa * noise.log_det
    each, chosen = state.split(n_misfits), found.split(n_misfits)
    beyond, conducted = judge_beyond(under(LARGE), each[LARGE])
    log_bayes = [one.log_bayes.mT for one in (*chosen, beyond)]
    gained = [torch.zeros_like(conducted), conducted]
    if _holds_parts(grids):
        drifting, more = _drifting(x, quiet, grids)
        log_bayes.append(drifting)
        gained.append(more)
    gains = torch.cat(gained, 1)  # [B, 1 + 1 + A]
    return Discharge(
        torch.cat(log_bayes, 1),
        torch.cat([plain, plain.amax(1, keepdim=True) + gains[:, 1:]], 1),
        _log_share(plain + alone, gains),
    )


def _holds_parts(grids: Grids) -> bool:
    """Tell whether parts of a window are long enough to tell of delays."""
    part_s = grids.n_samples / grids.sample_rate / PARTS
    return grids.stripes >= 4 and part_s >= max(PART_S, 2 * grids.tau_max)


def _drifting(x: Tensor, quiet: Quiet, grids: Grids) -> tuple[Tensor, Tensor]:
    """Look for delays that drift.

    It begins anew: from what is found without drift, a discharge with it is not reached any more.

    Returns log Bayes factors [B, A, C, D], and what drift gains, nats [B, A].
    """
    length = grids.n_samples // PARTS
    x = x[..., : PARTS * length].unflatten(-1, (PARTS, length)).transpose(2, 3).flatten(1, 2)
    short = Grids(length, grids.sample_rate, grids.tau_max, x)
    noise = whitened(x, quiet.on(grids, short), short, (MISFITS[FIRST],))
    middle = [(k + 0.5) / PARTS for k in range(PARTS)]
    factors = tuple(tuple(1 + drift * (2 * m - 1) for m in middle) for drift in (0.0, *DRIFTS))
    count = len(factors)
    inference = Inference(
        noise.spectrum.repeat_interleave(count, 0),
        noise.precision[:, 0].repeat_interleave(count, 0),
        noise.valid.repeat_interleave(count, 0),
        short,
        Paths(short, factors),
    )
    state, found = inference.refine(inference.begin(STARTS_IN_PARTS, TRIED_IN_PARTS), REFINED)
    evidence = inference.evidence(state, found)[:, 0].unflatten(0, (-1, count))
    return found.log_bayes[:, 0].mT.unflatten(0, (-1, count))[:, 1:], evidence[:, 1:] - evidence[:, :1]


def _log_share(plain: Float[Tensor, "B M"], gained: Float[Tensor, "B G"]) -> Float[Tensor, "B E"]:
    """Return the posteriors of assumptions: log likelihoods of the plain ones, and what the others gain.

    What is left of a discharge is alike in channels and from bin to bin, so that misfits cost more than their
    likelihood says: the smallest one never has more than half of what is plain, the others are alike.
    """
    rare = gained.new_tensor((0.0, RARE[0], *(RARE[1] for _ in DRIFTS)))[: gained.shape[1]]
    kind = torch.log_softmax(gained - rare, 1)
    small = F.logsigmoid(plain[:, SMALL] - plain[:, FIRST]) - math.log(2)
    others = torch.log1p(-small.exp()) - math.log(len(MISFITS) - 1)
    within = torch.stack([small] + [others] * (len(MISFITS) - 1), 1)
    return torch.cat([kind[:, :1] + within, kind[:, 1:]], 1)
