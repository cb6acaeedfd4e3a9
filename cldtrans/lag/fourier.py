"""Real Fourier transforms, on the tensor's own device or on the CPU.

`cldtrans doctor` compares a GPU's transforms with the CPU's. Where they are wrong, the config's `fft: cpu`
sends them, and nothing else, to the CPU and back, until the driver or the torch build is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

Place = Literal["device", "cpu"]
_place: Place = "device"


@contextmanager
def transforms_on(place: Place) -> Iterator[None]:
    """Run the transforms of this process on the tensors' own device, or on the CPU, while the block runs."""
    global _place
    before, _place = _place, place
    try:
        yield
    finally:
        _place = before


def rfft(x: Tensor, n: int | None = None, dim: int = -1) -> Tensor:
    """Transform as `torch.fft.rfft` does: [..., T] -> [..., n // 2 + 1], on x's device."""
    return torch.fft.rfft(_placed(x), n, dim=dim).to(x.device)


def irfft(spectrum: Tensor, n: int, dim: int = -1) -> Tensor:
    """Transform back as `torch.fft.irfft` does: [..., n // 2 + 1] -> [..., n], on the spectrum's device."""
    return torch.fft.irfft(_placed(spectrum), n, dim=dim).to(spectrum.device)


def stft(x: Tensor, size: int) -> Tensor:
    """Transform half-overlapping stretches of `size` samples, Hann window: [N, T] -> [N, bins, frames]."""
    placed = _placed(x)
    window = torch.hann_window(size, dtype=x.dtype, device=placed.device)
    return torch.stft(placed, size, size // 2, window=window, center=False, return_complex=True).to(x.device)


def _placed(x: Tensor) -> Tensor:
    return x.cpu() if _place == "cpu" else x
