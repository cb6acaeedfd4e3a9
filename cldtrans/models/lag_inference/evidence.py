"""Closed-form evidence for lagged edges in one window: what the lag network refines.

Everything here follows from short tables of lagged covariances; no dense [C, C, T] tensor appears. Sparse
linear models grown for each target (`lag_search`) give each pair's significance given all others
(`lag_score`), and once more, grown of the significant sources alone, on what the score of the first models'
innovations makes of the targets (`innovations`). Where one coherent source drives everything, conditioning
explains it away: that is for `one_source`.

All of it is equivariant under permutations of the channels, and nothing is differentiated: the only
parameters before this point are the score's, which learn from the residuals' moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from cldtrans.models.lag_inference.covariances import SINC_TAPS, lagged_covariance, standardise, two_sided
from cldtrans.models.lag_inference.fitting import Sums, corrected, refine
from cldtrans.models.lag_inference.growing import NOISE_FLOOR, OWN_LAGS, Bare, grow, own_past
from cldtrans.models.lag_inference.innovations import ScoreFunction, least_squares
from cldtrans.models.lag_inference.significance import significance

__all__ = ["OWN_LAGS", "Covariances", "LagEvidence", "standardise"]


@dataclass
class LagEvidence:
    """Evidence for each ordered pair, row = target; lags in samples."""

    score: Tensor  # [B, C, C] |t| of the pair's best lag given the other sources
    tau: Tensor  # [B, C, C] its lag
    tau_error: Tensor  # [B, C, C] standard error of that, at most a quarter of the lag grid, which it is for
    # pairs that are in no model
    weight: Tensor  # [B, C, C] its coefficient, channels of unit variance
    selected: Tensor  # [B, C, C] bool: in the grown model of the target
    own: Tensor  # [B, C, OWN_LAGS] coefficients of the target's own past in that model
    noise: Tensor  # [B, C] residual variance of that model
    efficiency: Tensor  # [B, C] how much more than least squares the innovations' score tells
    moments: Tensor  # [B, C, N_MOMENTS] of the residuals, from which the score is learned
    marginal: Tensor  # [B, C, C] largest |t| of the pair given only the target's own past
    marginal_tau: Tensor  # [B, C, C]

    def to(self, dtype: torch.dtype) -> LagEvidence:
        """Return the numbers as `dtype`."""
        values = (getattr(self, f.name) for f in fields(self))
        return LagEvidence(*(v.to(dtype) if v.is_floating_point() else v for v in values))

    @classmethod
    def joined(cls, parts: Sequence[LagEvidence]) -> LagEvidence:
        """Join the windows of all parts."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))


FLOATS_AT_ONCE = 5 * 2**19  # of the largest table, over the windows and targets worked on together
SIGNIFICANT = 3.7  # |t| that the best of 49 lags reaches by chance in one pair of a hundred
LEAST_ERROR = 0.02  # of a lag, samples
TAPER = 0.05  # share of a window over which its covariances fade in, and out


