"""The small transformer: its size, a training step, and that channels are known by their places."""

import numpy as np
import pytest
import torch
from toys.networks import labelled, steps_and_survives

from cldtrans.baselines.small_transformer import SmallTransformer
from cldtrans.data.base import Task
from cldtrans.data.montages.montage import DOUBLE_BANANA

TASK = Task("toy", "binary", ("no", "yes"))


def made(channels, **settings):
    return SmallTransformer(TASK, channels, 128.0, "eeg", 0, 1, **settings)


def test_it_has_about_550_thousand_parameters():
    """By hand: in each layer two attentions, a feed-forward part, three norms; embeddings; norm; head."""
    attention = 4 * (128 * 128 + 128)
    layer = 2 * attention + 2 * 128 * 512 + 512 + 128 + 3 * 2 * 128
    by_hand = 2 * layer + (128 * 128 + 128) + (3 * 128 + 128) + 2 * 128 + 2 * 128 + 2
    found = sum(p.numel() for p in made(DOUBLE_BANANA).make(1280).parameters())
    assert found == by_hand
    assert found == pytest.approx(550e3, rel=0.01)


def test_a_training_step_a_save_and_a_load():
    model = made(("FP1-F7", "F7-T7"), steps=2, batch_size=4, validate_every=2)
    steps_and_survives(model, labelled(2, 400))


def test_channels_are_told_apart_by_place_and_not_by_order():
    names = ("FP1-F7", "F7-T7", "O1-O2")
    order = [2, 0, 1]
    x = torch.randn(2, 3, 384)
    first = made(names).fresh(0, 384).eval()
    second = made(tuple(names[k] for k in order)).fresh(0, 384).eval()
    torch.testing.assert_close(first(x), second(x[:, order]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first(x), first(x[:, order]), atol=1e-4)
    assert made(names).inputs(labelled(3, 50), np.arange(2)).shape == (2, 3, 128)  # half a second: padded
