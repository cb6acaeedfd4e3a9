"""A trained network as files without torch: what they say, what they cost, and which are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toys.fewshot import CHANNELS, staged
from toys.stage1 import small_config

from cldtrans.baselines.patch_transformer import PatchTransformer
from cldtrans.config import Config, parse
from cldtrans.evaluation.deploy import THREADS, VARIANTS, deploy
from cldtrans.evaluation.trained_network import train_network

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra deploy)")
ABOUT: dict[str, Any] = {"dataset": "sleepedf", "method": "small", "seed": 42}


@pytest.fixture(scope="module")
def config() -> Config:
    settings = small_config().model_dump(mode="json")
    settings["methods"]["small"] = {
        "classifier": "cldtrans.baselines.patch_transformer:PatchClassifier",
        "settings": {
            "width": 64,
            "patches": [10],
            "steps": 60,
            "batch_size": 16,
            "validate_every": 30,
            "learning_rate": 3e-3,
        },
    }
    return parse(settings)


@pytest.fixture(scope="module")
def trained(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = staged(tmp_path_factory.mktemp("deploy"))
    place: dict[str, Any] = {"shards": folder / "toy", "split": folder / "split.csv"}
    train_network(config, **ABOUT, **place, output=folder / "network" / "model.safetensors")
    deploy(
        config,
        **ABOUT,
        **place,
        network=folder / "network" / "model.safetensors",
        tolerance=0.02,
        output=folder / "deployed",
    )
    return folder


def test_every_variant_keeps_the_score_within_tolerance(trained: Path) -> None:
    record = json.loads((trained / "deployed" / "deploy.json").read_text())
    assert set(record["variants"]) == set(VARIANTS) and record["score"] > 0.6 and record["threads"] == THREADS
    assert abs(record["variants"]["fp32"]["change"]) < 1e-6
    sizes = {name: row["bytes"] for name, row in record["variants"].items()}
    assert sizes["fp16"] < 0.75 * sizes["fp32"] and sizes["int8"] < 0.75 * sizes["fp32"]
    for name, row in record["variants"].items():
        assert row["change"] > -0.02 and "refused" not in row
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        model = onnx.load(trained / "deployed" / f"{name}.onnx")
        named = {"threads", "channels", "classes", "rate_hz"}
        about = {entry.key: json.loads(entry.value) for entry in model.metadata_props if entry.key in named}
        assert about["threads"] == THREADS and about["channels"] == list(CHANNELS)
        assert about["classes"] == ["W", "N1", "N2"] and about["rate_hz"] == 100


def test_an_artefact_loads_without_torch(trained: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, onnxruntime as ort\n"
        f"session = ort.InferenceSession({str(trained / 'deployed' / 'int8.onnx')!r})\n"
        "y = session.run(None, {'x': np.zeros((5, 3, 400), np.float32)})[0]\n"
        "assert y.shape == (5, 3) and abs(y.sum(1) - 1).max() < 1e-5\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_what_loses_too_much_is_refused(trained: Path, config: Config) -> None:
    record = deploy(
        config,
        **ABOUT,
        shards=trained / "toy",
        split=trained / "split.csv",
        network=trained / "network" / "model.safetensors",
        tolerance=-1.0,  # no change is small enough
        output=trained / "refused",
    )
    assert all("more than -1" in row["refused"] for row in record["variants"].values())
    assert [path.name for path in (trained / "refused").iterdir()] == ["deploy.json"]


def test_the_small_transformer_of_129_channels_has_550_000_parameters() -> None:
    network = PatchTransformer(129, 1, 128, 2, 4, (10,))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(550_000, rel=0.03)
    assert sum(p.numel() for p in network.stem.parameters()) == 129 * 128 * 10 + 128
