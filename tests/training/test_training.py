"""Sampler, loader, optimiser, loop and guard of training, on a toy model."""

from __future__ import annotations

import itertools
import logging
import math
import os
import signal
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toys.training import FakeShards, ToyModel, loop_config, toy_corpora, toy_loss, train_toy

from cldtrans.training.guard import DivergenceError, DivergenceGuard, Preempted
from cldtrans.training.loader import Buffers, Loader, ShardCorpus
from cldtrans.training.loop import run_training
from cldtrans.training.optimiser import AdamW, AveragedWeights, learning_rate
from cldtrans.training.sampler import BLOCK_STEPS, MixedSampler, rank_share


def toy(seed: int = 0) -> ToyModel:
    torch.manual_seed(seed)
    return ToyModel()


def same(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


# --- sampler


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    batch_size=st.integers(1, 30),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_every_epoch_sees_every_window_once(sizes, batch_size, seed):
    sampler = MixedSampler(sizes, batch_size, seed)
    streams: dict[int, list[int]] = {}
    for step in range(60):
        draw = sampler.draw(step)
        assert len(draw.rows) == batch_size
        streams.setdefault(draw.corpus, []).extend(draw.rows.tolist())
    for corpus, stream in streams.items():
        size = sizes[corpus]
        for start in range(0, len(stream) - size + 1, size):
            assert sorted(stream[start : start + size]) == list(range(size))


@given(step=st.integers(0, 5 * BLOCK_STEPS), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_a_step_is_drawn_the_same_whatever_came_before(step, seed):
    fresh, used = MixedSampler([50, 7], 8, seed), MixedSampler([50, 7], 8, seed)
    for other in (0, step + 1, step + 1500):
        used.draw(other)
    assert fresh.draw(step).corpus == used.draw(step).corpus
    np.testing.assert_array_equal(fresh.draw(step).rows, used.draw(step).rows)


def test_corpora_are_mixed_in_proportion_even_in_short_runs():
    sampler = MixedSampler([10, 10, 10], 4, 3, weights=[0.6, 0.4, 0.0])
    corpora = np.array([sampler.draw(step).corpus for step in range(BLOCK_STEPS)])
    assert np.bincount(corpora, minlength=3).tolist() == [600, 400, 0]
    assert 10 <= np.count_nonzero(corpora[:20] == 0) <= 14
    by_size = MixedSampler([999_000, 10], 4, 3)
    counts = np.bincount([by_size.draw(step).corpus for step in range(BLOCK_STEPS)])
    assert counts.tolist() == [999, 1]  # a corpus that takes part is never rounded away


def test_seeds_and_epochs_differ():
    draws = [MixedSampler([64], 64, seed).draw(step).rows for seed in (1, 2) for step in (0, 1)]
    assert all((draws[i] != draws[j]).any() for i in range(4) for j in range(i))


@pytest.mark.parametrize("sizes, weights", [([5, 0], None), ([], None), ([5], [0.0]), ([5, 5], [1.0])])
def test_impossible_mixtures_are_refused(sizes, weights):
    with pytest.raises(ValueError, match=r"corpus needs|weights must"):
        MixedSampler(sizes, 4, 0, weights)


def test_ranks_share_the_global_batch():
    rows = np.arange(12)
    np.testing.assert_array_equal(np.concatenate([rank_share(rows, rank, 3) for rank in range(3)]), rows)
    with pytest.raises(ValueError, match="12 windows cannot be divided among 5"):
        rank_share(rows, 0, 5)


# --- loader


def take(loader: Loader, start: int, count: int) -> list:
    batches = loader.batches(start)
    try:
        return [next(batches) for _ in range(count)]
    finally:
        batches.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_deliver_what_a_single_one_gathers_in_order(workers):
    corpora = toy_corpora()
    sampler = MixedSampler([len(corpus) for corpus in corpora], 6, 4)
    plain = take(Loader(corpora, sampler, workers=0), 0, 12)
    ahead = take(Loader(corpora, sampler, workers=workers), 5, 7)
    assert [batch.step for batch in ahead] == list(range(5, 12))
    for one, two in zip(plain[5:], ahead, strict=True):
        assert (one.corpus, one.modality, one.rate_hz, one.first) == (
            two.corpus,
            two.modality,
            two.rate_hz,
            two.first,
        )
        assert torch.equal(one.x, two.x)
    assert {batch.x.shape[1] for batch in plain} == {5, 3}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_ranks_get_the_same_channels_and_their_windows():
    shards = FakeShards(40, 9, "eeg", 160.0)
    rows = np.arange(10, 40)
    corpus = ShardCorpus(
        "a", shards, rows, labels=True, choose_channels=lambda rng, c: np.sort(rng.permutation(c)[:4])
    )
    sampler = MixedSampler([len(corpus)], 8, 4)
    joint = take(Loader([corpus], sampler), 0, 5)
    ranks = [take(Loader([corpus], sampler, rank, 2), 0, 5) for rank in range(2)]
    for step, batch in enumerate(joint):
        assert batch.x.shape[1] == 4 and batch.mask.shape == (8, 4)
        assert torch.equal(batch.x, torch.cat([ranks[0][step].x, ranks[1][step].x]))
        assert torch.equal(batch.data["y"], torch.cat([ranks[0][step].data["y"], ranks[1][step].data["y"]]))
        assert batch.first == 8 * step and [batches[step].first for batches in ranks] == [
            8 * step,
            8 * step + 4,
        ]


def test_a_buffer_is_lent_again_only_when_nothing_refers_to_it():
    buffers = Buffers()
    first = buffers.lend((4, 3), np.float32)
    place = first.ctypes.data
    tensor = torch.from_numpy(first)
    part = tensor[1:]
    assert buffers.lend((4, 3), np.float32).ctypes.data != place
    del first, tensor
    assert buffers.lend((4, 3), np.float32).ctypes.data != place  # the slice still sees it
    view = part.numpy()
    del part
    other = buffers.lend((4, 3), np.float32)
    assert other.ctypes.data != place
    del view
    assert place in {buffers.lend((4, 3), np.float32).ctypes.data for other in [other]}
    assert buffers.lend((2, 3), np.float32).shape == (2, 3)


def test_kept_batches_are_not_overwritten():
    corpora = toy_corpora()
    sampler = MixedSampler([len(corpus) for corpus in corpora], 6, 4)
    kept = take(Loader(corpora, sampler, workers=2), 0, 30)
    fresh = [take(Loader(toy_corpora(), sampler, workers=0), step, 1)[0] for step in range(30)]
    assert all(torch.equal(one.x, two.x) for one, two in zip(kept, fresh, strict=True))


def test_an_error_while_gathering_reaches_the_loop():
    corpus = toy_corpora()[0]
    corpus.shards.windows = lambda rows, out: (_ for _ in ()).throw(OSError("shard-00003.npy is gone"))
    with pytest.raises(OSError, match="shard-00003"):
        take(Loader([corpus], MixedSampler([90], 4, 0), workers=2), 0, 1)


# --- optimiser


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_is_torchs(weight_decay):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)).double()
    theirs = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2)).double()
    theirs.load_state_dict(ours.state_dict())
    vectors = [param for param in theirs.parameters() if param.ndim < 2]
    matrices = [param for param in theirs.parameters() if param.ndim >= 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    reference, own = torch.optim.AdamW(groups, lr=0.03), AdamW(ours, weight_decay)
    for _ in range(5):
        x = torch.randn(7, 4, dtype=torch.float64)
        for model in (ours, theirs):
            model.zero_grad()
            model(x).square().mean().backward()
        own.step(0.03)
        reference.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)


def test_learning_rate_warms_up_and_falls_to_zero():
    loop = loop_config(steps=110, warmup_steps=10, learning_rate=2.0)
    rates = [learning_rate(step, loop) for step in range(111)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0) and rates[110] == pytest.approx(0.0, abs=1e-12)
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[9:]))


def test_averaged_weights_follow_and_are_applied_for_a_while():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    averaged = AveragedWeights(model, 0.5)
    nn.init.ones_(model.weight)
    averaged.update(model)  # d = min(0.5, 1/10)
    averaged.update(model)  # d = min(0.5, 2/11)
    expected = 1 - 0.1 * 2 / 11
    with averaged.applied(model):
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 1.0


# --- loop


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


# --- guard


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
