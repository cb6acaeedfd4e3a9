"""Costs by hand, a gate that stops a plan before its first job, and the log of experiments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toys.paths import PROJECT

from cldtrans.cli import main
from cldtrans.config import Config, load_any
from cldtrans.errors import ConfigError
from cldtrans.planning.cost import Pace, estimate_cost
from cldtrans.planning.plan import Plan
from cldtrans.planning.prices import (
    Prices,
    costs,
    experiments,
    read_prices,
    refusal,
    render_costs,
    render_log,
    timed,
)

DEFAULT = PROJECT / "config/prices/default.yaml"
PRICES = Prices(currency="EUR", device_hour=3.0, core_hour=0.1, terabyte_month=0.0)
PACE = Pace(400.0, "as given", devices=2, cores=4, download_mb_s=100.0, samples_m_s=10.0, job_min=6.0)


@pytest.fixture(scope="module")
def tiny() -> Config:
    return load_any([PROJECT / "config/tiny.yaml"])


def benchmark(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t10\n")


def test_a_forecast_is_jobs_times_hours_times_prices(tiny: Config, tmp_path: Path) -> None:
    found = costs(tiny, PRICES, PACE, tmp_path, devices=2)
    rules = {one.rule: one for one in found.rules}
    assert {name: one.jobs for name, one in rules.items()} == {
        k: n for k, n in Plan(tiny).jobs().items() if n
    }
    stage = {one.name: one for one in estimate_cost(tiny, PACE, tmp_path).stages}["stage 1"]
    assert stage.device_hours and rules["train_stage1"].cost == pytest.approx(stage.device_hours * 3.0)
    assert rules["score_focal_lead"].cost == pytest.approx(rules["score_focal_lead"].jobs * 0.1 * 0.1)
    assert found.actual == 0 and "?" in render_costs(found)


def test_what_an_earlier_run_has_timed_replaces_assumptions_and_stands_beside(
    tiny: Config, tmp_path: Path
) -> None:
    logs = tmp_path / "logs/tiny"
    benchmark(logs / "score_focal_lead/zeroshot/a.benchmark.tsv", 30.0)
    benchmark(logs / "score_focal_lead/zeroshot/b.benchmark.tsv", 50.0)
    benchmark(logs / "audit.benchmark.tsv", 7.0)
    assert timed(logs) == {"score_focal_lead": [30.0, 50.0], "audit": [7.0]}
    rules = {one.rule: one for one in costs(tiny, PRICES, PACE, tmp_path).rules}
    lead = rules["score_focal_lead"]
    assert lead.seconds == 40.0 * lead.jobs and lead.measured_seconds == 80.0
    assert lead.measured_cost == pytest.approx(80 / 3600 * 0.1)
    assert rules["audit"].cost == rules["audit"].measured_cost == pytest.approx(7 / 3600 * 0.1)


def test_a_plan_that_is_too_dear_or_unknown_is_refused(tiny: Config, tmp_path: Path) -> None:
    found = costs(tiny, PRICES, PACE, tmp_path)
    assert found.forecast is None and "is not known" in refusal(found, 100.0)
    demo = costs(tiny, PRICES, PACE, tmp_path).rules
    known = type(found)("tiny", "EUR", [one for one in demo if one.cost is not None], 0.0)
    assert known.forecast and refusal(known, known.forecast) == ""
    assert "above the limit of 0.01" in refusal(known, 0.01) and "the dearest part is" in refusal(known, 0.01)


def test_prices_are_read_strictly(tmp_path: Path) -> None:
    assert read_prices(DEFAULT).currency == "USD"
    path = tmp_path / "prices.yaml"
    path.write_text(DEFAULT.read_text() + "gpu_hour: 1\n")
    with pytest.raises(ConfigError, match="gpu_hour"):
        read_prices(path)
    with pytest.raises(ConfigError, match="name a file in"):
        read_prices(tmp_path / "none.yaml")


def test_experiments_have_a_line_each() -> None:
    record = {
        "experiment": "fewshot", "dataset": "ptbxl", "method": "cldtrans", "budget": "1.0", "seed": 42,
        "config_sha256": "0" * 64, "git_commit": None, "device": "cpu", "wall_s": 36.0,
        "metrics": {"macro_auroc": None, "macro_f1": 0.5}, "notes": ["few subjects"],
    }  # fmt: skip
    lines = experiments([record, record | {"device": "NVIDIA H200"}], PRICES, threads=4)
    assert [line["cost"] for line in lines] == pytest.approx([0.004, 0.03])
    assert "| macro_f1 0.500 | few subjects |" in " ".join(render_log(lines).split())


def test_the_command_writes_the_log_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = str(PROJECT / "config/tiny.yaml")
    assert main(["cost", "--config", tiny, "--output", "cost"]) == 0
    assert json.loads((tmp_path / "cost/cost.json").read_text())["run"] == "tiny"
    assert (tmp_path / "cost/experiments.jsonl").read_text() == ""
    assert main(["cost", "--config", tiny, "--limit", "1e-6"]) == 2
    assert "cost.limit" in capsys.readouterr().err


@pytest.mark.workflow
def test_the_workflow_stops_before_its_first_job(tmp_path: Path) -> None:
    overlay = tmp_path / "dear.yaml"
    overlay.write_text("cost: {limit: 1.0e-6}\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--cores", "1"]
    files = ["--configfile", str(PROJECT / "config/tiny.yaml"), str(overlay)]
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "cost.limit" in done.stderr + done.stdout
    assert not (tmp_path / "data").exists() and not (tmp_path / "logs").exists()
