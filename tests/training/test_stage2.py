"""Features of a checkpoint, task heads by linear probe, few-shot fine-tuning."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from toys.model import make_model
from toys.shards import write_shards
from toys.stage1 import small_config

from cldtrans.config import Config, write_resolved
from cldtrans.data.shards import ShardSet
from cldtrans.methods.features import extract_features
from cldtrans.methods.windows import LabelledWindows
from cldtrans.models import CLDTrans
from cldtrans.models.heads import HeadSpec
from cldtrans.training.finetuned import FineTuned
from cldtrans.training.multitask import Labelled, train_together
from cldtrans.training.stage2 import adapt, train_stage2
from cldtrans.training.tasks import class_weights, task_loss

TASK = {"name": "rhythm", "kind": "multiclass", "classes": ["slow", "fast", "none"]}


def rhythms(n, seed=0):
    """Windows of a slow rhythm, a fast one, or noise alone: class k % 3 of n windows."""
    rng = np.random.default_rng(seed)
    t = np.arange(480) / 160
    x = rng.standard_normal((n, 3, 480))
    for k in range(n):
        hertz = (4.0, 20.0, 0.0)[k % 3]
        x[k] += 2 * np.sin(2 * np.pi * (hertz * t + rng.random((3, 1)))) * (hertz > 0)
    return x


@pytest.fixture
def shards(tmp_path):
    n = 48
    index = pd.DataFrame({"subject": [f"s{k // 6}" for k in range(n)], "recording": "r"})
    index["label"] = np.arange(n, dtype=np.int16) % 3
    folder = tmp_path / "shards" / "sleepedf"
    write_shards(folder, rhythms(n), index, channels=("a", "b", "c"), sample_rate=160.0, task=TASK)
    (tmp_path / "splits/sleepedf").mkdir(parents=True)
    rows = [f"s{k},{'train' if k < 5 else 'val' if k < 6 else 'test'}" for k in range(8)]
    (tmp_path / "splits/sleepedf/seed-1.csv").write_text("subject,split\n" + "\n".join(rows) + "\n")
    make_model().save_pretrained(tmp_path / "stage1")
    return folder


def stage2_config(steps, mode="heads"):
    settings = small_config().model_dump(mode="json")
    settings["loop"]["ema_decay"] = 0.9
    settings["stage2"] |= {
        "datasets": ["sleepedf"],
        "mode": mode,
        "steps": 12,
        "finetune_steps": steps,
        "finetune_batch": 8,
        "finetune_learning_rate": 1e-3,
    }
    return Config.model_validate(settings)


def probe_heads(shards, folder):
    """Features of the stage-1 model, and its heads by linear probe in `stage2`."""
    extract_features(folder / "stage1", shards, folder / "features/sleepedf/cldtrans/seed-1.npz", 1)
    folders = ("shards", "splits", "features", "stage1", "stage2")
    train_stage2(stage2_config(0), "cldtrans", 1, *(folder / name for name in folders))


def test_features_are_the_models_own_and_repeatable(shards, tmp_path):
    output = tmp_path / "features/sleepedf/cldtrans/seed-1.npz"
    for path in (output, tmp_path / "again.npz"):
        extract_features(tmp_path / "stage1", shards, path, threads=1)
    assert output.read_bytes() == (tmp_path / "again.npz").read_bytes()
    features = np.load(output)["features"]
    model = CLDTrans.from_pretrained(tmp_path / "stage1").eval()
    assert features.shape[0] == 48 and features.dtype == np.float32 and np.isfinite(features).all()
    x = torch.from_numpy(ShardSet(shards).signals(np.arange(5, 9)))
    with torch.no_grad():
        out = model(x, 160.0, modality="eeg")
    np.testing.assert_allclose(features[5:9], out.pooled, rtol=1e-4, atol=1e-4)
    assert np.load(output)["blocks"].tolist() == [list(block) for block in model.shares("eeg")]


def test_heads_with_all_labels_are_saved_and_agree_with_the_probe(shards, tmp_path):
    probe_heads(shards, tmp_path)
    record = json.loads((tmp_path / "stage2/training.json").read_text())
    assert record["heads"]["sleepedf"]["windows"] == 30
    model = CLDTrans.from_pretrained(tmp_path / "stage2").eval()
    test = np.arange(36, 48)
    x = torch.from_numpy(ShardSet(shards).signals(test))
    with torch.no_grad():
        out = model(x, 160.0, modality="eeg")
        named = model(x, 160.0, modality="eeg", task="sleepedf")
    assert out.task == "sleepedf" and torch.equal(out.logits, named.logits)
    assert (out.logits.argmax(1).numpy() == test % 3).mean() > 0.8
    assert "sleepedf" in (tmp_path / "stage2/README.md").read_text()


def test_a_task_without_two_classes_gets_no_head(shards, tmp_path):
    table = pd.read_parquet(shards / "index.parquet")
    table["label"] = np.int16(1)
    table.to_parquet(shards / "index.parquet")
    probe_heads(shards, tmp_path)
    assert not CLDTrans.from_pretrained(tmp_path / "stage2").heads
    assert "fewer than two classes" in (tmp_path / "stage2/training.json").read_text()


def test_fine_tuning_moves_all_weights_and_predicts(shards, tmp_path):
    windows = ShardSet(shards)
    assert windows.task
    train, val, test = (LabelledWindows(windows, np.arange(*r)) for r in ((0, 30), (30, 36), (36, 48)))
    tuned = FineTuned(
        stage2_config(6), "cldtrans", tmp_path / "stage1", windows.task, "eeg", seed=0, threads=1
    )
    before = {name: value.clone() for name, value in tuned.model.named_parameters()}
    tuned.fit(train, val)
    moved = [
        name
        for name, value in tuned.model.named_parameters()
        if name in before and (value != before[name]).any()
    ]
    assert any(name.startswith("encoder.") for name in moved)
    proba = tuned.predict_proba(test)
    assert proba.shape == (12, 3) and np.allclose(proba.sum(1), 1)
    assert (proba.argmax(1) == test.y).mean() > 0.7 and tuned.nfe and tuned.parameters


def test_adapting_without_steps_is_the_linear_probe(shards):
    windows = ShardSet(shards)
    assert windows.task
    train, val = (LabelledWindows(windows, np.arange(*r)) for r in ((0, 30), (30, 36)))
    model = make_model()
    assert adapt(model, windows.task, train, val, stage2_config(0), modality="eeg") is None
    assert list(model.heads) == ["task"]


@pytest.mark.parametrize(
    ("kind", "y"),
    [
        ("multiclass", np.array([0, 1, 2, 2])),
        ("binary", np.array([0, 1, 0, 0])),
        ("multilabel", np.array([[0, 1], [1, 1], [0, 0], [-1, 1]])),
    ],
)
def test_losses_balance_classes_and_ignore_what_is_not_known(kind, y):
    classes = ("a", "b", "c") if kind == "multiclass" else ("a", "b")
    weight = torch.as_tensor(class_weights(y, kind, len(classes)), dtype=torch.float32)
    spec = HeadSpec(kind, classes, "eeg")
    logits = torch.zeros(4, spec.outputs, requires_grad=True)
    loss = task_loss(logits, torch.from_numpy(y), kind, weight)
    loss.backward()
    assert torch.isfinite(loss)
    if kind == "multilabel":
        assert logits.grad is not None and logits.grad[3, 0] == 0
    if kind == "binary":
        assert weight.tolist() == [3.0]


def test_tasks_train_graph_and_attention_and_leave_motifs_and_lags(shards, tmp_path):
    windows = ShardSet(shards)
    assert windows.task
    train, val = (LabelledWindows(windows, np.arange(*r)) for r in ((0, 30), (30, 36)))
    config = stage2_config(0, "multitask")
    model = make_model()
    assert adapt(model, windows.task, train, val, config, modality="eeg", name="sleepedf") is None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tasks = {"sleepedf": Labelled(windows.task, train, val)}
    result = train_together(model, tasks, config, seed=0, device="cpu", work_dir=None)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    kept = ("encoder.", "decoder.", "codebooks.", "lag_inference.")
    assert result.steps == 12 and not any(name.startswith(kept) for name in moved)
    assert {name.split(".")[0] for name in moved} >= {"context", "readout", "heads"}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_every_task_sends_gradients_through_the_graph():
    """Contexts begin without states: one step lets them in, and then the graph ODE learns from labels."""
    model = make_model()
    torch.nn.init.normal_(model.context.of_state.weight)
    model.attach_head("task", HeadSpec("binary", ("no", "yes"), "eeg"))
    out = model(torch.randn(2, 4, 800), 160.0, modality="eeg", task="task")
    out.logits.sum().backward()
    for part in (model.adjacency.query, model.dynamics.field.own, model.context.layers[0].in_channels):
        assert part.weight.grad is not None and part.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_two_processes_killed_and_resumed_end_with_the_same_bits(shards, tmp_path):
    extract_features(tmp_path / "stage1", shards, tmp_path / "features/sleepedf/cldtrans/seed-1.npz", 1)
    write_resolved(stage2_config(0, "multitask"), tmp_path / "config.json")

    def start(name):
        folders = ("shards", "splits", "features")
        paths = [f"--{folder}={tmp_path / folder}" for folder in folders]
        paths += [f"--checkpoint={tmp_path / 'stage1'}", f"--output={tmp_path / name}"]
        paths += [f"--config={tmp_path / 'config.json'}", f"--work-dir={tmp_path / 'work' / name}"]
        command = [sys.executable, "-m", "cldtrans", "train-stage2", "--variant=cldtrans", "--seed=1"]
        return subprocess.Popen([*command, *paths, "--procs=2"], start_new_session=True)

    assert start("whole").wait(300) == 0
    killed = start("cut")
    while not list((tmp_path / "work/cut").glob("*/step-*/state.json")):
        assert killed.poll() is None
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "cut").exists()
    assert start("cut").wait(300) == 0
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(value, cut[key]) for key, value in whole.items())
    record = json.loads((tmp_path / "whole/training.json").read_text())
    found = record["heads"]["sleepedf"]
    for kind in ("test, linear head", "test, trained together"):
        assert found[kind]["windows"] == 12 and found[kind]["subjects"] == 2
        assert found[kind]["value"] > found[kind]["chance"]
    assert record["training"]["steps"] == 12
