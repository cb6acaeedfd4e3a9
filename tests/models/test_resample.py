"""Resampling in the model, against tones."""

import numpy as np
import pytest
import torch

from cldtrans.models.resample import resample


@pytest.mark.parametrize("rates", [(256, 160), (100, 160), (512, 160), (1000, 500), (360, 500)])
def test_resampling_keeps_tones_and_stops_aliases(rates):
    old, new = rates
    t_old, t_new = np.arange(4 * old) / old, np.arange(4 * new) / new
    passed = min(old, new) * 0.3
    y = resample(torch.from_numpy(np.sin(2 * np.pi * passed * t_old)), old, new).numpy()
    assert y.shape == t_new.shape
    middle = slice(new // 2, -new // 2)
    assert np.abs(y - np.sin(2 * np.pi * passed * t_new))[middle].max() < 2e-3
    if old > new:
        stopped = resample(torch.from_numpy(np.sin(2 * np.pi * 0.56 * new * t_old)), old, new).numpy()
        assert np.abs(stopped[middle]).max() < 1e-2
