"""The training loop on a toy model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from toys.training import loop_config, toy, toy_loss, train_toy

from cldtrans.training.loop import run_training


def test_training_lowers_the_loss_and_records_it(tmp_path):
    result = train_toy(toy(), loop_config(steps=60), log_dir=tmp_path / "tb")
    losses = np.array([row["reconstruction"] for row in result.history], float)
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    assert [row["step"] for row in result.history] == list(range(1, 61))
    assert {"loss", "vq", "grad_norm", "learning_rate"} <= set(result.history[0])
    assert [row["step"] for row in result.validations] == [10, 20, 30, 40, 50, 60]
    assert result.stopped == "steps" and result.step_ms
    assert next((tmp_path / "tb").glob("events.*")).stat().st_size > 1000


def test_long_histories_are_averaged(monkeypatch):
    monkeypatch.setattr("cldtrans.training.progress.MAX_ROWS", 7)
    whole = train_toy(toy(), loop_config(steps=20))
    assert [row["step"] for row in whole.history] == [3, 6, 9, 12, 15, 18, 20]
    monkeypatch.undo()
    each = train_toy(toy(), loop_config(steps=20))
    assert whole.history[1]["loss"] == pytest.approx(np.mean([row["loss"] for row in each.history[3:6]]))


@pytest.mark.parametrize("micro_batch", [4, 3, 1])
def test_accumulation_equals_the_whole_batch(micro_batch):
    whole, parts = toy().double(), toy().double()
    one = train_toy(whole, loop_config())
    two = train_toy(parts, loop_config(micro_batch=micro_batch))
    assert [row["loss"] for row in two.history] == pytest.approx(
        [row["loss"] for row in one.history], abs=1e-10
    )
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=0, atol=1e-10)


def test_validation_does_not_disturb_training():
    often, never = toy(), toy()

    def noisy(model):
        return {"loss": -float(torch.rand(()))}

    one = train_toy(often, loop_config(validate_every=3), validate=noisy)
    two = train_toy(never, loop_config(), validate=None)
    assert [row["loss"] for row in one.history] == [row["loss"] for row in two.history]


def test_early_stop_returns_the_best_weights():
    values = iter([5.0, 3.0, math.nan, 4.0, 3.5])
    seen: list[dict] = []

    def validate(model):
        assert not model.training and not torch.is_grad_enabled()
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"loss": next(values)}

    model = toy()
    result = train_toy(model, loop_config(steps=100, validate_every=4, patience=3), validate=validate)
    assert (result.steps, result.stopped, result.best_step, result.best_value) == (20, "early", 8, 3.0)
    assert all(torch.equal(value, seen[1][name]) for name, value in model.state_dict().items())
    assert result.validations[2] == {"step": 12, "loss": None}


def test_frozen_parameters_stay_and_need_no_gradient():
    model = toy()
    model.encoder.requires_grad_(False)
    before = model.encoder.weight.clone()
    train_toy(model, loop_config(weight_decay=0.5))
    assert torch.equal(model.encoder.weight, before)


def test_bf16_autocast_trains_float32_weights():
    seen = set()

    def loss(model, batch):
        seen.add(model.encoder(batch.x).dtype)
        return toy_loss(model, batch)

    model = toy()
    result = train_toy(model, loop_config(precision="bf16"), loss=loss)
    assert seen == {torch.bfloat16} and model.encoder.weight.dtype == torch.float32
    assert np.isfinite(np.array([row["loss"] for row in result.history], float)).all()


def test_generated_worlds_are_a_corpus_too():
    class Worlds:
        name, modality, rate_hz = "worlds", "eeg", 160.0

        def __len__(self):
            return 1000

        def load(self, rows, rng):
            x = np.stack([np.random.default_rng(row).standard_normal((4, 24)) for row in rows])
            return {"x": x.astype(np.float32), "mask": np.ones((len(rows), 4), bool), "tau": x[:, :, 0]}

    def loss(model, batch):
        assert batch.data["tau"].shape == (len(batch), 4) and batch.data["tau"].dtype == torch.float32
        return toy_loss(model, batch)

    result = run_training(toy(), loss, [Worlds()], loop_config(steps=3), seed=0)
    assert result.steps == 3 and "loss/worlds" in result.history[0]
