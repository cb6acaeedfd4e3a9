"""Worlds in which papers on lagged causal discovery scored their methods: integer lags, acyclic now.

Each returns the true edges by lag (0 first), source and target, and windows [N, C, T].
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from cldtrans.baselines.rhino import BINS, spline

World = tuple[np.ndarray, np.ndarray]


def of_dynotears(seed: int, n_channels: int = 5, n_samples: int = 500) -> World:
    """Draw from section 4.1 of Pamfil et al. 2020: linear, Gaussian, Erdős-Rényi, one lag.

    Edges now have weights of 0.5 to 2, lagged ones 0.3 to 0.5; systems that are not stable are left out.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(n_channels)
        size = (n_channels, n_channels)
        sign = rng.choice([-1, 1], (2, *size))
        now = np.triu(rng.random(size) < 0.5, 1) * rng.uniform(0.5, 2, size) * sign[0]
        now = now[np.ix_(order, order)]
        past = (rng.random(size) < 0.2) * rng.uniform(0.3, 0.5, size) * sign[1]
        spread = np.linalg.inv(np.eye(n_channels) - now)
        if np.abs(np.linalg.eigvals(past @ spread)).max() < 0.9:
            break
    x, last = np.zeros((n_channels, n_samples + 100)), np.zeros(n_channels)
    for t in range(n_samples + 100):
        last = (last @ past + rng.standard_normal(n_channels)) @ spread
        x[:, t] = last
    return np.stack([now, past]) != 0, x[None, :, 100:]


def of_rhino(
    seed: int,
    n_channels: int = 5,
    n_windows: int = 50,
    n_samples: int = 200,
    order: int = 2,
    now: bool = True,
) -> World:
    """Draw from the simulations of Gong et al. 2023: neural means, noise whose scale the past decides.

    A channel is a random network (two hidden layers of 64) of its parents plus 0.5 times normal noise times a
    random spline of the mean of its lagged parents; as many edges at each lag as there are channels.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    edges = np.zeros((order + 1, n_channels, n_channels), dtype=bool)
    off = np.flatnonzero(~np.eye(n_channels, dtype=bool))
    for lag in range(1, order + 1):
        edges[lag].flat[rng.choice(off, n_channels, replace=False)] = True
    turn = rng.permutation(n_channels)
    if now:
        pairs = np.argwhere(np.triu(np.ones(edges.shape[1:]), 1))
        for first, second in pairs[rng.permutation(len(pairs))[:n_channels]]:
            edges[0, turn[first], turn[second]] = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        means = [_network(int(edges[:, :, k].sum())) for k in range(n_channels)]
    bins = torch.randn(n_channels, 3 * BINS - 1, generator=generator)
    total, burn_in = n_samples + 50, 50
    x = torch.zeros(n_windows, total, n_channels)
    x[:, :order] = torch.randn(n_windows, order, n_channels, generator=generator)
    mask = torch.from_numpy(edges)
    with torch.no_grad():
        for t in range(order, total):
            for k in turn:
                lagged = [x[:, t - lag, mask[lag, :, k]] for lag in range(1, order + 1)]
                past = torch.cat(lagged, dim=1)
                parents = torch.cat([x[:, t, mask[0, :, k]], past], dim=1)
                middle = past.mean(1) if past.shape[1] else torch.zeros(n_windows)
                scale = spline(middle, bins[k].expand(n_windows, -1))[0]
                noise = torch.randn(n_windows, generator=generator)
                mean = means[k](parents)[:, 0] if parents.shape[1] else torch.zeros(n_windows)
                x[:, t, k] = mean + 0.5 * scale * noise
    return edges, x[:, burn_in:].transpose(1, 2).double().numpy()


def f1(edges: np.ndarray, found: np.ndarray) -> float:
    """Score found edges against true ones, both bool [lags, C, C], each lag an edge of its own."""
    return 2 * float((edges & found).sum()) / max(float(edges.sum() + found.sum()), 1.0)


def _network(n_inputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(max(n_inputs, 1), 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )
