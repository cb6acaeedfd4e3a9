"""Who leads a discharge: `focal_lead`, and the same for batches inside a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cldtrans.errors import DataError
from cldtrans.lag.inputs import read_input
from cldtrans.lag.single_source.assumptions import FIRST, find
from cldtrans.lag.single_source.grids import Grids
from cldtrans.lag.single_source.leading import TAKES_PART, likeliest, log_first
from cldtrans.lag.single_source.noise import quiet_of
from cldtrans.lag.views.pairs import Pairs, PairViews, named, needs

if TYPE_CHECKING:
    import pandas as pd
    import xarray

TAU_MAX_S = 0.75
TOGETHER = 64
"""Channels, in windows that a CPU reads at once: what they need stays in its caches."""
UNKNOWN_NOISE = 333.0
"""Nats of evidence that one quiet window in twenty has where its own start is all that is known of noise.

Measured on 10-s windows of 18 bipolar channels (docs/focal_lead.md); for other sizes it is a guess.
"""
NONE_OF_THESE = 0.01
"""Probability that no model of the noise fits: then any channel may be the first."""
SHARPER = 1.4
"""Exponent of the posterior of the first channel: without it, the channel named is it more often than said.

Measured on planted discharges (docs/focal_lead.md).
"""
SURELY = 0.9
"""Participation of two channels at least, where a source is said to be there."""


@dataclass
class Reading:
    """What windows [B] say of the discharge in them, under each of M assumptions.

    Attributes
    ----------
    log_first : tensor [B, M, C]
        Log posterior of the first channel; -inf where not valid.
    takes_part : tensor [B, M, C]
        Probability that a channel carries the discharge, given that there is one.
    delay, spread : tensor [B, M, C]
        Likeliest delay of a channel, seconds, from an origin that channels share, and its standard error.
    evidence : tensor [B, M]
        Nats, against noise alone.
    log_share : tensor [B, M]
        Log posterior of the assumption.
    valid : tensor [B, C] of bool
        Channels that hold anything.
    log_bayes : tensor [B, M, C, D]
        Log Bayes factor of each delay of a channel, against "the discharge is not here".
    """

    log_first: Float[Tensor, "B M C"]
    takes_part: Float[Tensor, "B M C"]
    delay: Float[Tensor, "B M C"]
    spread: Float[Tensor, "B M C"]
    evidence: Float[Tensor, "B M"]
    log_share: Float[Tensor, "B M"]
    valid: Bool[Tensor, "B C"]
    log_bayes: Float[Tensor, "B M C D"]


def read(
    x: Float[Tensor, "B N C T"],
    sample_rate: float,
    background: Float[Tensor, "B K C U"] | None,
    mask: Bool[Tensor, "B C"],
    tau_max: float,
) -> Reading:
    """Read the discharges of windows, each from N windows that share its delays and gains.

    Parameters
    ----------
    x : tensor [B, N, C, T]
        Windows.
    sample_rate : float
        Hertz.
    background : tensor [B, K, C, U] or None
        Windows of the same recording without a discharge, in the same unit.
    mask : tensor [B, C] of bool
        Valid channels; others may hold anything.
    tau_max : float
        Largest delay, seconds.
    """
    together = max(1, TOGETHER // x.shape[2]) if x.device.type == "cpu" else len(x)
    parts = [
        _read(x[at], sample_rate, None if background is None else background[at], mask[at], tau_max)
        for at in (slice(k, k + together) for k in range(0, max(1, len(x)), together))
    ]
    if len(parts) == 1:
        return parts[0]
    return Reading(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Reading)))


def _read(x: Tensor, sample_rate: float, background: Tensor | None, mask: Tensor, tau_max: float) -> Reading:
    """Read some of the windows."""
    x = _centred(x, mask)
    # One scale for all: the values are squared, and single precision has its limits.
    unit = x.detach().square().mean((1, 2, 3), keepdim=True).clamp_min(1e-30).rsqrt()
    x = x * unit
    if background is not None:
        background = _centred(background, mask) * unit
    grids = Grids(x.shape[-1], sample_rate, tau_max, x)
    quiet = quiet_of(x, background, mask, grids)
    found = find(x, quiet, grids)
    delay, spread = likeliest(found.log_bayes, grids.delays)
    here = torch.logsumexp(found.log_bayes, -1) - math.log(found.log_bayes.shape[-1])
    takes_part = torch.sigmoid(here + math.log(TAKES_PART / (1 - TAKES_PART))) * quiet.valid[:, None]
    valid = quiet.valid[:, None].expand(-1, takes_part.shape[1], -1)
    return Reading(
        log_first=torch.log_softmax(SHARPER * log_first(found.log_bayes, valid), -1).to(x),
        takes_part=takes_part,
        delay=delay,
        spread=spread,
        evidence=found.evidence,
        log_share=found.log_share.to(x),
        valid=quiet.valid,
        log_bayes=found.log_bayes,
    )


def _centred(x: Tensor, mask: Tensor) -> Tensor:
    """Take the mean of every channel out, and what is in the others."""
    x = torch.where(mask[:, None, :, None], x, 0.0)
    return x - x.mean(-1, keepdim=True)


def evidence_of(reading: Reading, known: bool) -> Float[Tensor, " B"]:
    """Return the evidence of a discharge, nats: that of the assumption for which there is most.

    Where the noise is not known from a background, the smaller misfits take more of it for a discharge than a
    discharge has: then it is that of the middle one.
    """
    return reading.evidence.amax(1) if known else reading.evidence[:, FIRST]


def log_mixture(
    log_first: Float[Tensor, "B M C"], valid: Bool[Tensor, "B C"], log_share: Float[Tensor, "B M"]
) -> Float[Tensor, "B C"]:
    """Mix the posteriors of the first channel, with shares of the M assumptions; -inf where not valid."""
    # Finite where not valid: a sum of nothing has no gradient.
    log_first = torch.where(valid[:, None], log_first, 0.0)
    mixed = torch.logsumexp(log_first + log_share[..., None], 1)
    any_of = -torch.log(valid.sum(-1, keepdim=True).clamp_min(1).to(mixed))
    mixed = torch.logaddexp(mixed + math.log(1 - NONE_OF_THESE), any_of + math.log(NONE_OF_THESE))
    return mixed.masked_fill(~valid, -torch.inf)


def log_lead(
    x: Float[Tensor, "B N C T"],
    sample_rate: float,
    background: Float[Tensor, "B K C U"] | None,
    mask: Bool[Tensor, "B C"],
    tau_max: float = TAU_MAX_S,
) -> Float[Tensor, "B C"]:
    """Return the log posterior of the first channel; arguments as of `read`."""
    reading = read(x, sample_rate, background, mask, tau_max)
    return log_mixture(reading.log_first, reading.valid, reading.log_share)


@dataclass(frozen=True, repr=False)
class FocalLead(PairViews):
    """Who leads one discharge, by the single-source model: not "the probability of the focus".

    `to_frame` has one row a channel; pictures and graphs have an edge from the likeliest lead to each other
    channel that takes part.

    Attributes
    ----------
    log_posterior : array [C]
        log p(channel is first); -inf for channels that hold nothing.
    delay, delay_stderr : array [C]
        Seconds after the likeliest lead, and their standard errors; NaN where a channel is likelier not to
        take part.
    participation : array [C]
        Probability that a channel carries the discharge.
    evidence : float
        Nats, against "no single source", from `evidence_of`; without a background less `UNKNOWN_NOISE`.
    sample_rate : float
        Hertz.
    channels : list of str or None
        Names, where the input had them.
    """

    log_posterior: Float[np.ndarray, " C"]
    delay: Float[np.ndarray, " C"]
    delay_stderr: Float[np.ndarray, " C"]
    participation: Float[np.ndarray, " C"]
    evidence: float
    sample_rate: float
    channels: list[str] | None = None

    def headline(self) -> str:
        """Say in a line who leads, or that nobody does."""
        count = len(self.log_posterior)
        if not self.found:
            return f"FocalLead: no single source in {count} channels (evidence {self.evidence:.0f} nats)"
        lead = int(self.log_posterior.argmax())
        return (
            f"FocalLead: {named(self.channels, count)[lead]} of {count} channels is first with probability "
            f"{np.exp(self.log_posterior[lead]):.2f}, by this model (evidence {self.evidence:.0f} nats)"
        )

    def pairs(self) -> Pairs:
        """Return names, and an edge from the likeliest lead to each channel that takes part."""
        names, lead = named(self.channels, len(self.log_posterior)), int(self.log_posterior.argmax())
        table = self.summary(names).rename(
            columns={"channel": "target", "delay_ms": "tau_ms", "delay_stderr_ms": "tau_stderr_ms"}
        )
        table.insert(0, "source", names[lead])
        table["tau_low_ms"] = table["tau_ms"] - 1.959964 * table["tau_stderr_ms"]
        there = table["tau_ms"].notna() & (table["target"] != names[lead])
        about = {"evidence": self.evidence, "sample_rate": self.sample_rate}
        return Pairs(names, table[there].reset_index(drop=True), {}, about)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a channel, the likeliest lead first."""
        return self.summary()

    def to_xarray(self) -> xarray.Dataset:
        """Return what is known of each channel, labelled by its name, dimension `channel`."""
        try:
            import xarray
        except ModuleNotFoundError as error:
            raise needs(error, "xarray") from None
        values = ("log_posterior", "delay", "delay_stderr", "participation")
        return xarray.Dataset(
            {name: ("channel", getattr(self, name)) for name in values},
            coords={"channel": named(self.channels, len(self.log_posterior))},
            attrs={"evidence": self.evidence, "sample_rate": self.sample_rate},
        )

    @property
    def found(self) -> bool:
        """Tell whether a single source is likelier than none, and surely reaches at least two channels."""
        return self.evidence > 0 and int((self.participation >= SURELY).sum()) >= 2

    def summary(self, channels: list[str] | None = None) -> pd.DataFrame:
        """Make one row a channel, the likeliest lead first.

        Parameters
        ----------
        channels : list of str, optional
            Names of the C channels; default: those known, else their numbers.
        """
        import pandas as pd

        count, known = len(self.log_posterior), self.channels if channels is None else channels
        names: list[Any] = list(range(count)) if known is None else list(known)
        if len(names) != count:
            raise ValueError(f"{len(names)} channel names for {count} channels")
        table = pd.DataFrame(
            {
                "channel": names,
                "p_first": np.exp(self.log_posterior),
                "participation": self.participation,
                "delay_ms": 1e3 * self.delay,
                "delay_stderr_ms": 1e3 * self.delay_stderr,
            }
        )
        return table.sort_values("p_first", ascending=False, ignore_index=True, kind="stable")


