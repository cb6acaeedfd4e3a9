"""Randomness that follows from seed, step and rank."""

import random

import numpy as np
import torch

from cldtrans.training.seeding import seed_everything, step_seed


def test_steps_and_ranks_differ_and_repeat():
    seeds = [step_seed(seed, step, rank) for seed in range(5) for step in range(100) for rank in range(4)]
    assert len(set(seeds)) == len(seeds) and seeds[7] == step_seed(0, 1, 3)


def test_every_generator_is_seeded():
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    seed_everything(3)
    first = draw()
    assert draw() != first
    seed_everything(3)
    assert draw() == first
