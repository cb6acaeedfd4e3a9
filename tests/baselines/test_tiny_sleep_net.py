"""TinySleepNet: its size, what an epoch is read with, a training step."""

import numpy as np
import pytest
import torch
from toys.networks import steps_and_survives
from toys.nights import STAGES, Nights

from cldtrans.baselines.tiny_sleep_net import CONTEXT, Network, TinySleepNet, stretches
from cldtrans.data.base import Task
from cldtrans.errors import ConfigError
from cldtrans.methods.windows import LabelledWindows

TASK = Task("sleep_stage", "multiclass", STAGES)


def test_the_size_is_the_originals_but_for_peepholes_and_a_second_bias():
    """By hand from the authors' code: 16 steps of 128 reach an LSTM of 128."""
    convolutions = 50 * 128 + 3 * 8 * 128 * 128 + 4 * 2 * 128
    lstm, dense = 4 * 128 * (16 * 128 + 128), 128 * 5 + 5
    authors = convolutions + lstm + 4 * 128 + 3 * 128 + dense
    assert authors == 1_516_293
    found = sum(p.numel() for p in Network(3000, 5).parameters())
    assert found == authors - 3 * 128 + 4 * 128 == 1_516_421


def test_an_epoch_is_read_with_those_before_it_in_its_recording_and_no_other():
    nights = Nights((30, 25), 100)
    windows = LabelledWindows(nights, np.array([3, 28, 29, 33, 54]))
    rows, lengths, asked = stretches(windows, np.arange(5))
    by_hand = [
        range(0, 4), range(28 - CONTEXT + 1, 30), range(30, 34), range(54 - CONTEXT + 1, 55)
    ]  # fmt: skip
    assert rows.tolist() == [row for stretch in by_hand for row in stretch]
    assert lengths == [len(stretch) for stretch in by_hand]
    assert rows[asked].tolist() == windows.rows.tolist()


def test_a_stage_depends_on_the_past_of_its_night_alone():
    nights = Nights((40, 40), 60, rate_hz=10.0)
    model = TinySleepNet(TASK, nights.channels, 10.0, "eeg", 0, 1)
    network = model.fresh(0, 60).eval()

    def logits(which):
        with torch.no_grad():
            return network(model.inputs(nights.all(), np.array(which)))

    before = logits([45, 70])
    nights.x[:40] += 1.0  # the other recording
    nights.x[46:50] += 1.0  # after the first, too early for the second
    nights.x[71:] += 1.0
    torch.testing.assert_close(logits([45, 70]), before)
    torch.testing.assert_close(logits([45]), before[:1], rtol=1e-4, atol=1e-5)
    nights.x[41] += 5.0
    assert not torch.allclose(logits([45]), before[:1], atol=1e-4)


def test_runs_begin_anywhere_and_leave_no_epoch_out():
    nights = Nights((100,), 10)
    model = TinySleepNet(TASK, nights.channels, 10.0, "eeg", 0, 1)
    orders = [model.drawn(nights.all(), np.random.default_rng(seed)) for seed in range(20)]
    assert all(np.sort(order).tolist() == list(range(100)) for order in orders)
    assert all((np.diff(order) == 1).sum() >= 100 - 7 for order in orders)
    assert len({int(np.flatnonzero(np.diff(order) != 1)[0]) for order in orders}) > 1


def test_a_training_step_a_save_and_a_load():
    nights = Nights((6, 7), 60, rate_hz=10.0)
    model = TinySleepNet(
        TASK, nights.channels, 10.0, "eeg", 0, 1, steps=2, batch_size=10, validate_every=2
    )  # fmt: skip
    steps_and_survives(model, nights.all())
    twin = model.twin()
    twin.fit(nights.all(), nights.all())
    assert twin.predict_proba(nights.all()).shape == (13, 5)
    with pytest.raises(ConfigError, match="leave that dataset out"):
        TinySleepNet(TASK, ("FP1-F7",), 10.0, "eeg", 0, 1)