def focal_lead(
    x: Any, sample_rate: float | None = None, background: Any = None, tau_max: float = TAU_MAX_S
) -> FocalLead:
    """Find the channel that leads a discharge which reaches the others with delays.

    Parameters
    ----------
    x : array or tensor [C, T] or [N, C, T], mne.io.BaseRaw or mne.BaseEpochs
        Windows of one discharge, which share its delays and gains; any unit.
    sample_rate : float, optional
        Hertz; mne's objects know it.
    background : array or tensor [M, C, T'], mne.io.BaseRaw or mne.BaseEpochs, optional
        Windows of the same recording without it, of any length, in the unit of x; the more, the weaker a
        discharge is found. Default: the first 2 s of each window.
    tau_max : float
        Largest delay between channels, seconds.

    Returns
    -------
    FocalLead
        Posterior of the first channel, delays, participation, evidence.

    Raises
    ------
    ValueError
        For another shape, fewer than two channels that vary, values that are not finite, a window too short.

    Notes
    -----
    Each channel carries one waveform with a gain and a delay of its own, in noise whose covariance is known
    from the background; mean-field variational inference. Several assumptions share the posterior by how
    well they explain the windows: sizes of what the model leaves unexplained, volume conduction, delays
    that drift. Where the background's rank is deficient (loops of bipolar channels, common
    references), the discharge obeys the same sums.
    """
    try:
        given = read_input(x, sample_rate)
        beside = None if background is None else read_input(background, given.sample_rate, name="background")
    except DataError as error:
        raise ValueError(str(error)) from None
    sample_rate, windows = given.sample_rate, _tensor(given.x, "x", 2)
    quiet = None if beside is None else _tensor(beside.x, "background", 3)
    n_channels = windows.shape[1]
    if n_channels < 2:
        raise ValueError(f"x has {n_channels} channel; expected at least 2: someone leads someone else")
    if quiet is not None and quiet.shape[1] != n_channels:
        raise ValueError(f"background has {quiet.shape[1]} channels and x has {n_channels}")
    mask = torch.ones(1, n_channels, dtype=torch.bool, device=windows.device)
    with torch.no_grad():
        reading = read(windows[None], sample_rate, None if quiet is None else quiet[None], mask, tau_max)
        posterior = log_mixture(reading.log_first, reading.valid, reading.log_share)[0]
    if int(reading.valid.sum()) < 2:
        raise ValueError("fewer than two channels vary in the background; nobody leads anybody there")
    lead = int(posterior.argmax())
    known = quiet is not None
    evidence = float(evidence_of(reading, known)[0]) - (0.0 if known else UNKNOWN_NOISE)
    exists = 1 / (1 + math.exp(-max(min(evidence, 500.0), -500.0)))
    takes_part = reading.log_share[0].exp() @ reading.takes_part[0]
    delay, stderr = _after(reading, lead)
    keep = (takes_part * exists >= TAKES_PART) | (
        (torch.arange(n_channels) == lead) & (exists >= TAKES_PART)
    ).to(takes_part.device)
    return FocalLead(
        log_posterior=_array(posterior),
        delay=_array(torch.where(keep, delay, torch.nan)),
        delay_stderr=_array(torch.where(keep, stderr, torch.nan)),
        participation=_array(takes_part * exists),
        evidence=evidence,
        sample_rate=float(sample_rate),
        channels=given.channels,
    )


def _after(reading: Reading, lead: int) -> tuple[Tensor, Tensor]:
    """Return delays of the first window after its lead, and standard errors, by the likeliest assumption."""
    likeliest_one = int(reading.log_share[0].argmax())
    delay, spread = reading.delay[0, likeliest_one], reading.spread[0, likeliest_one]
    stderr = (spread.square() + spread[lead].square()).sqrt()
    stderr[lead] = 0.0
    return delay - delay[lead], stderr


def _tensor(values: Any, name: str, least: int) -> Tensor:
    """Convert to a tensor [N, C, T] of float32 or float64."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))
    if tensor.dim() == 2 and least == 2:
        tensor = tensor[None]
    if tensor.dim() != 3 or 0 in tensor.shape:
        expected = "[C, T] or [N, C, T]" if least == 2 else "[M, C, T]"
        raise ValueError(f"{name} has shape {tuple(values.shape)}; expected {expected}")
    tensor = tensor.detach()
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} holds values that are no finite numbers; cut windows that hold none")
    return tensor


def _array(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
