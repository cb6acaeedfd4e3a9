"""Costs of a config against arithmetic by hand, and its job counts against the workflow's own plan."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from toys.paths import PROJECT

from cldtrans.cli import main
from cldtrans.config import load_any, parse, resized
from cldtrans.data import get_dataset
from cldtrans.planning.cost import (
    GIB,
    Pace,
    calibrated_step_ms,
    dataset_cost,
    estimate_cost,
    fallbacks,
    measured_step_ms,
    render,
    render_fit,
    wall_hours,
)
from cldtrans.planning.plan import Plan

PAPER, DEMO, TINY, LOSO = (PROJECT / f"config/{name}.yaml" for name in ("config", "demo", "tiny", "loso"))
PACE = Pace(400.0, "as given", devices=8, cores=16, download_mb_s=100.0, samples_m_s=10.0, job_min=6.0)


def test_stage1_hours_follow_from_the_step_time():
    config = load_any([PAPER])
    result = estimate_cost(config, PACE)
    stage = {cost.name: cost for cost in result.stages}["stage 1"]
    assert stage.jobs == Plan(config).jobs()["train_stage1"]
    real = (1 - config.stage1.simulator_fraction) * config.loop.batch_size
    windows = sum(cost.windows for cost in result.datasets if cost.name in config.stage1.datasets)
    assert config.loop.epochs == 60 and windows > 800_000
    steps = stage.jobs * 60 * windows / real
    assert stage.wall_hours == pytest.approx(steps * 0.4 / 3600, rel=1e-4)
    assert "60 epochs" in stage.how
    assert stage.wall_hours and stage.device_hours == pytest.approx(8 * stage.wall_hours)


def test_each_fallback_is_one_line_and_saves_what_it_leaves_out(tmp_path):
    config = load_any([PAPER])
    ways = {way.words: way for way in fallbacks(config, PACE)}
    assert set(ways) == {"200,000 records of MIMIC-IV-ECG", "three seeds", "no condition with all labels"}
    whole = wall_hours(estimate_cost(config, PACE))
    for number, way in enumerate(ways.values()):
        assert "\n" not in way.line
        overlay = tmp_path / f"{number}.yaml"
        overlay.write_text(way.line + "\n")
        less = load_any([overlay])
        reduced = wall_hours(estimate_cost(less, PACE))
        assert whole and reduced and way.wall_hours
        assert way.wall_hours == pytest.approx(whole - reduced)
        assert way.wall_hours > 0
        assert way.words not in [other.words for other in fallbacks(less, PACE)], "it is used now"
    seeds = ways["three seeds"]
    assert seeds.jobs > 0.3 * sum(Plan(config).jobs().values())
    assert ways["200,000 records of MIMIC-IV-ECG"].jobs == 0


def test_three_seeds_are_the_first_three_everywhere(tmp_path):
    overlay = tmp_path / "three.yaml"
    overlay.write_text("plan: {first_seeds: 3, skip_budgets: ['1.0']}\n")
    whole, config = load_any([PAPER]), load_any([overlay])
    assert {cell.seed for cell in Plan(config).cells} == set(whole.experiments[0].seeds[:3])
    assert config.stage2.seeds == whole.stage2.seeds[:3]
    budgets = {(cell.experiment, cell.budget) for cell in Plan(config).cells if cell.method == "cldtrans"}
    assert ("fewshot", "1.0") not in budgets and ("fewshot", "0.1") in budgets
    assert ("robustness", "1.0") in budgets, "a block that has no other budget keeps it"
    assert parse(config.model_dump(mode="json", by_alias=True)) == config, "resolved twice is the same"


@pytest.mark.parametrize(
    ("step_ms", "said"),
    [(40.0, "fits the booked 8-10 days"), (100000.0, "does NOT fit"), (None, "cannot be said")],
)
def test_whether_the_plan_fits_the_booked_days_is_said(step_ms, said):
    pace = dataclasses.replace(PACE, step_ms=step_ms, download_mb_s=1000.0)
    config = load_any([PAPER])
    told = render_fit(estimate_cost(config, pace), fallbacks(config, pace))
    assert said in told
    assert ("stage 1" in told) == (step_ms is not None) and "first_seeds: 3" in told


def test_stage2_hours_are_those_of_its_own_training():
    config = load_any([PAPER])
    stage = {cost.name: cost for cost in estimate_cost(config, PACE).stages}["stage 2"]
    windows = Plan(config).jobs()["train_stage2"] * config.stage2.steps * config.stage2.finetune_batch
    assert stage.wall_hours == pytest.approx(windows / config.loop.batch_size * 0.4 / 3600)
    heads = config.model_copy(update={"stage2": config.stage2.model_copy(update={"mode": "heads"})})
    assert {cost.name: cost for cost in estimate_cost(heads, PACE).stages}["stage 2"].wall_hours == 0


def test_without_a_step_time_training_is_unknown_not_free():
    pace = Pace(None, "", 8, 16, 100.0, 10.0, 6.0)
    result = estimate_cost(load_any([PAPER]), pace)
    stages = {cost.name: cost for cost in result.stages}
    assert stages["stage 1"].device_hours is None and stages["few-shot"].wall_hours is None
    assert stages["download"].wall_hours == pytest.approx(179.6e9 / 1e8 / 3600, rel=0.01)
    text = render(result)
    assert "Step time unknown" in text and re.search(r"total .* \? +\? ", text)


def test_windows_and_bytes_of_the_paper():
    config = load_any([PAPER])
    mimic = dataset_cost(config, "mimic_ecg", Path("/nonexistent"))
    assert mimic.windows == pytest.approx(800_035, rel=1e-4) and not mimic.measured
    assert mimic.shard_bytes == mimic.windows * 12 * 5000 * 2
    assert mimic.download_bytes == pytest.approx(90.4 * GIB)


@pytest.mark.parametrize(
    "name, channels, sample_rate, hours",
    [
        ("chbmit", 23, 256, 983),
        ("eegmmidb", 64, 160, 48.7),
        ("ptbxl", 12, 500, 60.6),
        ("mimic_ecg", 12, 500, 2222),
    ],
)
def test_published_sizes_agree_with_arithmetic(name, channels, sample_rate, hours):
    published = get_dataset(name).published
    assert (
        published and published.rate_hz == sample_rate and published.hours == pytest.approx(hours, rel=1e-3)
    )
    assert published.size_gib == pytest.approx(channels * sample_rate * hours * 3600 * 2 / GIB, rel=0.1)


def test_a_mirror_counts_for_what_it_holds(tmp_path, monkeypatch):
    config = load_any([PAPER])
    mirror = tmp_path / "mirror"
    held = mirror / "ptb-xl/1.0.3/records500/00000"
    held.mkdir(parents=True)
    (held / "00001_hr.dat").write_bytes(bytes(3_000_000))
    monkeypatch.setenv("CLDTRANS_MIRROR", str(mirror))
    cost = dataset_cost(config, "ptbxl", tmp_path)
    assert cost.download_bytes == pytest.approx(3_000_000, abs=1)
    whole = get_dataset("ptbxl").published
    assert whole is not None
    share = 3_000_000 / (whole.size_gib * GIB)
    assert cost.windows == int(whole.hours * 3600 / config.preprocess["ptbxl"].stride_s * share)
    assert dataset_cost(config, "mimic_ecg", tmp_path).download_bytes == 0
    monkeypatch.delenv("CLDTRANS_MIRROR")
    assert dataset_cost(config, "mimic_ecg", tmp_path).download_bytes == pytest.approx(90.4 * GIB)


def test_selection_and_own_numbers_replace_the_published_ones(tmp_path):
    config = load_any([PAPER])
    few = config.preprocess["mimic_ecg"].model_copy(update={"records": 200_000})
    fallback = config.model_copy(update={"preprocess": {**config.preprocess, "mimic_ecg": few}})
    assert dataset_cost(fallback, "mimic_ecg", tmp_path).windows == pytest.approx(200_000, rel=1e-3)
    for path, content in {
        "data/paper/download/ptbxl.json": {"bytes": 12345},
        "data/paper/shards/ptbxl/meta.json": {"n_windows": 400},
        "results/paper/checkpoints/stage1/cldtrans/seed-42/training.json": {"step_ms": 321.5},
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content))
    cost = dataset_cost(config, "ptbxl", tmp_path)
    assert (cost.download_bytes, cost.windows, cost.shard_bytes) == (12345, 400, 400 * 12 * 5000 * 2)
    assert cost.measured and measured_step_ms(config, tmp_path) == 321.5
    assert measured_step_ms(config, tmp_path / "elsewhere") is None


def test_command_prints_a_table_and_writes_json_without_torch(tmp_path):
    script = (
        "import sys; from cldtrans.cli import main; code = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules; raise SystemExit(code)"
    )
    arguments = ["estimate", "--config", str(DEMO), "--step-ms", "100", "--json", str(tmp_path / "cost.json")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    assert "stage 1" in done.stdout and "Step time 100 ms" in done.stdout
    written = json.loads((tmp_path / "cost.json").read_text())
    assert written["run"] == "demo" and len(written["stages"]) == 9


def test_calibration_is_kept_and_used_while_its_settings_hold(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["estimate", "--config", str(TINY)]
    assert main(command) == 0 and "--calibrate` measures it" in capsys.readouterr().out
    assert main([*command, "--calibrate"]) == 0
    assert "calibrated on one" in capsys.readouterr().out
    config = load_any([TINY])
    record = json.loads((tmp_path / "results/tiny/calibration.json").read_text())
    assert set(record["corpora"]) == {"eegmmidb", "mimic_ecg", "worlds-eeg", "worlds-ecg"}
    paces = [record["corpora"][name] for name in sorted(record["corpora"])]
    assert record["window_ms"] == pytest.approx(
        sum(w * p for w, p in zip((3, 3, 1, 1), paces, strict=True)) / 8
    )
    step_ms, origin = calibrated_step_ms(config, devices=2) or (0.0, "")
    assert step_ms == pytest.approx(record["window_ms"] * config.loop.batch_size / 2, abs=0.1)
    assert "2 are taken to be 2 times as fast" in origin
    assert main(command) == 0 and "calibrated on one" in capsys.readouterr().out
    wider = config.model_copy(update={"model": config.model.model_copy(update={"width": 16})})
    assert calibrated_step_ms(wider, devices=1) is None


def test_another_size_replaces_the_networks_values(capsys):
    demo, other = load_any([DEMO]), resized(load_any([DEMO]), "L")
    assert demo.model.width == 32 and other.size == "L"
    assert {key: getattr(other.model, key) for key in other.sizes["L"]} == other.sizes["L"]
    assert other.model.codebook_size == demo.model.codebook_size
    assert main(["estimate", "--config", str(TINY), "--size", "B"]) == 0
    assert "2 steps of 4, size B" in capsys.readouterr().out
    assert main(["estimate", "--config", str(TINY), "--size", "XL"]) != 0
    assert "unknown size 'XL'" in capsys.readouterr().err


def test_a_missing_config_is_one_clear_line(capsys):
    assert main(["estimate", "--config", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "cldtrans estimate: nowhere.yaml: No such file or directory\n"


@pytest.mark.workflow
@pytest.mark.parametrize("path", [TINY, DEMO, LOSO], ids=["tiny", "demo", "loso"])
def test_job_counts_are_those_of_the_workflow(path):
    command = [sys.executable, "-m", "snakemake", "-n", "--forceall", "--nolock", "--configfile", str(path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    planned = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE)}
    del planned["all"], planned["total"]
    assert planned == {rule: n for rule, n in Plan(load_any([path])).jobs().items() if n}
