"""Randomness that follows from the step alone, so that nothing of it needs to be saved."""

from __future__ import annotations

import random

import numpy as np
import torch


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of everything random in one step on one rank."""
    return int(np.random.SeedSequence([seed, 3, step, rank]).generate_state(1, np.uint32)[0])


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries may use the global generator
    torch.manual_seed(seed)
