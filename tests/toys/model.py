"""A small network, and windows of simulated systems for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cldtrans.lag.simulate import simulate_ldsem
from cldtrans.models import CLDTrans

SETTINGS: dict[str, Any] = {
    "width": 16,
    "codebook_size": 32,
    "shared_codebook": False,
    "blocks": 1,
    "ode_width": 8,
    "pair_width": 16,
    "knots": 4,
    "sources": 6,
    "tau_max_s": {"eeg": 0.3, "ecg": 0.1},
    "solver": "rk4",
    "adjoint": False,
    "tolerance": 1e-4,
    "quantize": True,
    "lag": "continuous",
    "dynamics": "ode",
    "layers": 1,
    "attention_width": 16,
    "readout": ["events", "contexts", "codes", "covariance", "eigenvalues"],
}


def make_model(dtype=torch.float32, seed=0, **changes):
    torch.manual_seed(seed)
    return CLDTrans({**SETTINGS, **changes}).to(dtype).eval()


def worlds(n, n_channels, **settings):
    """Windows [n, C, 1600] of n systems at 160 Hz, their supports and lags."""
    samples = [
        simulate_ldsem(n_channels, 10.0, window_s=10.0, seed=seed, **{"self_dynamics": "ar2", **settings})
        for seed in range(n)
    ]
    x = torch.from_numpy(np.stack([sample.x[0] for sample in samples]))
    return x, np.stack([s.support for s in samples]), np.stack([s.tau for s in samples])
