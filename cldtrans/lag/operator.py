"""Fractional delays of real signals and their weighted mixture, with closed-form gradients.

Both operators take x as zero outside its window and convolve it with the periodic sinc on n = T + 2 pad
samples, `pad = ceil(max_delay * sample_rate) + 64`: `Y(f) = exp(-2πi f tau) X(f)` on the bins of a length-n
transform, of which the T samples of the window are returned, so nothing wraps into them. At the Nyquist bin
of an even n the factor is `cos(2π f tau)`: a delayed real signal stays real.

`lagged_mix` never builds the delayed pairs: per block of bins it makes the C x C matrices `W exp(-2πi f tau)`
from two small tables (`exp` at the first block's bins and at each block's start; their products are all
phases), multiplies the spectra by them and forgets them; the backward pass makes them again. With the
cotangent's spectrum Γ, bin counts c (2 for interior bins) and `P_ij = Σ conj(Γ_i) X_j` over windows and
features: `dX = H^H Γ`, `dW = Σ_f c/n Re(P exp)`, `dtau = Σ_f c/n 2πf W Im(P exp)`. Where all phases together
fit a small cache the number of calls is what costs: then they are kept, and products are plain broadcasts.

FFTs and products run in float64 for float64 signals, else in float32, also under autocast.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, wraps
from typing import Any

import torch
from jaxtyping import Float, Shaped
from scipy.fft import next_fast_len
from torch import Tensor

from cldtrans.lag import fourier

GUARD_SAMPLES = 64
# Matrix entries made at once: a block that stays in a core's cache on a CPU, few launches on a GPU.
_ENTRIES_PER_BLOCK = {"cpu": 1 << 17}
_ENTRIES_PER_BLOCK_GPU = 1 << 25
_SMALL_ENTRIES = 1 << 17


def delay(
    x: Shaped[Tensor, "*lead T"], tau: Any, sample_rate: float, *, max_delay: float | None = None
) -> Float[Tensor, "*lead T"]:
    """Delay real signals by any, also fractional or negative, times: `y(t) = x(t - tau)`.

    Parameters
    ----------
    x : tensor [..., T]
        Zero outside the window.
    tau : float or tensor
        Seconds; a tensor broadcasts to `x.shape[:-1]`.
    sample_rate : float
        Hertz.
    max_delay : float, optional
        Seconds, at least the largest |tau|; fixes the transform's length (see the module). Default: read
        from tau, which on a GPU waits for it.

    Returns
    -------
    tensor [..., T]
        In the dtype of x. Gradients flow to x and tau; second derivatives raise.
    """
    if not isinstance(tau, Tensor):
        tau = torch.as_tensor(tau, dtype=torch.float64, device=x.device)
    lead = x.shape[:-1]
    try:
        fits = torch.broadcast_shapes(tau.shape, lead) == lead
    except RuntimeError:
        fits = False
    if x.ndim < 1 or not fits:
        raise ValueError(
            f"tau of shape {tuple(tau.shape)} does not broadcast to x of shape {tuple(x.shape)} less T"
        )
    n = _transform_length(x, tau, sample_rate, x.shape[-1], max_delay)
    return _Delay.apply(x, tau, float(sample_rate), n)


def lagged_mix(
    x: Shaped[Tensor, "*signals"],
    weight: Tensor,
    tau: Tensor,
    sample_rate: float,
    *,
    max_delay: float | None = None,
) -> Float[Tensor, "*signals"]:
    """Mix delayed channels: `y_i(t) = Σ_j weight_ij x_j(t - tau_ij)`, row = target.

    Parameters
    ----------
    x : tensor [B, C, T] or [B, C, T, D]
        Zero outside the window.
    weight : tensor [C, C] or [B, C, C]
        Shared by all windows, or of each.
    tau : tensor [C, C] or [B, C, C]
        Seconds, of either sign, finite everywhere; of the shape of `weight`.
    sample_rate : float
        Hertz.
    max_delay : float, optional
        As in `delay`. A length n with small prime factors is several times faster: `fast_max_delay`.

    Returns
    -------
    tensor
        Of the shape and dtype of x. Gradients flow to x, weight and tau; second derivatives raise.
    """
    if x.ndim not in (3, 4):
        raise ValueError(f"x has shape {tuple(x.shape)}; expected [B, C, T] or [B, C, T, D]")
    b, c, t = x.shape[:3]
    shared, per_window = (c, c), (b, c, c)
    for name, value in (("weight", weight), ("tau", tau)):
        if value.shape != shared and value.shape != per_window:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}; "
                f"x of shape {tuple(x.shape)} needs {shared} or {per_window}"
            )
    if weight.ndim != tau.ndim:
        weight, tau = weight.expand(per_window), tau.expand(per_window)
    n = _transform_length(x, tau, sample_rate, t, max_delay)
    sample_rate = float(sample_rate)
    if b * c * c * n > _SMALL_ENTRIES or (x.ndim == 4 and x.shape[3] != 1):
        return _LaggedMix.apply(x, weight, tau, sample_rate, n)
    if x.ndim == 3:
        return _SmallMix.apply(x, weight, tau, sample_rate, n)
    return _SmallMix.apply(x.squeeze(3), weight, tau, sample_rate, n).unsqueeze(3)


def fast_max_delay(n_samples: int, max_delay: float, sample_rate: float) -> float:
    """Return the smallest max_delay from the given one up whose length n has no prime factor above 5.

    Parameters
    ----------
    n_samples : int
        T, the window's length.
    max_delay : float
        Seconds.
    sample_rate : float
        Hertz.

    Returns
    -------
    float
        Seconds.
    """
    pad = math.ceil(max_delay * sample_rate)
    while (n := n_samples + 2 * (pad + GUARD_SAMPLES)) != next_fast_len(n, real=True):
        pad += 1  # n has the parity of n_samples, which the next fast length need not have
    return max(max_delay, (pad - 0.5) / sample_rate)


def _transform_length(
    x: Tensor, tau: Tensor, sample_rate: float, n_samples: int, max_delay: float | None
) -> int:
    if not x.is_floating_point():
        raise TypeError(f"x has dtype {x.dtype}; expected a real floating type")
    if not sample_rate > 0:
        raise ValueError(f"sample_rate is {sample_rate}; expected Hz above 0")
    if max_delay is None or tau.device.type == "cpu":  # elsewhere a given max_delay saves the wait for tau
        largest = tau.detach().abs().max().item() if tau.numel() else 0.0
        if not math.isfinite(largest):
            raise ValueError("tau holds NaN or infinity; give pairs without an edge weight 0 and tau 0")
        if max_delay is not None and largest > max_delay * (1 + 1e-6):
            raise ValueError(f"tau reaches {largest:g} s, beyond max_delay of {max_delay:g} s")
        max_delay = largest if max_delay is None else max_delay
    return n_samples + 2 * (math.ceil(max_delay * float(sample_rate)) + GUARD_SAMPLES)


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _full_precision(device: torch.device) -> AbstractContextManager:
    """Autocast off, where it is on: it would run the products in half precision."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


