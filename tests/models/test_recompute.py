"""Recomputed functions: values and gradients of the plain call, in any parts, and nothing kept between."""

import pytest
import torch
from torch import nn

from cldtrans.models.recompute import recomputed


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_values_and_gradients_are_those_of_the_plain_call(rows):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)).double()
    net[0].bias.requires_grad_(False)
    x = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    toward = torch.randn(7, 2, dtype=torch.float64)
    wanted = [x, *(p for p in net.parameters() if p.requires_grad)]
    plain = torch.autograd.grad(net(x), wanted, toward)
    value = recomputed(net, x, rows, net.parameters())
    torch.testing.assert_close(value, net(x), rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.autograd.grad(value, wanted, toward), plain, rtol=0, atol=1e-12)


def test_inner_results_are_made_in_parts_and_again_in_the_backward_pass():
    seen = []
    weight = nn.Parameter(torch.ones(3))

    def function(part):
        seen.append((len(part), torch.is_grad_enabled()))
        return part * weight

    recomputed(function, torch.randn(5, 3), 2, [weight]).sum().backward()
    assert seen == [(2, False), (2, False), (1, False), (2, True), (2, True), (1, True)]


def test_weights_that_are_not_used_get_no_gradient():
    used, idle = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    recomputed(lambda part: part * used, torch.randn(3, 2), 2, [used, idle]).sum().backward()
    assert used.grad is not None and idle.grad is None
