"""Maps and convolutions of token sequences [N, L, D], features innermost.

On a CPU all of them run as convolutions of images one pixel high, in oneDNN's channels-last layout, which is
that of a token sequence: nothing is reordered, and oneDNN uses the widest vectors of any CPU. The library
behind torch's matrix products does so on one vendor's CPUs only; on others it takes more than twice the time.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def convolved(
    z: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """Convolve token sequences.

    Parameters
    ----------
    z : tensor [N, L, D]
        Tokens.
    weight : tensor [E, D / groups, taps]
        The filters.
    bias : tensor [E] or None
        Added to each output token.
    stride, padding, groups : int
        As in `torch.nn.functional.conv1d`.

    Returns
    -------
    tensor [N, (L + 2 padding - taps) / stride + 1, E]
        The output tokens.
    """
    if z.device.type != "cpu":
        return F.conv1d(z.transpose(1, 2), weight, bias, stride, padding, groups=groups).transpose(1, 2)
    image = z.transpose(1, 2).unsqueeze(2)
    y = F.conv2d(image, weight.unsqueeze(2), bias, (1, stride), (0, padding), groups=groups)
    return y.squeeze(2).transpose(1, 2)


def pointwise(z: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map each token by itself: `z` [N, L, D] and `weight` [E, D] -> [N, L, E]."""
    if z.device.type != "cpu":
        return F.linear(z, weight, bias)
    return convolved(z, weight[..., None], bias)


def depthwise(z: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve each feature with its own odd number of taps.

    Parameters
    ----------
    z : tensor [N, L, D]
        Tokens.
    weight : tensor [D, 1, taps]
        The filters.
    bias : tensor [D] or None
        Added to each output token.

    Returns
    -------
    tensor [N, L, D]
        The output tokens.
    """
    if z.device.type != "cpu":
        return convolved(z, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))
    return _Depthwise.apply(z, weight, bias)


class _Depthwise(torch.autograd.Function):
    """oneDNN takes long over the gradient of depthwise weights; a product a tap does not."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(z, weight)
        return convolved(z, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, weight = ctx.saved_tensors
        reach, n_tokens = weight.shape[-1] // 2, z.shape[1]
        grad_z = convolved(grad, weight.flip(-1), None, padding=reach, groups=len(weight))
        sums = []
        for shift in range(-reach, reach + 1):
            first = max(0, -shift)  # there is nothing beyond the ends
            last = max(first, n_tokens - max(0, shift))
            sums.append((grad[:, first:last] * z[:, first + shift : last + shift]).sum((0, 1)))
        return grad_z, torch.stack(sums, -1)[:, None], grad.sum((0, 1))