@lru_cache(maxsize=64)
def _bins(n_bins: int, device: torch.device) -> Tensor:
    """0, 1, 2, ... in float64."""
    return torch.arange(n_bins, dtype=torch.float64, device=device)


@lru_cache(maxsize=64)
def _bin_sums(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[bins, 2]: the count c/n of each bin in the two-sided mean, and the same times 2π bin.

    They weigh the real part (gradient of the weight) and the imaginary part (of tau) of a complex sum.
    """
    counts = torch.full((n // 2 + 1,), 2.0 / n, dtype=torch.float64, device=device)
    counts[0] = 1.0 / n
    if n % 2 == 0:
        counts[-1] = 1.0 / n
    return torch.stack([counts, counts * _bins(len(counts), device) * (2 * math.pi)], 1).to(dtype)


@lru_cache(maxsize=64)
def _turn_rates(n: int, sample_rate: float, device: torch.device) -> Tensor:
    """Return turns per second of lag at every bin, negative: the phases are `exp(2πi tau rate)`; float64."""
    return _bins(n // 2 + 1, device) * (-sample_rate / n)


def _phases(tau: Tensor, turn_rates: Tensor, dtype: torch.dtype) -> Tensor:
    """`exp(2πi tau turn_rates)`; reduced to one turn in float64, so that float32 loses nothing."""
    angle = (tau.double() * turn_rates).frac_().to(dtype).mul_(2 * math.pi)
    return torch.polar(angle.new_ones(()), angle)


def _first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Raise where a graph of the gradient is asked for: it would silently miss this operator."""

    @wraps(backward)
    def checked(ctx: Any, grad: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "delay and lagged_mix have no second derivative; take their gradient without create_graph"
            )
        return backward(ctx, grad)

    return checked


class _Delay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: Tensor, sample_rate: float, n: int) -> Tensor:
        ctx.sample_rate, ctx.n = sample_rate, n
        ctx.save_for_backward(x, tau)
        spectrum = fourier.rfft(x.to(_compute_dtype(x)), n)
        spectrum = spectrum * _delay_factor(tau, sample_rate, n, spectrum)
        return _to_time(spectrum, n, x.shape[-1], -1).to(x.dtype)

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, tau = ctx.saved_tensors
        n, dtype = ctx.n, _compute_dtype(x)
        cotangent = fourier.rfft(grad.to(dtype), n)
        # Both gradients need conj(phase) Γ.
        cotangent = cotangent * _delay_factor(tau, ctx.sample_rate, n, cotangent).conj()
        grad_x = grad_tau = None
        if ctx.needs_input_grad[1]:
            spectrum = fourier.rfft(x.to(dtype), n)
            slope = _bin_sums(n, dtype, x.device)[:, 1] * (ctx.sample_rate / n)
            turned = (cotangent.conj() * spectrum).imag @ slope
            grad_tau = turned.sum_to_size(tau.shape).to(tau.dtype)
        if ctx.needs_input_grad[0]:
            grad_x = _to_time(cotangent, n, x.shape[-1], -1).to(x.dtype)
        return grad_x, grad_tau, None, None


