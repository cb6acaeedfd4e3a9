"""Features of a checkpoint, task heads by linear probe, few-shot fine-tuning."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from toys.model import make_model
from toys.shards import write_shards
from toys.stage1 import small_config

from cldtrans.config import Config
from cldtrans.data.shards import ShardSet
from cldtrans.methods.features import extract_features
from cldtrans.methods.windows import LabelledWindows
from cldtrans.models import CLDTrans
from cldtrans.models.heads import HeadSpec
from cldtrans.training.finetuned import FineTuned
from cldtrans.training.stage2 import adapt, class_weights, task_loss, train_stage2

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


def stage2_config(steps):
    settings = small_config().model_dump(mode="json")
    settings["stage2"] |= {
        "datasets": ["sleepedf"],
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
