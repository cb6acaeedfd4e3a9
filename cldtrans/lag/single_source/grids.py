"""Frequencies and delays on which a discharge is looked for, and the transforms between them."""

from __future__ import annotations

import math
from functools import lru_cache

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

    def sides(self, z: Complex[Tensor, "B N C F"]) -> Float[Tensor, "B N S 2 m C"]:
        """Set real and imaginary parts side by side, channels innermost: what runs over them is fast so."""
        return torch.view_as_real(self.stripe(z)).permute(0, 1, 3, 5, 4, 2).contiguous()


class Paths:
    """Delays that change from window to window by known factors: the transforms between bins and delays.

    Bins have real and imaginary parts side by side, as `Grids.sides` has them.

    Parameters
    ----------
    grids : Grids
        Of the windows.
    factors : A tuples of K float
        What delays are multiplied by in K windows, under each of A assumptions. More windows take turns.
    """

    def __init__(self, grids: Grids, factors: tuple[tuple[float, ...], ...] = ((1.0,),)) -> None:
        self.several, self.turns = len(factors), len(factors[0])
        self._shape = (grids.stripes, 2, grids.per_stripe)
        like = grids.delays
        self._turn = _turn(
            grids.n_samples, grids.sample_rate, grids.tau_max, factors, like.dtype, like.device
        )

    def at_delays(self, z: Float[Tensor, "B R N S 2 m C"]) -> Float[Tensor, "B R D C"]:
        """Compute `Re sum_nf z(f) exp(2 pi i f d)` at every delay d.

        B is a multiple of A, which runs faster.
        """
        turns = z.unflatten(2, (-1, self.turns)).sum(2) if z.shape[2] > self.turns else z
        return self._each(self._turn.mT, turns.flatten(2, 5))

    def rows_at_delays(self, z: Float[Tensor, "*batch G"], step: int) -> Float[Tensor, "*batch D"]:
        """Compute the same at every `step`-th delay, of A = K = 1, for rows of G = S 2 m numbers."""
        return z @ self._turn[0, :, ::step]

    def of_delays(self, weight: Float[Tensor, "B R D C"]) -> Float[Tensor, "B R K S 2 m C"]:
        """Compute `sum_d weight(d) exp(-2 pi i f d)` at every bin."""
        return self._each(self._turn, weight).unflatten(2, (self.turns, *self._shape))

    @staticmethod
    def _each(turn: Float[Tensor, "A P Q"], columns: Float[Tensor, "B R Q C"]) -> Float[Tensor, "B R P C"]:
        """Multiply the columns of each assumption by its matrix, without copies of that."""
        batch = columns.unflatten(0, (-1, len(turn)))
        found = [
            torch.bmm(one.expand(batch[:, a].shape[:2].numel(), -1, -1), batch[:, a].flatten(0, 1))
            for a, one in enumerate(turn)
        ]
        return torch.stack([f.unflatten(0, (-1, columns.shape[1])) for f in found], 1).flatten(0, 1)


@lru_cache(16)
def _turn(
    n_samples: int,
    sample_rate: float,
    tau_max: float,
    factors: tuple[tuple[float, ...], ...],
    dtype: torch.dtype,
    device: torch.device,
) -> Float[Tensor, "A G D"]:
    """Return cosines and negative sines of bins K S 2 m at delays: windows are of few lengths, and many."""
    with torch.inference_mode(False):
        grids = Grids(n_samples, sample_rate, tau_max, torch.empty(0, dtype=dtype, device=device))
        hertz = grids.stripe(grids.width_hz * grids.bins.double())[..., None]
        factor = torch.tensor(factors, dtype=torch.float64, device=device)[..., None, None, None]
        angle = 2 * math.pi * factor * hertz * grids.delays.double()
        turn = torch.stack([angle.cos(), -angle.sin()], 3)  # [A, K, S, 2, m, D]
        return turn.flatten(1, 4).to(dtype)


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


def energy(z: Float[Tensor, "*batch 2 m C"]) -> Float[Tensor, "*batch m C"]:
    """Compute `|z|^2` of real and imaginary parts that are side by side."""
    real, imaginary = z.unbind(-3)
    return torch.addcmul(real.square(), imaginary, imaginary)


def beside(
    z: Float[Tensor, "*#batch 2 m C"], other: Float[Tensor, "*#batch 2 m C"]
) -> Float[Tensor, "*batch 2 m C"]:
    """Compute the product of the conjugate of z with another."""
    (a, b), (c, d) = z.unbind(-3), other.unbind(-3)
    return torch.stack([torch.addcmul(a * c, b, d), torch.addcmul(a * d, b, c, value=-1)], -3)
