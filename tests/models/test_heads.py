"""Pooling by loops, and heads that take over a probe."""

import numpy as np
import torch

from cldtrans.models.heads import HeadSpec, TaskHead, pool_window


def test_a_window_is_the_moments_and_maxima_of_its_valid_channels():
    channels = torch.randn(2, 4, 3, dtype=torch.float64)
    mask = torch.tensor([[True, True, False, True], [False] * 4])
    found = pool_window(channels, mask)
    there = channels[0, mask[0]].numpy()
    expected = np.concatenate([there.mean(0), np.sqrt(there.var(0) + 1e-8), there.max(0)])
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    assert found[1].isfinite().all() and not found[1, :3].any() and not found[1, 6:].any()


def test_a_head_takes_over_a_probe_and_its_description_is_plain():
    spec = HeadSpec("multiclass", ("a", "b", "c"), "eeg")
    assert HeadSpec.from_json(spec.to_json()) == spec and spec.outputs == 3
    assert HeadSpec("binary", ("no", "yes"), "ecg").outputs == 1
    head = TaskHead(4, spec).double()
    mean, scale, weight, bias = (torch.rand(shape, dtype=torch.float64) + 0.5 for shape in (4, 4, (3, 4), 3))
    head.set_linear(mean, scale, weight, bias)
    pooled = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(head(pooled), ((pooled - mean) / scale) @ weight.T + bias)