def _delay_factor(tau: Tensor, sample_rate: float, n: int, spectrum: Tensor) -> Tensor:
    return _phases(tau[..., None], _turn_rates(n, sample_rate, tau.device), spectrum.real.dtype)


def _to_time(spectrum: Tensor, n: int, n_samples: int, dim: int) -> Tensor:
    """Inverse transform, cut to the window.

    The Nyquist bin's imaginary part must not count; some GPU libraries read it, so it is overwritten.
    """
    if n % 2 == 0 and spectrum.device.type != "cpu":
        spectrum.select(dim, -1).imag.zero_()
    return fourier.irfft(spectrum, n, dim=dim).narrow(dim, 0, n_samples).contiguous()


class _Blocks:
    """The phases of all bins, a block at a time, [bins, G, C, C] for tau [G, C, C]."""

    def __init__(self, tau: Tensor, sample_rate: float, n: int, dtype: torch.dtype):
        self.n_bins = n // 2 + 1
        limit = _ENTRIES_PER_BLOCK.get(tau.device.type, _ENTRIES_PER_BLOCK_GPU)
        self.size = min(self.n_bins, max(1, limit // max(1, tau.numel())))
        n_blocks = math.ceil(self.n_bins / self.size)
        rates = _turn_rates(n, sample_rate, tau.device)[:, None, None, None]
        self.first = _phases(tau, rates[: self.size], dtype)
        self.start = _phases(tau, rates[:: self.size], dtype) if n_blocks > 1 else None

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Pairs of a slice of bins and its phases."""
        for block, begin in enumerate(range(0, self.n_bins, self.size)):
            end = min(begin + self.size, self.n_bins)
            phases = self.first[: end - begin]
            yield slice(begin, end), phases if self.start is None else phases * self.start[block]


def _to_bins(x: Tensor, n: int, shared: bool) -> Tensor:
    """Spectra [bins, G, C, K] of signals [B, C, T, D]: G, K = 1, B * D for shared lags, else B, D."""
    spectrum = fourier.rfft(x, n, dim=2)
    b, c, bins, d = spectrum.shape
    if shared:
        return spectrum.permute(2, 1, 0, 3).contiguous().view(bins, 1, c, b * d)
    return spectrum.permute(2, 0, 1, 3).contiguous()


def _from_bins(spectrum: Tensor, n: int, shape: torch.Size, shared: bool) -> Tensor:
    """Inverse of `_to_bins`, cut to the window: [B, C, T, D]."""
    b, c, t, d = shape
    spectrum = spectrum.view(-1, c, b, d).permute(2, 1, 0, 3) if shared else spectrum.permute(1, 2, 0, 3)
    return _to_time(spectrum, n, t, 2)


class _LaggedMix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, tau: Tensor, sample_rate: float, n: int) -> Tensor:
        with _full_precision(x.device):
            dtype, shared = _compute_dtype(x), tau.ndim == 2
            signals = x.to(dtype)[..., None] if x.ndim == 3 else x.to(dtype)
            spectrum = _to_bins(signals, n, shared)
            groups = (-1, *weight.shape[-2:])
            mixed = torch.empty_like(spectrum)
            blocks = _Blocks(tau.view(groups), sample_rate, n, dtype)
            blocks.first = blocks.first * weight.to(dtype).view(groups)
            for part, matrix in blocks:
                torch.matmul(matrix, spectrum[part], out=mixed[part])
            ctx.sample_rate, ctx.n, ctx.shared, ctx.signals = sample_rate, n, shared, signals.shape
            ctx.x_shape, ctx.x_dtype = x.shape, x.dtype
            needs_spectrum = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
            ctx.save_for_backward(spectrum if needs_spectrum else None, weight, tau)
            return _from_bins(mixed, n, signals.shape, shared).view(x.shape).to(x.dtype)

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        spectrum, weight, tau = ctx.saved_tensors
        with _full_precision(grad.device):
            dtype, n = _compute_dtype(grad), ctx.n
            cotangent = _to_bins(grad.to(dtype).reshape(ctx.signals), n, ctx.shared)
            groups = (-1, *weight.shape[-2:])
            gain = weight.to(dtype).view(groups)
            grad_bins = torch.empty_like(cotangent) if ctx.needs_input_grad[0] else None
            sums = _bin_sums(n, dtype, grad.device).T
            total = grad.new_zeros((2, 2 * weight.numel()), dtype=dtype)
            for part, phase in _Blocks(tau.view(groups), ctx.sample_rate, n, dtype):
                if grad_bins is not None:
                    torch.matmul((phase * gain).mH, cotangent[part], out=grad_bins[part])
                if spectrum is not None:
                    turned = torch.matmul(cotangent[part].conj(), spectrum[part].mT).mul_(phase)
                    total += sums[:, part] @ torch.view_as_real(turned).view(len(turned), -1)
            grad_x = grad_weight = grad_tau = None
            if grad_bins is not None:
                grad_x = _from_bins(grad_bins, n, ctx.signals, ctx.shared).view(ctx.x_shape).to(ctx.x_dtype)
            if spectrum is not None:
                total = total.view(2, *weight.shape, 2)
                grad_weight = total[0, ..., 0].to(weight.dtype)
                grad_tau = (total[1, ..., 1] * weight.to(dtype) * (ctx.sample_rate / n)).to(tau.dtype)
            return grad_x, grad_weight, grad_tau, None, None


class _SmallMix(torch.autograd.Function):
    """Mixes x [B, C, T] by the spectra of all pairs at once.

    These are [B, C, C, bins]; there is no product that autocast would touch.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, tau: Tensor, sample_rate: float, n: int) -> Tensor:
        dtype = _compute_dtype(x)
        spectrum = fourier.rfft(x.to(dtype), n)
        phase = _delay_factor(tau, sample_rate, n, spectrum)
        gain = weight.to(dtype)
        ctx.sample_rate, ctx.n, ctx.x_dtype, ctx.tau_dtype = sample_rate, n, x.dtype, tau.dtype
        ctx.save_for_backward(spectrum, phase, weight)
        mixed = (phase * gain[..., None]).mul(spectrum[:, None]).sum(2)
        return _to_time(mixed, n, x.shape[2], 2).to(x.dtype)

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        spectrum, phase, weight = ctx.saved_tensors
        n, dtype = ctx.n, spectrum.real.dtype
        wants_x, wants_weight, wants_tau = ctx.needs_input_grad[:3]
        gain = weight.to(dtype)
        turned = phase * fourier.rfft(grad.to(dtype), n).conj_physical_()[:, :, None]
        grad_x = grad_weight = grad_tau = None
        if wants_weight or wants_tau:
            product = turned * spectrum[:, None]
            if weight.ndim == 2:
                product = product.sum(0)
            total = (torch.view_as_real(product) * _bin_sums(n, dtype, grad.device)).sum(-2)
            grad_weight = total[..., 0].to(weight.dtype)
            grad_tau = (total[..., 1] * gain).mul_(ctx.sample_rate / n).to(ctx.tau_dtype)
        if wants_x:
            bins = turned.mul_(gain[..., None]).sum(1).conj_physical_()
            grad_x = _to_time(bins, n, grad.shape[2], 2).to(ctx.x_dtype)
        return grad_x, grad_weight, grad_tau, None, None