def taper(n_samples: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return a cosine-tapered window of mean square 1, [T].

    Covariances of a window that ends with a jump are biased, the more the narrower the rhythm: for poles of
    radius 0.97 the median error of a lag falls from 4.7 to 2.7 samples (Tukey 1967).
    """
    n_fade = max(1, round(TAPER * n_samples))
    steps = torch.arange(n_fade, dtype=dtype, device=device) + 0.5
    fade = torch.sin(0.5 * torch.pi * steps / n_fade).square()
    weight = torch.ones(n_samples, dtype=dtype, device=device)
    weight[:n_fade], weight[-n_fade:] = fade, fade.flip(0)
    return weight / weight.square().mean().sqrt()


def pairs(mask: Tensor) -> Tensor:
    """Find the ordered pairs of two different valid channels.

    Parameters
    ----------
    mask : tensor [B, C] of bool
        Valid channels.

    Returns
    -------
    tensor [B, C, C] of bool
        True for such a pair.
    """
    return (
        mask[:, :, None] & mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    )


@dataclass
class Covariances:
    """Windows in the form in which models of their channels are grown and fitted."""

    wide: Tensor  # [B, C, C, n] of the tapered windows, around lag 0
    sums: Sums
    pair: Tensor  # [B, C, C] bool: two different valid channels

    @classmethod
    @torch.no_grad()
    def of(cls, x: Tensor, mask: Tensor, max_lag: int) -> Covariances:
        """Compute the covariances of windows for lags 0 to `max_lag`.

        Parameters
        ----------
        x : tensor [B, C, T]
            Standardised windows, zeros where not `mask`.
        mask : tensor [B, C] of bool
            Valid channels.
        max_lag : int
            Samples.
        """
        channel = torch.arange(x.shape[1], device=x.device)
        tapered = x * taper(x.shape[-1], x.dtype, x.device)
        table = lagged_covariance(tapered, tapered, max_lag + SINC_TAPS)
        table[:, channel, channel, 0] += NOISE_FLOOR
        return cls(two_sided(table), Sums.of(x, max_lag), pairs(mask))

    @torch.no_grad()
    def evidence(self, sources: int, score: ScoreFunction = least_squares) -> tuple[LagEvidence, LagEvidence]:
        """Gather the evidence of models grown whatever their sources are, and of refitted ones.

        The latter have significant sources alone, and are grown on pseudo-responses of the first models.
        Sources that a model does not need blur what it says of the others, the more the narrower their
        rhythms, where one lag is nearly as good as the next.

        Parameters
        ----------
        sources : int
            Most sources a target.
        score : callable
            Score function of the innovations.

        Returns
        -------
        first, refitted : LagEvidence
            Of models with any sources, and with significant ones.
        """
        # Some targets at a time are modelled: this bounds the memory.
        n_windows, n_channels = self.pair.shape[:2]
        floats = floats_a_target(n_channels, self.sums.max_lag, sources)
        n_parts = -(-n_windows * n_channels * floats // FLOATS_AT_ONCE)
        at_once = -(-n_channels // n_parts)
        parts = []
        for begin in range(0, n_channels, at_once):
            targets, most = slice(begin, begin + at_once), min(sources, n_channels - 1)
            bare = own_past(self.wide, self.pair[:, targets], targets, self.sums.max_lag, most)
            of_any, correction = self._of_targets(bare, score)
            allowed = (of_any["score"] > SIGNIFICANT) & bare.pair
            parts.append((of_any, self._of_targets(bare, score, allowed, correction)[0]))
        first, refitted = (
            LagEvidence(**{name: torch.cat([part[name] for part in some], 1) for name in some[0]})
            for some in zip(*parts, strict=True)
        )
        return first, refitted

    def _of_targets(
        self,
        bare: Bare,
        score: ScoreFunction,
        allowed: Tensor | None = None,
        correction: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return what the models of some targets say, [B, C', ...], and their corrections.

        These are the covariances [B, C', C, n] of pseudo-responses less responses, lags from -SINC_TAPS.
        """
        x, sums, pair, max_lag = self.sums.x, self.sums, bare.pair, bare.max_lag
        ahead = None if correction is None else correction[..., SINC_TAPS:]
        grown = grow(bare, x.shape[-1], allowed, ahead)
        tau = grown.lag.to(x.dtype)  # whole samples do to tell which sources are significant
        if correction is not None:
            sums = corrected(sums, grown, correction)
            tau = refine(sums, grown, tau)
        found = significance(sums, grown, tau, score)
        widest = 0.25 * max_lag
        count = torch.zeros(pair.shape, dtype=x.dtype, device=x.device)
        selected = count.scatter_add(2, grown.source, grown.used.to(x.dtype)) > 0

        def place(values: Tensor, elsewhere: Tensor) -> Tensor:
            """[B, C', K] of the selected regressors -> [B, C', C]; unused ones may name any source."""
            own = torch.zeros_like(elsewhere).scatter_add(2, grown.source, values * grown.used)
            return torch.where(pair, torch.where(selected, own, elsewhere), 0.0)

        fields = {
            "score": place(found.t, found.partial),
            "tau": place(found.tau, found.partial_lag),
            "tau_error": place(
                found.tau_error.clamp(LEAST_ERROR, widest), torch.full_like(found.partial, widest)
            ),
            "weight": place(found.weight, found.partial_weight),
            "selected": selected & pair,
            "own": found.own,
            "noise": found.noise,
            "efficiency": found.efficiency,
            "moments": found.moments,
            "marginal": torch.where(pair, grown.marginal, 0.0),
            "marginal_tau": torch.where(pair, grown.marginal_lag.to(x.dtype), 0.0),
        }
        return fields, found.correction


def floats_a_target(n_channels: int, max_lag: int, sources: int) -> int:
    """Return the size of the largest table that growing one target's model takes."""
    return n_channels * (max_lag + 1) * (OWN_LAGS + sources)
