"""A divergence is noticed, left out once, and stops a run that has another; a signal saves and ends."""

from __future__ import annotations

import logging
import math
import os
import signal

import pytest
import torch
from toys.training import loop_config, same, toy, toy_loss, train_toy

from cldtrans.training.guard import DivergenceError, DivergenceGuard, Preempted


def poisoned(steps: dict[int, float]):
    """A loss that is multiplied by a number in some steps."""

    def loss(model, batch):
        values = toy_loss(model, batch)
        if batch.step in steps:
            model.codes += math.nan  # what a bad batch does to the codebook
            values["loss"] = values["loss"] * steps[batch.step]
        return values

    return loss


@pytest.mark.parametrize("factor, on_disk", [(math.nan, True), (math.inf, False), (1e6, True)])
def test_one_bad_batch_is_left_out(tmp_path, caplog, factor, on_disk):
    work_dir = tmp_path / "work" if on_disk else None
    loop = loop_config(steps=40, checkpoint_every=10)
    model = toy()
    with caplog.at_level(logging.WARNING):
        result = train_toy(model, loop, loss=poisoned({38: factor}), work_dir=work_dir)
    assert result.skipped == [38] and result.steps == 40
    assert "at step 38" in caplog.text and "going back to step 30" in caplog.text
    rows = [row["step"] for row in result.history]
    assert rows == [step for step in range(1, 41) if step != 39]
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    clean = toy()
    reference = train_toy(clean, loop)
    assert result.history[:38] == reference.history[:38]


def test_the_left_out_batch_stays_out_after_a_resume(tmp_path):
    whole, cut = toy(), toy()
    loop = loop_config(steps=40, checkpoint_every=10)
    train_toy(whole, loop, loss=poisoned({13: math.nan}))
    bad = poisoned({13: math.nan})

    def interrupted(model, batch):
        if batch.step == 25:
            raise KeyboardInterrupt
        return bad(model, batch)

    with pytest.raises(KeyboardInterrupt):
        train_toy(cut, loop, loss=interrupted, work_dir=tmp_path)
    result = train_toy(cut, loop, loss=poisoned({13: math.nan}), work_dir=tmp_path)
    assert result.skipped == [13] and same(whole, cut)


def test_a_second_divergence_stops_with_a_clear_message(tmp_path):
    loop = loop_config(steps=40)
    with pytest.raises(
        DivergenceError, match=r"loss is nan at step 17 \(batch from e.g\), after step 8 had already"
    ):
        train_toy(toy(), loop, loss=poisoned({8: math.nan, 17: math.nan}), work_dir=tmp_path)


def test_non_finite_gradients_count():
    def loss(model, batch):
        values = toy_loss(model, batch)
        if batch.step == 6:
            values["loss"] = values["loss"] + torch.sqrt((model.encoder.weight * 0).sum())  # 0, gradient nan
        return values

    assert train_toy(toy(), loop_config(), loss=loss).skipped == [6]


def test_guard_judges_by_the_running_median_of_each_corpus():
    guard = DivergenceGuard(10.0)
    for step in range(30):
        assert guard.problem("a", 1.0 + 0.01 * (step % 3), 1.0) is None
        assert guard.problem("likelihood", -50.0 + step % 5, 1.0) is None
    assert guard.problem("a", 9.0, 1.0) is None
    assert "above" in str(guard.problem("a", 12.0, 1.0))
    assert guard.problem("likelihood", 100.0, 1.0) is None
    assert "above" in str(guard.problem("likelihood", 500.0, 1.0))
    assert guard.problem("new", 1e9, 1.0) is None
    copy = DivergenceGuard(10.0)
    copy.restore(guard.state())
    assert copy.losses == guard.losses


def test_sigterm_saves_and_exits_75_and_the_next_start_goes_on(tmp_path):
    whole, cut = toy(), toy()
    loop = loop_config(steps=30, checkpoint_every=10)
    train_toy(whole, loop)
    before = signal.getsignal(signal.SIGTERM)

    def stopped(model, batch):
        if batch.step == 14:
            os.kill(os.getpid(), signal.SIGTERM)
        return toy_loss(model, batch)

    with pytest.raises(Preempted) as stop:
        train_toy(cut, loop, loss=stopped, work_dir=tmp_path)
    assert stop.value.code == 75 and signal.getsignal(signal.SIGTERM) == before
    assert (tmp_path / "step-0000000015").is_dir()
    train_toy(cut, loop, work_dir=tmp_path)
    assert same(whole, cut)
