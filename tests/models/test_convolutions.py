"""Maps and convolutions of token sequences, and their gradients, against torch's own of [N, D, L]."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cldtrans.models.convolutions import convolved, depthwise, pointwise


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def assert_same(found: Tensor, expected: Tensor, *inputs: Tensor) -> None:
    """Values and all gradients."""
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(expected)
    pairs = (torch.autograd.grad(y, inputs, direction) for y in (found, expected))
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("n_tokens", [1, 2, 3, 4, 17])
def test_depthwise_also_where_taps_reach_beyond_both_ends(n_tokens):
    z, weight, bias = random(3, n_tokens, 5), random(5, 1, 7), random(5)
    expected = F.conv1d(z.transpose(1, 2), weight, bias, padding=3, groups=5).transpose(1, 2)
    assert_same(depthwise(z, weight, bias), expected, z, weight, bias)


def test_pointwise_is_a_linear_map_of_each_token():
    z, weight, bias = random(3, 9, 5), random(4, 5), random(4)
    assert_same(pointwise(z, weight, bias), F.linear(z, weight, bias), z, weight, bias)


def test_convolved_with_strides_and_padding():
    z, weight, bias = random(3, 12, 5), random(4, 5, 4), random(4)
    expected = F.conv1d(z.transpose(1, 2), weight, bias, stride=2, padding=1).transpose(1, 2)
    assert_same(convolved(z, weight, bias, stride=2, padding=1), expected, z, weight, bias)
