"""The delay of a pair as the slope of its phase over frequency, and how far that can be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from scipy.special import stdtrit
from torch import Tensor

from cldtrans.lag.fourier import irfft, rfft
from cldtrans.lag.pairwise.result import NORMAL95
from cldtrans.lag.pairwise.spectra import Plan, Spectra, running_mean

WAVES = 6
"""Cosines over frequency that measure how phases stray from a line, neighbouring frequencies alike."""
PER_SAMPLE = 4
"""Delays a sample of the first search."""
STEPS = 6
"""Newton steps; each doubles the number of valid digits."""
LEAST = 1e-6
"""Squared coherence that a frequency has at least, and lacks at least, so that every weight is finite."""
ROUNDS = 4
"""Of the variance beyond noise, whose weights contain it."""
BROADER = 8.0
"""Smoothed values in a wide band."""
WEAK = 10.0
"""Averages times squared coherence of the wide band at which a single frequency counts as much."""
FEWEST = 4
"""Pieces of a recording whose scatter tells anything."""
BY_CHANCE = 3.0
"""Nats, beyond the number of delays searched, that a peak has to gain to be believed as much as not."""


@dataclass
class Line:
    """Phases of P pairs about the lines of their delays, at M + 1 frequencies.

    Attributes
    ----------
    coherency : tensor [P, F]
        With the delay taken out, and turned where a pair is upside down; its phase is omega times what the
        delay is too long by.
    modulus : tensor [P, F]
        Its size less what chance gives, above 0 and below 1.
    stray : tensor [P]
        Variance of phases beyond noise, kappa^2.
    weight : tensor [P, F]
        Inverse variance of each phase; 0 where a channel holds nothing.
    """

    coherency: Complex[Tensor, "P F"]
    modulus: Float[Tensor, "P F"]
    stray: Float[Tensor, " P"]
    weight: Float[Tensor, "P F"]

    @property
    def gain(self) -> Float[Tensor, "P F"]:
        """What coherency is multiplied by to be a phase, weighted."""
        return self.weight / self.modulus


class Pairs:
    """P pairs of channels, with what is known of them before their delays are.

    Parameters
    ----------
    spectra : Spectra
        Of all channels.
    rows, columns : tensor [P] of int
        The pairs.
    used : tensor [P, F] of bool
        Frequencies that both channels hold.
    plan : Plan
        Sizes.
    """

    def __init__(self, spectra: Spectra, rows: Tensor, columns: Tensor, used: Tensor, plan: Plan) -> None:
        self.spectra, self.rows, self.columns, self.used, self.plan = spectra, rows, columns, used, plan
        reach, device = plan.reach, rows.device
        self.lags = torch.cat([torch.arange(reach), torch.arange(-reach, 0)]).double().to(device)
        self.omega = math.pi * torch.arange(reach + 1, device=device).double() / reach  # radians a sample
        own = spectra.variance(reach)
        unit = own[:, :1].clamp_min(1e-300).sqrt()
        power = rfft(own / unit.square() * self.about(torch.zeros_like(unit))).real.clamp_min(1e-3)
        self.scale = (power[rows] * power[columns]).sqrt()
        self.correlation = spectra.covariance(rows, columns, reach) / unit[rows] / unit[columns]
        self.unit = unit[rows] * unit[columns]

    def about(self, tau: Float[Tensor, "P 1"]) -> Float[Tensor, "P L"]:
        """Weigh lags by a cosine about a delay, samples."""
        off = ((self.lags - tau) / self.plan.width).abs().clamp_max(1)
        return 0.5 + 0.5 * torch.cos(math.pi * off)

    def line(self, tau: Float[Tensor, " P"], sign: Float[Tensor, " P"]) -> Line:
        """Take delays out, and weigh what is left."""
        aligned = rfft(self.correlation * sign[:, None] * self.about(tau[:, None])) / self.scale
        coherency = aligned * torch.polar(torch.ones_like(self.scale), self.omega * tau[:, None])
        averages = self.plan.averages
        squared = coherency.real.square() + coherency.imag.square()
        squared = (averages * squared - 1) / (averages - 1)
        # Where little is coherent, noise would pass for it: there the mean over a wide band decides, of the
        # real part, since what is coherent has no phase any more.
        half = math.ceil(BROADER * self.plan.alike / 2)
        held = running_mean(self.used.double(), half).clamp_min(LEAST)
        mean = running_mean(coherency.real * self.used, half) / held
        broad = (mean.clamp_min(0).square() - 1 / (2 * averages * BROADER)).clamp_min(0)
        trust = averages * broad / (averages * broad + WEAK)
        squared = (trust * squared + (1 - trust) * broad).clamp(LEAST, 1 - LEAST)
        noise = (1 - squared) / (2 * averages * squared)
        away = 2 - 2 * torch.cos(coherency.angle())
        stray = torch.zeros_like(tau)[:, None]
        for _ in range(ROUNDS):
            share = self.used / (noise + stray).square()
            beyond = (share * (away - noise)).sum(-1, keepdim=True)
            stray = (beyond / share.sum(-1, keepdim=True)).clamp_min(0)
        return Line(coherency, squared.sqrt(), stray[:, 0], self.used / (noise + stray))

    def curve(self, gain: Float[Tensor, "P F"]) -> tuple[Float[Tensor, " D"], Float[Tensor, "P D"]]:
        """Sum coherency, not aligned, times a gain at delays of a fine grid: a generalised correlation."""
        plan = self.plan
        beyond = ((self.lags.abs() - plan.max_lag) / plan.width).clamp(0, 1)
        wide = rfft(self.correlation * (0.5 + 0.5 * torch.cos(math.pi * beyond))) / self.scale
        last = math.floor(plan.max_lag * PER_SAMPLE)
        grid = torch.arange(-last, last + 1, device=wide.device).double() / PER_SAMPLE
        angle = self.omega[:, None] * grid
        turns = torch.stack([angle.cos(), -angle.sin()], 1).flatten(0, 1)  # real and imaginary parts in turns
        return grid, torch.view_as_real((wide * gain).resolve_conj()).flatten(1) @ turns

    def slope(self, line: Line) -> tuple[Float[Tensor, "P F"], Float[Tensor, " P"]]:
        """Derive the likelihood by the delay: by frequency, and the negative second derivative."""
        first = -line.gain * self.omega * line.coherency.imag
        return first, (line.gain * self.omega.square() * line.coherency.real).sum(-1)

    def over_frequency(self, slope: Float[Tensor, "P F"]) -> Float[Tensor, " P"]:
        """Estimate the variance of a sum over frequencies whose neighbours are alike, by its slow waves."""
        place = (self.used.cumsum(-1) - 0.5) / self.used.sum(-1, keepdim=True).clamp_min(1)
        waves = [(slope * torch.cos(math.pi * k * place)).sum(-1).square() * 2 for k in range(1, WAVES + 1)]
        return torch.stack(waves).mean(0) * _beyond_normal(WAVES)

    def over_time(
        self, line: Line, tau: Float[Tensor, " P"], sign: Float[Tensor, " P"]
    ) -> Float[Tensor, " P"]:
        """Estimate the variance of the same sum by its scatter over pieces of the recording."""
        gain = line.gain * self.omega / self.scale
        turned = torch.polar(gain, -self.omega * tau[:, None])  # to Im(exp(i omega (tau - lag)))
        kernel = irfft(1j * turned, 2 * self.plan.reach) * self.plan.reach * self.about(tau[:, None])
        groups = self.spectra.filtered(self.rows, self.columns, kernel) * sign / self.unit[:, 0]
        count = len(groups)
        if count < FEWEST:
            return torch.zeros_like(tau)
        return groups.var(0) * count * _beyond_normal(count - 1)


def delays(pairs: Pairs) -> dict[str, Float[Tensor, " P"]]:
    """Estimate delays, in samples, with what else is known of them."""
    plan = pairs.plan
    grid, plain = pairs.curve(pairs.used.double())
    at = plain.abs().argmax(-1, keepdim=True)
    sign = plain.gather(-1, at)[:, 0].sign()
    tau = grid[at[:, 0]]
    # Once with the weights there: another peak may be the highest.
    _, curve = pairs.curve(pairs.line(tau, sign).gain)
    tau = grid[(sign[:, None] * curve).argmax(-1)]
    for _ in range(STEPS):
        slope, bend = pairs.slope(pairs.line(tau, sign))
        step = torch.where(bend > 0, slope.sum(-1) / bend, 0.0).clamp(-0.25, 0.25)
        tau = (tau + step).clamp(-plan.max_lag, plan.max_lag)
    line = pairs.line(tau, sign)
    slope, bend = pairs.slope(line)
    bend = bend.clamp_min(1e-300)

    floor = plan.alike / (line.weight * pairs.omega.square()).sum(-1).clamp_min(1e-300)
    scatter = torch.maximum(pairs.over_frequency(slope), pairs.over_time(line, tau, sign))
    variance = torch.maximum(floor, scatter / bend.square())
    _, curve = pairs.curve(line.gain)
    log_like = (floor / variance / plan.alike)[:, None] * sign[:, None] * curve
    off = (grid - tau[:, None]).square()
    elsewhere = (torch.softmax(log_like, -1) * off * (off > (9 * variance[:, None]).clamp_min(1))).sum(-1)

    count = pairs.used.sum(-1).clamp_min(1)
    share = count / (plan.reach + 1)
    height = (plain.abs().amax(-1) / count).clamp_max(1 - LEAST)
    gain = -0.5 * plan.n_samples * share * torch.log1p(-height.square())
    chance = torch.sigmoid(torch.log(2 * plan.max_lag * share + 1) + BY_CHANCE - gain)
    variance = (1 - chance) * (variance + elsewhere) + chance * plan.max_lag**2 / 3
    return {
        "tau": tau,
        "tau_stderr": variance.sqrt(),
        "coherence": (line.modulus.square() * pairs.used).sum(-1) / count,
        "correlation": sign * height,
        "stray": line.stray.sqrt(),
    }


def _beyond_normal(degrees: int) -> float:
    """Return the factor that a variance of few degrees needs for intervals of 1.96 of its roots."""
    return float(stdtrit(degrees, 0.975) / NORMAL95) ** 2
