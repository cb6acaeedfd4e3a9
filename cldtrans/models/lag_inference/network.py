"""Amortised lag inference: lags, their uncertainty and edge probabilities from the window itself.

A small network, the same for every pair of channels, refines the evidence of `lag_features`. It sees a
pair's evidence in both directions and averages over the pair's row and column, so it applies to any number of
channels and is equivariant under their permutations. Two still smaller ones come before it: the score of the
innovations (`innovations`), by which evidence is weighed, and the gate, which tells windows that one source
drives, with the shares of what is assumed of that source (`one_source`). With fresh weights the
evidence is that of least squares, the gate is half open, assumptions count by their own evidence, and the
network adds nothing to the reading.

tau_ij is the delay from source j to target i in seconds: x_i(t) contains x_j(t - tau_ij).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cldtrans.config import ModelConfig
from cldtrans.models.lag_inference.evidence import (
    FLOATS_AT_ONCE,
    OWN_LAGS,
    Covariances,
    LagEvidence,
    floats_a_target,
    pairs,
    standardise,
)
from cldtrans.models.lag_inference.innovations import LearnedScoreFunction
from cldtrans.models.lag_inference.one_source import OneSource, any_of, one_source
from cldtrans.models.lag_inference.pair_network import PairNetwork
from cldtrans.models.lag_inference.reading import (
    N_FEATURES,
    Gate,
    Shares,
    candidate_errors,
    candidate_lags,
    edge_reading,
    lag_reading,
    pair_readings,
)
from cldtrans.models.modality import RATE_HZ


@dataclass
class Lags:
    """What one window says about every ordered pair, row = target; zero where a channel is invalid."""

    tau: Float[Tensor, "B C C"]  # seconds, 0 <= tau <= tau_max
    tau_stderr: Float[Tensor, "B C C"]  # seconds, the network's own estimate of its error
    edge_logit: Float[Tensor, "B C C"]
    edge_probability: Float[Tensor, "B C C"]
    weight: Float[Tensor, "B C C"]  # signed coefficient for channels of unit variance
    own: Float[Tensor, "B C P"]  # coefficients of a channel's own past, lags 1..P samples
    candidates: Float[Tensor, "B C C K"]  # seconds, what tau chooses from: the models' lags, one source's
    choice: Float[Tensor, "B C C K"]  # logarithm of the share of each
    driven: Float[Tensor, " B"]  # probability that one source drives the window
    lead: Float[Tensor, "B C"]  # log posterior of the first channel, if so; -inf where not valid
    matching: Float[Tensor, "B C"]  # score matching loss of a channel's innovations

    def of(self, windows: slice) -> Lags:
        """Return the lags of some of the windows."""
        return Lags(*(getattr(self, field.name)[windows] for field in fields(self)))


class LagInference(nn.Module):
    """Reads `Lags` from windows.

    Parameters
    ----------
    config : ModelConfig
        Settings of the network.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.tau_max_s = dict(config.tau_max_s)
        self.sources = config.sources
        self.integer = config.lag == "integer"
        self.score = LearnedScoreFunction()
        self.gate, self.shares = Gate(), Shares()
        self.network = PairNetwork(N_FEATURES, config.pair_width, 2)

    def forward(
        self,
        x: Float[Tensor, "B C T"],
        mask: Bool[Tensor, "B C"],
        modality: str,
        source: OneSource | None = None,
    ) -> Lags:
        """Infer the lags of windows.

        Parameters
        ----------
        x : tensor [B, C, T]
            Windows at the modality's rate, in any unit.
        mask : tensor [B, C] of bool
            Valid channels.
        modality : one of "eeg", "ecg"
            Sets rate and largest lag.
        source : OneSource, optional
            What one source explains of them. Default: it is sought in x, without a background.
        """
        rate_hz, max_lag = RATE_HZ[modality], self.max_lag(modality)
        with torch.autocast(x.device.type, enabled=False):
            # The search for the best lag is a choice: in float64, rounding (hence the order of the channels)
            # does not decide it even where channels are sums of others.
            signal, alive = standardise(x.double(), mask)
            first, refitted = self._evidence(signal, alive, max_lag, x.dtype)
        if source is None:
            source = one_source(x, rate_hz, mask, modality, max_lag)
        return self.read(first, refitted, source, alive, max_lag, rate_hz)

    def max_lag(self, modality: str) -> int:
        """Return the end of the lag grid in samples."""
        return round(self.tau_max_s[modality] * RATE_HZ[modality])  # type: ignore[index]

    def _evidence(
        self, x: Tensor, mask: Tensor, max_lag: int, dtype: torch.dtype
    ) -> tuple[LagEvidence, LagEvidence]:
        """Gather evidence of models of any sources, and refitted; in parts that bound the memory, no more."""
        n_channels, n_samples = x.shape[1:]
        models = n_channels * floats_a_target(n_channels, max_lag, self.sources)
        spectra = 8 * n_channels * n_samples  # of overlapping frames of two signals, and their copies
        at_once = max(1, FLOATS_AT_ONCE // max(models, spectra))
        parts = []
        for part, valid in zip(x.split(at_once), mask.split(at_once), strict=True):
            parts.append(Covariances.of(part, valid, max_lag).evidence(self.sources, self.score))
        first, refitted = (LagEvidence.joined(some).to(dtype) for some in zip(*parts, strict=True))
        return first, refitted

    def read(
        self,
        first: LagEvidence,
        refitted: LagEvidence,
        source: OneSource,
        mask: Tensor,
        max_lag: int,
        sample_rate: float,
    ) -> Lags:
        """Read the evidence by the networks.

        Parameters
        ----------
        first, refitted : LagEvidence
            Of models with any sources, and with significant ones.
        source : OneSource
            Of one source.
        mask : tensor [B, C] of bool
            Valid channels.
        max_lag : int
            Samples.
        sample_rate : float
            Hertz.
        """
        pair, gate, share = pairs(mask), self.gate(first, source, mask), self.shares(source, mask)
        features = pair_readings(first, refitted, source, mask, max_lag, gate, share)
        delta = self.network(features, pair).to(refitted.score.dtype)
        edge, spread = delta.unbind(-1)
        choice = F.log_softmax(lag_reading(refitted, gate, share), -1)
        candidates = candidate_lags(refitted, source, max_lag)
        if self.integer:
            candidates = candidates.round()
        # The likeliest candidate: a mean of candidates is none of them. Gradients are those of the mean.
        mean = (choice.exp() * candidates).sum(-1)
        likeliest = choice.argmax(-1, keepdim=True)
        tau = candidates.gather(-1, likeliest)[..., 0] + (mean - mean.detach())
        error = candidate_errors(refitted, source, max_lag).gather(-1, likeliest)[..., 0]
        logit = edge_reading(refitted, source, gate, share) + edge
        spread = error * torch.exp(spread.clamp(-3, 3))

        def keep(value: Tensor) -> Tensor:
            return torch.where(pair, value, 0.0)

        return Lags(
            tau=keep(tau / sample_rate),
            tau_stderr=keep(spread / sample_rate),
            edge_logit=torch.where(pair, logit, -30.0),
            edge_probability=keep(torch.sigmoid(logit)),
            weight=keep(refitted.weight),
            own=refitted.own,
            candidates=candidates / sample_rate,
            choice=choice,
            driven=gate,
            lead=source.lead(share).to(tau),
            matching=self.score.matching(refitted.moments),
        )


class ZeroLag(nn.Module):
    """The no-lag ablation: tau = 0 and edges by zero-lag correlation, without parameters."""

    def forward(
        self,
        x: Float[Tensor, "B C T"],
        mask: Bool[Tensor, "B C"],
        modality: str,
        source: OneSource | None = None,
    ) -> Lags:
        """Read the edges of windows from their correlations; arguments as in `LagInference.forward`."""
        x, alive = standardise(x, mask)
        correlation = x @ x.transpose(1, 2) / x.shape[-1]
        pair = pairs(alive)
        correlation = torch.where(pair, correlation.clamp(-1, 1), 0.0)
        probability = correlation.abs()
        logit = torch.where(pair, torch.logit(probability.clamp(1e-4, 1 - 1e-4)), -30.0)
        zero = torch.zeros_like(correlation)
        return Lags(
            tau=zero,
            tau_stderr=zero,
            edge_logit=logit,
            edge_probability=probability,
            weight=correlation,
            own=x.new_zeros(*x.shape[:2], OWN_LAGS),
            candidates=zero[..., None],
            choice=zero[..., None],
            driven=x.new_zeros(len(x)),
            lead=any_of(alive).to(x),
            matching=x.new_zeros(x.shape[:2]),
        )
