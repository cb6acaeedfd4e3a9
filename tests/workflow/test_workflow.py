"""The workflow as a whole, in a copy of the project: the plan, reruns, and a run that is killed."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from toys.paths import PROJECT
from toys.workflow import copy_project, environment, snakemake

from cldtrans.cli import COMMANDS
from cldtrans.config import load_any
from cldtrans.methods.factories import ROLES
from cldtrans.planning.code import Roots
from cldtrans.planning.plan import Plan

SCRIPTS = {path.stem for path in (PROJECT / "workflow" / "scripts").glob("*.py")}
NO_JOBS = {
    "plot_style",
    "paper_claims",
    "paper_numbers",
    "paper_tables",
    "plot_tuning",
}  # others', and not in tiny
WATCH = PROJECT / "tests" / "toys" / "watch"
FIRST = "results/tiny/fewshot/ptbxl/cldtrans/budget-1.0/seed-42.json"


def launcher(folder: Path, watch: Path | None = None, **options) -> subprocess.Popen:
    """Start the tiny config; `watch`: a folder for what each process loads and reads."""
    words = ["run", "--no-report", "--configfile", "config/tiny.yaml", "--cores", "2"]
    command = [sys.executable, "-m", "cldtrans", *words]
    watching = {"PYTHONPATH": str(WATCH), "CLDTRANS_WATCH": str(watch)} if watch else {}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment() | watching,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-6000:]
    return output


def job_counts(output: str) -> dict[str, int]:
    """Rule -> number of jobs, from Snakemake's table."""
    table = output.split("Job stats:", 1)[1]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def tables(folder: Path) -> dict[str, str]:
    """Every table but the one of wall-clock and memory."""
    found = sorted((folder / "results/tiny/tables").glob("*.csv"))
    return {path.name: path.read_text() for path in found if path.stem != "cost"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the tiny config has run."""
    folder = copy_project(tmp_path_factory.mktemp("finished"))
    started = time.monotonic()
    (folder / "watched").mkdir()
    finish(launcher(folder, folder / "watched"))
    print(f"tiny DAG: {time.monotonic() - started:.0f} s")
    return folder


@pytest.mark.workflow
def test_the_papers_plan_is_complete_before_anything_is_downloaded(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    plan = job_counts(snakemake(folder, "-n", "--quiet=rules", config=None))
    assert plan["total"] <= 8000
    assert plan["preprocess_batch"] >= 200
    records = folder / "data/raw/mimic-iv-ecg/1.0/record_list.csv"
    records.parent.mkdir(parents=True)
    with records.open("w") as file:
        file.write("subject_id,study_id,file_name,ecg_time,path\n")
        file.writelines(
            f"{10000000 + i // 5},{40000000 + i},{40000000 + i},2180-07-23 08:44:00,"
            f"files/p1000/p{10000000 + i // 5}/s{40000000 + i}/{40000000 + i}\n"
            for i in range(800_000)
        )
    # Started by a small process: a child's largest memory counts that of the one that it was forked from.
    measured = (
        "import json, resource, subprocess, sys;"
        "words = [sys.executable, '-m', 'snakemake', '-n', '--quiet=rules'];"
        "done = subprocess.run(words, stdout=sys.stderr);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", measured], cwd=folder, env=environment(), capture_output=True, text=True
    )
    code, seconds, memory = json.loads(done.stdout)
    assert code == 0 and job_counts(done.stderr) == plan
    assert seconds <= 10, "of the processor: others may use it too"
    assert memory <= 500e6


@pytest.mark.workflow
def test_the_cost_of_a_real_run_is_printed_before_its_first_job(tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    goal, cores = "data/tiny/mirror/MINIATURE.json", "--cores=1"
    assert "device-hours" not in snakemake(folder, cores, goal), "a miniature takes minutes"
    (folder / "real.yaml").write_text("source: {miniature: null}\n")
    goal = "data/tiny/download/ptbxl.json"
    output = snakemake(folder, cores, goal, "--configfile", "config/tiny.yaml", "real.yaml", config=None)
    assert output.index("device-hours") < output.index("Step time unknown") < output.index("rule download_")


@pytest.mark.workflow
@pytest.mark.slow
def test_a_finished_run_has_nothing_to_do(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "-n", FIRST)
    assert "Nothing to be done" in snakemake(finished, "-n", "all")


@pytest.mark.workflow
@pytest.mark.slow
def test_one_cell_reruns_alone_and_gives_the_same_numbers(finished: Path) -> None:
    path = finished / FIRST
    before, tables_before = json.loads(path.read_text()), tables(finished)
    path.unlink()
    assert job_counts(snakemake(finished, "-n", "--quiet=rules", FIRST)) == {
        "score_fewshot": 1,
        "total": 1,
    }
    snakemake(finished, "--cores", "2", FIRST)
    after = json.loads(path.read_text())
    assert after["metrics"] == before["metrics"]
    assert after["ci95"] == before["ci95"]
    snakemake(finished, "--cores", "2", "all")
    assert tables(finished) == tables_before


@pytest.mark.workflow
@pytest.mark.slow
def test_predictions_give_every_table_again_and_train_nothing(finished: Path) -> None:
    words = [sys.executable, "-m", "cldtrans", "rescore", "results/tiny"]
    started = time.monotonic()
    done = subprocess.run(words, cwd=finished, env=environment(), capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 60
    assert "0 of them changed" in done.stdout
    works = re.compile("train_|extract_|preprocess_|score_|deploy_")
    again = snakemake(finished, "-n", "--quiet=rules", "--forcerun", "make_tables")
    assert not any(map(works.match, job_counts(again)))
    kept = (finished / FIRST).with_suffix(".parquet")
    aside = kept.rename(kept.with_suffix(".aside"))
    try:
        counts = planned(finished)
    finally:
        aside.rename(kept)
    assert {rule: count for rule, count in counts.items() if works.match(rule)} == {"score_fewshot": 1}


@pytest.mark.workflow
@pytest.mark.slow
def test_a_changed_setting_reruns_what_depends_on_it_alone(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "-n", "all", "--config", "source={endpoint: here}")
    output = snakemake(finished, "-n", "--quiet=rules", "all", "--config", "planted={trials: 5}")
    counts = job_counts(output)
    assert counts["score_focal_lead"] >= 1
    assert not {"train_stage1", "preprocess_batch", "score_fewshot"} & set(counts)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def planned(folder: Path) -> dict[str, int]:
    output = snakemake(folder, "all", "-n", "--quiet=rules")
    return {} if "Nothing to be done" in output else job_counts(output)


@pytest.mark.workflow
@pytest.mark.slow
def test_a_code_edit_reruns_what_executes_it_and_a_comment_nothing(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    package = folder / "cldtrans"
    for file in sorted(package.rglob("*.py")):
        file.write_text(f"# a remark\n{file.read_text()}\n# another\n")
    edit(package / "training/objective.py", '"""', '"""In other words: ')
    edit(package / "data/__init__.py", "DATASETS = {", 'DATASETS = {\n    "new": "new_package:New",')
    assert planned(folder) == {}

    edit(package / "training/objective.py", "from __future__ import annotations", "ADDED = 1")
    after = planned(folder)  # the loss of stage 1: what it trains, and what rests on that
    assert {"train_stage1", "extract_features", "score_fewshot"} <= set(after)
    assert not {"preprocess_batch", "index_shards", "score_identifiability", "score_fewshot_baseline"} & set(
        after
    )
    shutil.copy2(finished / "cldtrans/training/objective.py", package / "training/objective.py")
    assert planned(folder) == {}

    edit(package / "baselines/feature_linear.py", "from __future__ import annotations", "ADDED = 1")
    assert {rule for rule in planned(folder) if rule.startswith("score")} == {"score_fewshot_baseline"}


@dataclass
class Watched:
    """What one job of the finished run loaded and read."""

    command: str  # of the command line, or a script's file
    options: dict[str, str]
    modules: set[str]  # of the project
    fields: set[str]  # "ModelConfig.width"

    def roots(self, plan: Plan) -> Roots:
        """As the job's rule states them."""
        if self.command.endswith(".py"):
            return plan.script_roots(self.command)
        method = self.options.get("method", self.options.get("variant"))
        experiment = self.options.get("experiment", self.command if self.command in ROLES else None)
        return plan.roots(self.command, self.options.get("dataset"), method, experiment)


def watched(folder: Path) -> list[Watched]:
    """Every job of the finished run."""
    found = []
    for path in sorted((folder / "watched").iterdir()):
        record = json.loads(path.read_text())
        program, *words = record["argv"] or [""]
        modules = {name for name in record["modules"] if name.split(".")[0] == "cldtrans" or name in SCRIPTS}
        if program.endswith("cldtrans/__main__.py"):
            command, itself = words[0], "cldtrans.__main__"
        elif ".snakemake/scripts/" in program:
            command = program.rpartition("/")[2].split(".", 1)[1]
            itself = Path(command).stem
        else:
            continue
        options = {key[2:]: value for key, value in pairwise(words) if key.startswith("--")}
        found.append(Watched(command, options, modules | {itself}, set(record["fields"])))
    return found


# Commands of people, and those of jobs that the tiny plan has not.
NOT_IN_TINY = {
    *("run", "doctor", "lags", "estimate", "check-dataset", "verify", "completion", "rescore"),
    *("robustness", "known-lags", "reconstruction", "published", "cost", "parcellate"),
    *("deploy", "phenotypes", "train-network"),
}
# Modules that a job may import and that none of the tiny plan has cause to.
NOT_LOADED = {
    "cldtrans.data.folds": "division of subjects, for datasets without folds of their own",
    "cldtrans.data.quality": "in cells of focal leads: channels of intracranial seizures, cut there",
    "cldtrans.data.zero_phase": "the filter of these",
}


@pytest.mark.workflow
@pytest.mark.slow
def test_every_module_that_a_job_loads_is_in_the_closure_of_its_rule(finished: Path) -> None:
    plan = Plan(load_any([PROJECT / "config/tiny.yaml"]), PROJECT / "workflow/scripts")
    closures: dict[str, set[str]] = {}
    loaded: dict[str, set[str]] = {}
    for job in watched(finished):
        closure = plan.closure(job.roots(plan))
        assert job.modules <= closure, job.command
        closures.setdefault(job.command, set()).update(closure)
        loaded.setdefault(job.command, set()).update(job.modules)
    assert {name for name in COMMANDS if name not in NOT_IN_TINY} <= set(closures)
    assert set(closures) >= {f"{name}.py" for name in SCRIPTS - NO_JOBS}
    for command, closure in closures.items():
        idle = closure - loaded[command]
        assert idle <= NOT_LOADED.keys(), command
        assert len(idle) <= len(closure) / 10, command


# Settings that shape no number: where files lie, what else is planned, how the work is shared; classes of own
# datasets, which are hashed as code.
NO_CONTENT = {
    *(f"Config.{name}" for name in ("run", "raw", "threads", "source", "datasets", "experiments")),
    *(f"Config.{name}" for name in ("dataset_classes", "scratch", "plan")),
    "SourceConfig",
    "PlanConfig",
    "DatasetConfig.batches",
}
# Settings that each command may read, because the hashes of the cells that rest on it contain them (name of a
# section: all of its fields). What a checkpoint says of itself is not the config's.
PREPARATION = {"Config.preprocess", "DatasetConfig"}
PRETRAINING = {"Config.model", "Config.stage1", "Config.loop", "Config.fft", "Stage1Config", "LoopConfig"}
METHOD = {"Config.methods", "Config.variants", "MethodConfig", "ModelConfig"}
HASHED = {
    "download": PREPARATION,
    "preprocess": PREPARATION,
    "index": PREPARATION,
    "split": set(),
    "train-stage1": {*PRETRAINING, "Config.variants", "ModelConfig"},
    "train-stage2": {"Config.stage2", "Stage2Config", "Config.loop", "LoopConfig", "ModelConfig"},
    "features": {"ModelConfig", "Config.stage2", "Stage2Config.finetune_steps"},
    "fewshot": {
        *(*METHOD, "Config.stage2", "Stage2Config.finetune_steps", "Stage1Config.datasets"),
        *("Config.search", "SearchConfig"),
    },
    "focal-lead": {
        *(*METHOD, "Config.planted", "Config.zeroshot", "PlantedConfig", "ZeroshotConfig"),
        *("IntracranialConfig", "MarksConfig", "Stage1Config.datasets"),
    },
    "identifiability": {*METHOD, "Config.identifiability", "IdentifiabilityConfig"},
}


@pytest.mark.workflow
@pytest.mark.slow
def test_every_setting_that_a_job_reads_is_in_the_hash_of_its_cell(finished: Path) -> None:
    jobs = [job for job in watched(finished) if job.command in HASHED]
    assert {job.command for job in jobs} == set(HASHED)
    assert any("LoopConfig.batch_size" in job.fields for job in jobs)
    for job in jobs:
        allowed = HASHED[job.command] | NO_CONTENT
        assert not {name for name in job.fields if not {name, name.split(".")[0]} & allowed}, job.command


@pytest.mark.workflow
@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_tables(finished: Path, tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    patience = random.Random(0).uniform(15, 30)
    process = launcher(folder, start_new_session=True)
    time.sleep(patience)
    victims = [p for p in psutil.Process(process.pid).children() if "snakemake" in " ".join(p.cmdline())]
    for victim in [psutil.Process(process.pid), *victims]:  # its jobs live on, the lock stays
        os.kill(victim.pid, signal.SIGKILL)
    process.wait()
    orphans = [p for p in psutil.process_iter() if _belongs(p, folder) and _suspended(p)]
    output = finish(launcher(folder))
    if orphans:
        assert "left by a run that was killed" in output
        assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in orphans)
    assert tables(folder) == tables(finished)


def _suspended(process: psutil.Process) -> bool:
    """Hold a process, so that it does not end by itself before somebody ends it."""
    try:
        process.suspend()
    except psutil.Error:
        return False
    return True


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("CLDTRANS_RUN") == f"{folder}:tiny"
    except (psutil.Error, OSError):
        return False


@pytest.mark.workflow
@pytest.mark.slow
def test_a_second_launch_beside_a_live_one_is_refused(finished: Path) -> None:
    (finished / FIRST).unlink(missing_ok=True)
    first = launcher(finished)
    time.sleep(2)
    second = launcher(finished)
    output, _ = second.communicate(timeout=60)
    assert second.returncode != 0
    assert "already under way" in output
    finish(first)


@pytest.mark.workflow
def test_a_misspelt_key_stops_the_workflow_with_what_was_meant(tmp_path: Path) -> None:
    overlay = tmp_path / "odd.yaml"
    overlay.write_text("run: odd\nmodel: {codebok_size: 64}\n")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--configfile", str(overlay)],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "unknown key 'model.codebok_size'; did you mean 'codebook_size'?" in done.stdout + done.stderr


@pytest.mark.workflow
@pytest.mark.parametrize("profile", ["slurm", "slurm-mi300x"])
def test_the_slurm_profiles_plan_the_paper(profile: str) -> None:
    output = snakemake(PROJECT, "-n", "--quiet=rules", "--profile", f"profiles/{profile}", "all", config=None)
    assert job_counts(output)["train_stage1"] >= 5
