"""Arrival times: exact where delays agree, deaf to a few that do not; and those of delayed noise."""

import numpy as np
import torch
from timelines import arrival_times, timelines


def test_delays_that_agree_give_their_times():
    theta = torch.tensor([[0.0, 3.0, 7.5, -2.0, 10.0]], dtype=torch.float64)
    net = theta[:, :, None] - theta[:, None]
    weight = torch.rand(1, 5, 5, dtype=torch.float64) + 0.1
    weight = (weight + weight.transpose(1, 2)) * (1 - torch.eye(5))
    torch.testing.assert_close(arrival_times(net, weight), theta - theta.mean(), rtol=0, atol=1e-4)


def test_a_delay_off_by_a_period_loses_its_say():
    theta = torch.linspace(0, 20, 6, dtype=torch.float64)[None]
    net = theta[:, :, None] - theta[:, None]
    weight = (1 - torch.eye(6, dtype=torch.float64))[None]
    net[0, 0, 3] += 40
    net[0, 3, 0] -= 40
    found = arrival_times(net, weight)
    assert (found - (theta - theta.mean())).abs().max() < 0.5


def test_channels_that_one_source_drives_are_put_in_order():
    rng = np.random.default_rng(0)
    n, lags = 1600, np.array([0.0, 5.0, 12.5, 20.0])
    frequency = np.fft.rfftfreq(n)
    source = np.fft.rfft(rng.standard_normal(n))
    x = np.fft.irfft(source * np.exp(-2j * np.pi * frequency * lags[:, None]), n)
    x = (x + 0.3 * rng.standard_normal(x.shape))[None]
    pair = ~torch.eye(4, dtype=torch.bool)[None]
    found = timelines(torch.from_numpy(x / x.std(-1, keepdims=True)), pair, 30)
    np.testing.assert_allclose(found.later[0, :, :, 0], lags[:, None] - lags, atol=0.1)
    assert found.misfit[..., 0].max() < 0.1 and found.mass[0, 0] > 0.1
    noise = torch.from_numpy(rng.standard_normal((1, 4, n)))
    assert timelines(noise, pair, 30).mass[0, 0] < 0.05 * found.mass[0, 0]
