"""Killed runs end as uninterrupted ones do; damaged checkpoints are noticed."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from toys.training import ToyModel, loop_config, toy_loss, train_and_save, train_toy

from cldtrans.training import checkpoint as checkpoint_module
from cldtrans.training.checkpoint import CheckpointError, CheckpointFolder

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["cldtrans.training.loop", "torch.distributed.nn"])
LOOP = loop_config(steps=40, checkpoint_every=4, validate_every=6, ema_decay=0.9, num_workers=2)


def run_child(out, work_dir, die_at=None, while_saving=False) -> int | None:
    child = CONTEXT.Process(target=train_and_save, args=(out, work_dir, die_at, while_saving, LOOP))
    child.start()
    child.join(timeout=120)
    return child.exitcode


def check_kills(tmp_path, kills: list[tuple[int, bool]]) -> None:
    assert run_child(tmp_path / "whole", tmp_path / "work-whole") == 0
    for die_at, while_saving in kills:
        assert run_child(tmp_path / "cut", tmp_path / "work", die_at, while_saving) == -signal.SIGKILL
        assert not (tmp_path / "cut").exists()
    assert run_child(tmp_path / "cut", tmp_path / "work") == 0
    whole, cut = load_file(tmp_path / "whole"), load_file(tmp_path / "cut")
    assert len(whole["history"]) == 40
    for name, value in whole.items():
        assert torch.equal(value, cut[name]), name


def test_killed_runs_end_with_the_same_bits(tmp_path):
    check_kills(tmp_path, [(2, False), (9, True), (22, False)])


def test_ten_kills_at_random_steps(tmp_path):
    rng = random.Random()
    steps = sorted(rng.sample(range(1, 40), 10))
    print("killed at", steps)  # shown on failure
    check_kills(tmp_path, [(step, rng.random() < 0.4) for step in steps])


def save_three(folder) -> CheckpointFolder:
    store = CheckpointFolder(folder, "config-a")
    for step in (10, 20, 30):
        store.save(step, {"model": {"w": torch.full((50,), float(step))}, "best": {}}, {"note": step})
    return store


def test_the_last_two_are_kept_and_read_back(tmp_path):
    store = save_three(tmp_path)
    assert store.steps() == [20, 30]
    found = store.latest()
    assert found and found.step == 30 and found.state["note"] == 30 and found.groups["best"] == {}
    assert torch.equal(found.groups["model"]["w"], torch.full((50,), 30.0))
    assert {path.suffix for path in (tmp_path / "step-0000000030").iterdir()} == {".safetensors", ".json", ""}


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "empty"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(tmp_path, caplog, name, damage):
    store = save_three(tmp_path)
    file = tmp_path / "step-0000000030" / name
    content = bytearray(file.read_bytes())
    if damage == "delete":
        file.unlink()
    else:
        content[len(content) // 2] ^= 1
        kept = {"truncate": content[: len(content) // 2], "flip": content, "empty": b""}[damage]
        file.write_bytes(kept)
    with caplog.at_level(logging.WARNING):
        assert (found := store.latest()) and found.step == 20
    assert "step-0000000030 is damaged" in caplog.text and store.steps() == [20]


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "best.safetensors"])
def test_a_file_without_a_sum_is_not_trusted(tmp_path, name):
    store = save_three(tmp_path)
    sums = tmp_path / "step-0000000030" / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if not line.endswith(f" {name}\n")))
    assert (found := store.latest()) and found.step == 20


def test_all_damaged_means_starting_over(tmp_path):
    store = save_three(tmp_path)
    for path in tmp_path.glob("step-*/state.json"):
        path.write_text("{}")
    assert store.latest() is None


def test_other_settings_are_refused(tmp_path):
    save_three(tmp_path)
    with pytest.raises(CheckpointError, match=r"other settings \(config config-a, this run has config-b\)"):
        CheckpointFolder(tmp_path, "config-b").latest()


def test_a_second_process_is_kept_out_and_leftovers_are_cleared(tmp_path):
    (tmp_path / ".part-7-1").mkdir()
    with CheckpointFolder(tmp_path, "a").locked():
        assert not list(tmp_path.glob(".part-*"))
        with (
            pytest.raises(CheckpointError, match="another training process"),
            CheckpointFolder(tmp_path, "a").locked(),
        ):
            pass
    with CheckpointFolder(tmp_path, "a").locked():
        pass


def test_the_other_process_is_named_and_its_death_frees_the_folder(tmp_path):
    hold = "import sys, time; from cldtrans.training.checkpoint import CheckpointFolder as F\n"
    hold += "with F(sys.argv[1], 'a').locked():\n    print(flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout and other.stdout.readline()
        with (
            pytest.raises(CheckpointError, match=f"pid {other.pid} on "),
            CheckpointFolder(tmp_path, "a").locked(),
        ):
            pass
    finally:
        other.kill()
        other.wait()
    with CheckpointFolder(tmp_path, "a").locked():
        assert f"pid {os.getpid()} on " in (tmp_path / "owner").read_text()


def test_a_failed_write_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    store = save_three(tmp_path)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "_flush", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(40, {"model": {"w": torch.zeros(3)}}, {})
    monkeypatch.undo()
    assert (found := store.latest()) and found.step == 30


def test_a_finished_run_started_again_returns_the_same(tmp_path):
    options = {"work_dir": tmp_path, "config_sha256": "same"}
    torch.manual_seed(0)
    first, again = ToyModel(), ToyModel()
    one = train_toy(first, LOOP, **options)

    def never(model, batch):
        raise AssertionError("a step was taken")

    two = train_toy(again, LOOP, loss=never, **options)
    assert one == two
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_damage_during_a_run_is_survived_with_the_same_result(tmp_path):
    """The newest checkpoint is lost between two starts: more steps are done again, the end is the same."""
    torch.manual_seed(0)
    start = ToyModel().state_dict()

    def train(folder, loss=toy_loss):
        model = ToyModel()
        model.load_state_dict(start)
        train_toy(model, LOOP, loss=loss, work_dir=folder, config_sha256="same")
        return model.state_dict()

    def interrupted(model, batch):
        if batch.step == 30:
            raise KeyboardInterrupt
        return toy_loss(model, batch)

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", interrupted)
    newest = max((tmp_path / "cut").glob("step-*"))
    (newest / "optimizer.safetensors").write_bytes(b"")
    assert json.loads((newest / "state.json").read_text())["step"] == 28
    cut = train(tmp_path / "cut")
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())
