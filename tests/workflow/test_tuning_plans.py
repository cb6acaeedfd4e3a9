"""The plans of fine-tuning and of HBN-EEG, from bytes to scores, on the smallest miniature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from toys.paths import PROJECT
from toys.workflow import copy_project, snakemake

FEW = {"steps": 3, "batch_size": 8, "validate_every": 3, "warmup_steps": 0}
SMALL = {"width": 16, "layers": 1, "heads": 2}
GEORGIA = "challenge2021-georgia"


def on_the_miniature(folder: Path, plan: str, **changes: Any) -> Path:
    """Write a plan with few steps, one seed and the smallest miniature."""
    settings = yaml.safe_load((PROJECT / "config" / f"{plan}.yaml").read_text())
    tiny = yaml.safe_load((PROJECT / "config" / "tiny.yaml").read_text())
    for part in ("size", "model", "loop"):
        settings[part] = tiny[part]
    source = {"url": f"data/{plan}/mirror", "miniature": "tiny"}
    settings |= {"threads": 1, "raw": f"data/{plan}/raw", "source": source}
    settings["stage1"] |= {"validation_windows": 4, "max_channels": 6}
    settings["preprocess"] = {
        name: {"dtype": "float32", "shards": 1, "batches": 1} for name in settings["datasets"]
    }
    for name, method in settings["methods"].items():
        if method.get("variant"):
            method["settings"] = {"finetune_steps": 2, "finetune_batch": 4, "finetune_learning_rate": 1e-4}
        elif "patch_transformer" in method["classifier"]:
            shape = SMALL if name == "ecg_teacher" else {}
            method["settings"] = {**method.get("settings", {}), **FEW, **shape}
            if method.get("start", {}).get("setting") == "teacher":
                method["settings"]["teacher_shape"] = SMALL
    for block in settings["experiments"]:
        block |= {"seeds": [42], "budgets": ["1.0"]}
    settings |= changes
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def result(folder: Path, run: str, dataset: str, method: str) -> dict[str, Any]:
    path = folder / f"results/{run}/fewshot/{dataset}/{method}/budget-1.0/seed-42.json"
    return json.loads(path.read_text())


@pytest.mark.workflow
def test_a_strategy_on_ecg_and_a_number_from_eeg(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    ecg = on_the_miniature(folder, "finetuning", datasets=[GEORGIA, "mimic_ecg"])
    settings = yaml.safe_load(ecg.read_text())
    for method in settings["methods"].values():
        method.pop("start", None)
    block = {"target": "baselines", "experiment": "fewshot", "budgets": ["1.0"], "seeds": [42]}
    settings["experiments"] = [{**block, "datasets": [GEORGIA], "methods": ["tuned_fusion"]}]
    ecg.write_text(yaml.safe_dump(settings))
    snakemake(folder, "--cores", "2", "baselines", config=str(ecg))
    found = result(folder, "finetuning", GEORGIA, "tuned_fusion")
    costs = found["extra"]["costs"]
    assert costs["strategy"] == "fusion" and costs["step_saved_bytes"] > 0 and costs["step_ms"] > 0
    named = {"macro_auroc", "macro_auprc", "macro_f2", "ranking_loss", "coverage_error", "hamming_loss"}
    assert named <= set(found["metrics"])
    eeg = on_the_miniature(folder, "hbn", datasets=["hbn-rt", "hbn-factors"])
    settings = yaml.safe_load(eeg.read_text())
    settings["experiments"] = [
        {**block, "datasets": ["hbn-rt"], "methods": ["patch_transformer", "floor_earlier"]}
    ]
    eeg.write_text(yaml.safe_dump(settings))
    snakemake(folder, "--cores", "2", "baselines", config=str(eeg))
    found = result(folder, "hbn", "hbn-rt", "patch_transformer")
    assert found["metrics"]["nrmse"] > 0 and found["chance"]["nrmse"] == 1.0
    assert found["metrics"]["nrmse@metadata_floor"] is not None
    assert found["n"]["subjects"] == {"train": 2, "val": 1, "test": 4}
    assert result(folder, "hbn", "hbn-rt", "floor_earlier")["metrics"]["nrmse"] is not None


@pytest.mark.long
@pytest.mark.workflow
def test_the_whole_plan_of_fine_tuning(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    plan = on_the_miniature(folder, "finetuning", datasets=[GEORGIA, "code15", "mimic_ecg"])
    settings = yaml.safe_load(plan.read_text())
    for block in settings["experiments"]:
        block["datasets"] = [GEORGIA]  # of the four, which are read alike
    plan.write_text(yaml.safe_dump(settings))
    snakemake(folder, "--cores", "2", config=str(plan), timeout_s=3600)
    table = (folder / "results/finetuning/tables/tuning.csv").read_text()
    for method in ("tuned_accumulate", "tuned_fusion", "tuned_fusion_first", "cldtrans_fusion"):
        assert method in table
    assert (folder / "results/finetuning/figures/tuning.png").stat().st_size > 0
    student = folder / "results/finetuning/checkpoints/networks/ecg_student/code15/seed-42"
    assert (student / "model.safetensors").is_file()
    found = result(folder, "finetuning", GEORGIA, "tuned_full")
    assert any("tensors from the checkpoint" in note for note in found["notes"])


@pytest.mark.long
@pytest.mark.workflow
def test_the_whole_plan_of_hbn(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    plan = on_the_miniature(folder, "hbn")
    snakemake(folder, "--cores", "2", config=str(plan), timeout_s=3600)
    for dataset, metric in (("hbn-rt", "nrmse"), ("hbn-hit", "auroc"), ("hbn-factors", "pearson_r")):
        assert metric in result(folder, "hbn", dataset, "patch_transformer")["metrics"]
    summary = (folder / "results/hbn/tables/summary.csv").read_text()
    for method in ("floor_mean", "floor_person", "floor_design", "floor_earlier", "patch_transformer"):
        assert method in summary
