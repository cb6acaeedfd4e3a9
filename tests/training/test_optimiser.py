"""AdamW against torch's, the learning rate and averaged weights by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from toys.training import loop_config

from cldtrans.training.optimiser import AdamW, AveragedWeights, learning_rate


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_is_torchs(weight_decay):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)).double()
    theirs = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)).double()
    theirs.load_state_dict(ours.state_dict())
    vectors = [param for param in theirs.parameters() if param.ndim < 2]
    matrices = [param for param in theirs.parameters() if param.ndim >= 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    reference, own = torch.optim.AdamW(groups, lr=0.03), AdamW(ours, weight_decay)
    for _ in range(5):
        x = torch.randn(7, 4, dtype=torch.float64)
        for model in (ours, theirs):
            model.zero_grad()
            model(x).square().mean().backward()
        own.step(0.03)
        reference.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)


def test_learning_rate_warms_up_and_falls_to_zero():
    loop = loop_config(steps=110, warmup_steps=10, learning_rate=2.0)
    rates = [learning_rate(step, loop) for step in range(111)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0) and rates[110] == pytest.approx(0.0, abs=1e-12)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[9:]))


def test_averaged_weights_follow_and_are_applied_for_a_while():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    averaged = AveragedWeights(model, 0.5)
    nn.init.ones_(model.weight)
    averaged.update(model)  # d = min(0.5, 1/10)
    averaged.update(model)  # d = min(0.5, 2/11)
    expected = 1 - 0.1 * 2 / 11
    with averaged.applied(model):
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 1.0
