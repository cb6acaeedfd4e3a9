"""Frequencies and delays on which a discharge is looked for, and the transforms between them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from scipy.fft import next_fast_len
from torch import Tensor

from cldtrans.lag.fourier import rfft

BAND_HZ = (1.0, 16.0)
STRIPE_HZ = 0.5  # noise is constant within a stripe of bins
EDGE = 0.05  # tapered at either end, of a window
STEP_S = 0.00625  # between delays


class Grids:
    """The bins of `BAND_HZ` in a window of T samples, in whole stripes; delays of up to `tau_max` either way.

    Parameters
    ----------
    n_samples : int
        T.
    sample_rate : float
        Hertz.
    tau_max : float
        Largest delay, seconds.
    like : tensor
        Gives the kind of number and the device.

    Raises
    ------
    ValueError
        Where a window is too short to hold a stripe of the band, or the delay too long for it.
    """

    def __init__(self, n_samples: int, sample_rate: float, tau_max: float, like: Tensor) -> None:
        if not 0 < tau_max < n_samples / sample_rate:
            raise ValueError(
                f"tau_max is {tau_max:g} s; expected more than 0 and less than the window's "
                f"{n_samples / sample_rate:g} s"
            )
        self.n_samples, self.sample_rate, self.tau_max = n_samples, sample_rate, tau_max
        # Room for the longest delay, so that nothing comes round from the other end.
        self.size = next_fast_len(n_samples + math.ceil(tau_max * sample_rate), real=True)
        self.width_hz = sample_rate / self.size
        self.per_stripe = max(1, round(STRIPE_HZ / self.width_hz))
        low = math.ceil(BAND_HZ[0] / self.width_hz)
        high = min(math.floor(min(BAND_HZ[1], 0.45 * sample_rate) / self.width_hz), self.size // 2 - 1)
        self.stripes = (high - low + 1) // self.per_stripe
        if self.stripes < 2:
            raise ValueError(
                f"{n_samples} samples at {sample_rate:g} Hz hold {max(0, high - low + 1)} bins between "
                f"{BAND_HZ[0]:g} and {BAND_HZ[1]:g} Hz; expected at least {2 * self.per_stripe}: "
                "take a longer window, or a higher rate"
            )
        self.bins = torch.arange(low, low + self.stripes * self.per_stripe, device=like.device)
        self.kappa = n_samples / self.size  # bins that tell something new, of each bin
        reach = max(1, round(tau_max / STEP_S))
        self.delays = torch.linspace(-reach * STEP_S, reach * STEP_S, 2 * reach + 1).to(like)
        self.taper = taper(n_samples, EDGE, like)

    def bins_in(self, hertz: float) -> int:
        """Return how many bins a width has, an odd number."""
        return round(hertz / self.width_hz) | 1

    def spectrum(
        self, x: Float[Tensor, "*batch T"], window: Float[Tensor, " T"]
    ) -> Complex[Tensor, "*batch F"]:
        """Transform tapered windows less their means."""
        return rfft((x - x.mean(-1, keepdim=True)) * window, self.size)[..., self.bins]

    def stripe(self, z: Tensor) -> Tensor:
        """Split bins [..., F] into stripes [..., S, m]."""
        return z.unflatten(-1, (self.stripes, self.per_stripe))


class Paths:
    """Delays that change from window to window by known factors: the transforms between bins and delays.

    Parameters
    ----------
    grids : Grids
        Of the windows.
    factors : tensor [A, K]
        What delays are multiplied by in K windows, under each of A assumptions. More windows take turns.
    """

    def __init__(self, grids: Grids, factors: Float[Tensor, "A K"]) -> None:
        self.several, self.turns = factors.shape
        hertz = grids.width_hz * grids.bins.double()
        angle = 2 * math.pi * factors.double()[..., None, None] * hertz[:, None] * grids.delays.double()
        turn = torch.stack([angle.cos(), angle.sin()], -2).flatten(1, 3)
        self._turn = turn.to(grids.delays)  # [A, K F 2, D]

    def at_delays(self, z: Complex[Tensor, "B L N F"]) -> Float[Tensor, "B L D"]:
        """Compute `Re sum_nf z(f) exp(2 pi i f d)` at every delay d.

        B is a multiple of A, which runs faster.
        """
        return self.parts_at_delays(parts(z.unflatten(2, (-1, self.turns)).sum(2)).flatten(2))

    def parts_at_delays(self, z: Float[Tensor, "B L G"], step: int = 1) -> Float[Tensor, "B L D"]:
        """Compute the same at every `step`-th delay, from `parts` of K windows side by side, G = 2 K F."""
        return (z.unflatten(0, (-1, self.several)) @ self._turn[..., ::step]).flatten(0, 1)

    def of_delays(self, weight: Float[Tensor, "B L D"]) -> Complex[Tensor, "B L K F"]:
        """Compute `sum_d weight(d) exp(-2 pi i f d)` at every bin."""
        turned = (weight.unflatten(0, (-1, self.several)) @ self._turn.mT).flatten(0, 1)
        cosine, sine = turned.unflatten(-1, (self.turns, -1, 2)).unbind(-1)
        return torch.complex(cosine, -sine)


def parts(z: Complex[Tensor, "*batch F"]) -> Float[Tensor, "*batch G"]:
    """Put real and negative imaginary parts in turns, G = 2 F: products of two such are of conjugates."""
    return torch.stack([z.real, -z.imag], -1).flatten(-2)


def taper(n_samples: int, edge: float, like: Tensor) -> Float[Tensor, " T"]:
    """Make a window that rises and falls as a cosine over a share of its samples at either end."""
    n = max(1, round(n_samples * edge))
    rise = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(n, device=like.device) + 0.5) / n)
    window = torch.ones(n_samples, dtype=like.dtype, device=like.device)
    window[:n], window[-n:] = rise, rise.flip(0)
    return window


def smooth(values: Tensor, width: int) -> Tensor:
    """Average each value [..., F] with its neighbours, `width` (odd) in all, fewer at the ends."""
    if width == 1:
        return values
    rows = values.reshape(-1, 1, values.shape[-1])
    mean = torch.nn.functional.avg_pool1d(rows, width, 1, width // 2, count_include_pad=False)
    return mean.view(values.shape)


def power(z: Tensor) -> Tensor:
    """Compute `|z|^2` of complex numbers, without the root that `abs` takes."""
    return z.real.square() + z.imag.square()
