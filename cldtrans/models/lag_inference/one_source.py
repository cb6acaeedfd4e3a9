"""What the single-source model says of windows (`cldtrans.lag.single_source`), as the lag network reads it.

Where one source drives many channels, conditioning explains everything by everything. Then delays and the
order of the channels are those of one waveform that reaches each of them, in noise that is known from the
recording's other windows, or from the start of the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cldtrans.lag.single_source.focal import TAU_MAX_S, log_mixture, read
from cldtrans.lag.single_source.order import precedence
from cldtrans.models.modality import RATE_HZ

SHORTEST_S = 2.0  # of a window in which a source is looked for
LEAST = 1e-4  # of a probability


@dataclass
class OneSource:
    """What one source explains of windows [B], under each of M assumptions; lags in samples of the modality.

    The assumptions are those of `cldtrans.lag.single_source.assumptions`, all of them or the first M.
    """

    arrival: Float[Tensor, "B M C"]  # from an origin that channels share
    spread: Float[Tensor, "B M C"]  # its standard error
    carries: Float[Tensor, "B M C"]  # probability that a channel has the discharge
    follows: Float[Tensor, "B M C C"]  # that both have it, and the row's channel later, within the lag grid
    log_first: Float[Tensor, "B M C"]  # log posterior of the first channel; -inf where not valid
    evidence: Float[Tensor, "B M"]  # nats, against noise alone
    log_share: Float[Tensor, "B M"]  # log posterior of the assumptions, before anything is learned
    valid: Bool[Tensor, "B C"]
    quiet: Float[Tensor, " B"]  # 1 where windows without a discharge were given
    looked: Float[Tensor, " B"]  # 0 where no source was looked for, or windows are too short for it

    def of(self, windows: slice) -> OneSource:
        """Return what is said of some of the windows."""
        return OneSource(*(getattr(self, field.name)[windows] for field in fields(self)))

    def among(self, some: Bool[Tensor, " B"], mask: Bool[Tensor, "B C"]) -> OneSource:
        """Return the same for more windows, of which these are `some`; nothing is said of the others."""
        every = _nothing(self.arrival.new_zeros(len(mask), 1, *mask.shape[1:], 1), mask)
        for field in fields(self):
            mine, rest = getattr(self, field.name), getattr(every, field.name)
            rest = rest.expand(len(mask), *mine.shape[1:]).clone()
            rest[some] = mine
            setattr(every, field.name, rest)
        return every

    def later(self) -> Float[Tensor, "B C C M"]:
        """Return how much later a discharge reaches the row's channel than the column's, samples."""
        return (self.arrival[..., :, None] - self.arrival[..., None, :]).movedim(1, -1)

    def later_error(self) -> Float[Tensor, "B C C M"]:
        """Return the standard errors of these, samples."""
        power = self.spread.square()
        return (power[..., :, None] + power[..., None, :]).sqrt().movedim(1, -1)

    def lead(self, log_share: Float[Tensor, "B M"]) -> Float[Tensor, "B C"]:
        """Mix the posteriors of the first channel by shares of the assumptions; -inf where not valid."""
        return log_mixture(self.log_first, self.valid, log_share)


@torch.no_grad()
def one_source(
    x: Float[Tensor, "B *windows C T"],
    sample_rate: float,
    mask: Bool[Tensor, "B C"],
    modality: str,
    max_lag: int,
    background: Float[Tensor, "*batch K C U"] | None = None,
    look: Bool[Tensor, " B"] | None = None,
) -> OneSource:
    """Look for one source in windows.

    The model's frequencies and delays are those of EEG. A sample of the ECG counts as long as one of the
    EEG, as in everything else that the networks see: its waves are as much faster as it is sampled faster.

    Parameters
    ----------
    x : tensor [B, C, T] or [B, N, C, T]
        Windows, in any unit; N of each discharge, which share its delays and gains.
    sample_rate : float
        Hertz.
    mask : tensor [B, C] of bool
        Valid channels.
    modality : one of "eeg", "ecg"
        Of the windows.
    max_lag : int
        Longest lag of a pair, samples of the modality.
    background : tensor [B, K, C, U] or [K, C, U], optional
        Windows without a discharge, of each recording or of all of them, in the unit of x. Default: the start
        of each window.
    look : tensor [B] of bool, optional
        In which windows a source is looked for; nothing is said of the others. Default: in all.
    """
    rate_hz = sample_rate * RATE_HZ["eeg"] / RATE_HZ[modality]
    with torch.autocast(x.device.type, enabled=False):
        x = x if x.dtype == torch.float64 else x.float()
        x = x[:, None] if x.dim() == 3 else x
        if x.shape[-1] < SHORTEST_S * rate_hz or x.shape[2] < 2:
            return _nothing(x, mask)
        if background is not None:
            background = background.to(x).expand(len(x), *background.shape[-3:])
        if look is not None and not look.all():
            if not look.any():
                return _nothing(x, mask)
            quiet = None if background is None else background[look]
            found = one_source(x[look], sample_rate, mask[look], modality, max_lag, quiet)
            return found.among(look, mask)
        tau_max = min(TAU_MAX_S, x.shape[-1] / rate_hz / 4)
        reading = read(x, rate_hz, background, mask, tau_max)
        carries = reading.takes_part
        samples = RATE_HZ["eeg"]
        return OneSource(
            arrival=reading.delay * samples * reading.valid[:, None],
            spread=reading.spread * samples,
            carries=carries,
            follows=precedence(reading, max_lag / samples),
            log_first=reading.log_first,
            evidence=reading.evidence,
            log_share=reading.log_share,
            valid=reading.valid & mask,
            quiet=x.new_full((len(x),), float(background is not None)),
            looked=x.new_ones(len(x)),
        )


def _nothing(x: Tensor, mask: Tensor) -> OneSource:
    """Say nothing of windows [B, N, C, T]: any channel may be the first."""
    flat = x.new_zeros(len(x), 1, x.shape[2])
    return OneSource(
        arrival=flat,
        spread=flat + 1.0,
        carries=flat,
        follows=flat[..., None].expand(*flat.shape, x.shape[2]),
        log_first=any_of(mask).to(x)[:, None].expand(flat.shape),
        evidence=flat[..., 0],
        log_share=flat[..., 0],
        valid=mask,
        quiet=flat[:, 0, 0],
        looked=flat[:, 0, 0],
    )


def any_of(mask: Bool[Tensor, "B C"]) -> Float[Tensor, "B C"]:
    """Return the log posterior of the first channel where nothing is known of it; -inf where masked."""
    even = -torch.log(mask.sum(-1, keepdim=True).clamp_min(1).float())
    return even.expand(mask.shape).masked_fill(~mask, -math.inf)
