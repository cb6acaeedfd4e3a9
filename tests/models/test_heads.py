"""Heads take over a probe."""

import torch

from cldtrans.models.heads import HeadSpec, TaskHead


def test_a_head_takes_over_a_probe_and_its_description_is_plain():
    spec = HeadSpec("multiclass", ("a", "b", "c"), "eeg")
    assert HeadSpec.from_json(spec.to_json()) == spec and spec.outputs == 3
    assert HeadSpec("binary", ("no", "yes"), "ecg").outputs == 1
    head = TaskHead(4, spec).double()
    mean, scale, weight, bias = (torch.rand(shape, dtype=torch.float64) + 0.5 for shape in (4, 4, (3, 4), 3))
    head.set_linear(mean, scale, weight, bias)
    pooled = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(head(pooled), ((pooled - mean) / scale) @ weight.T + bias)
