"""A run started again finds what its dead predecessor left, and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from toys.paths import PROJECT

from cldtrans.planning import workflow
from cldtrans.planning.workflow import MARK, end, reclaim, remove_partial_files

MINE = "tests of runs, of this process"


def sleeper(*command: str, mark: str = MINE) -> subprocess.Popen:
    """A process that sleeps, of the run `mark`; it prints once it does."""
    script = "import time; print(flush=True); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, *(command or ("-c", script))],
        env=os.environ | {MARK: f"{mark} {os.getpid()}"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline()
    return process


@pytest.fixture
def orphan() -> Iterator[subprocess.Popen]:
    process = sleeper()
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    return tmp_path


def test_what_a_dead_run_left_is_ended_and_its_lock_removed(folder, orphan, monkeypatch, capsys):
    stranger = sleeper(mark="another run")
    try:
        monkeypatch.setattr(workflow, "other_snakemakes", lambda mark: [])
        reclaim("tiny", f"{MINE} {os.getpid()}")
        assert not psutil.pid_exists(orphan.pid) and stranger.poll() is None
        assert not list((folder / ".snakemake/locks").iterdir())
        assert "ending 1 processes" in (told := capsys.readouterr().out) and "removing the lock" in told
    finally:
        stranger.kill()
        stranger.wait()


def test_the_lock_of_somebody_else_stays(folder, monkeypatch, capsys):
    monkeypatch.setattr(workflow, "other_snakemakes", lambda mark: [psutil.Process()])
    reclaim("tiny", f"{MINE} {os.getpid()}")
    assert list((folder / ".snakemake/locks").iterdir())
    assert f"process {os.getpid()} may own" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "profile", "rest"),
    [
        (["-n"], "local", ["-n"]),
        (["--profile", "slurm-mi300x", "all"], "slurm-mi300x", ["all"]),
        (["all", "--profile=profiles/slurm", "-n"], "profiles/slurm", ["all", "-n"]),
    ],
)
def test_one_profile_the_users_or_that_of_one_machine(options, profile, rest):
    found, others = workflow.split_profile(options)
    assert found.endswith(profile) and others == rest


def test_jobs_go_to_slurm_where_profile_or_word_says_so(tmp_path):
    shipped = workflow.project_folder() / "profiles"
    assert workflow.uses_slurm(str(shipped / "slurm-mi300x"), [])
    assert not workflow.uses_slurm(str(shipped / "slurm-mi300x"), ["--executor", "local"])
    assert not workflow.uses_slurm(str(shipped / "local"), [])
    assert workflow.uses_slurm(str(shipped / "local"), ["--executor=slurm"])
    assert not workflow.uses_slurm(str(tmp_path), [])


def test_a_hostile_profile_is_read_as_text_and_nothing_in_it_is_executed(tmp_path):
    evil = tmp_path / "evil"
    evil.mkdir()
    trace = tmp_path / "trace"
    (evil / "config.yaml").write_text(f"executor: !!python/object/apply:os.system ['touch {trace}']\n")
    assert not workflow.uses_slurm(str(evil), [])
    (evil / "config.yaml").write_text("- slurm\n")
    assert not workflow.uses_slurm(str(evil), [])
    assert not trace.exists()


def test_jobs_that_a_dead_run_left_in_a_queue_are_cancelled(folder, monkeypatch, capsys):
    monkeypatch.setattr(workflow.slurm, "cancel", lambda prefix: 3)
    reclaim("tiny", f"{MINE} {os.getpid()}")
    assert "cancelled 3 Slurm jobs" in capsys.readouterr().out


def test_a_queue_that_does_not_answer_stops_a_run_that_needs_it_and_no_other(folder, monkeypatch):
    def silent(prefix: str) -> int:
        raise workflow.slurm.ClusterError("squeue does not answer")

    monkeypatch.setattr(workflow.slurm, "cancel", silent)
    reclaim("tiny", f"{MINE} {os.getpid()}")
    with pytest.raises(workflow.slurm.ClusterError):
        reclaim("tiny", f"{MINE} {os.getpid()}", on_slurm=True)


def test_processes_that_do_not_listen_are_killed(monkeypatch):
    deafen = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf = sleeper("-c", deafen + "print(flush=True); time.sleep(600)")
    wait = psutil.wait_procs
    monkeypatch.setattr(psutil, "wait_procs", lambda processes, timeout: wait(processes, timeout=0.2))
    end([psutil.Process(deaf.pid)])
    assert not psutil.pid_exists(deaf.pid)


def test_partial_files_go_and_finished_ones_stay(folder):
    kept, partial = folder / "results/tiny/a.json", folder / "results/tiny/.a.12.part.json"
    unfinished = folder / "data/tiny/shards/.x.7.part"
    unfinished.mkdir(parents=True)
    (unfinished / "shard").touch()
    kept.parent.mkdir(parents=True)
    kept.touch()
    partial.touch()
    remove_partial_files("tiny")
    assert kept.is_file() and not partial.exists() and not unfinished.exists()


def test_what_a_run_made_is_shown(folder, capsys):
    (folder / "results/tiny/tables").mkdir(parents=True)
    rows = ["score,ours,best rival,chance,n", '"CHB-MIT, planted: top-1",0.969,0.979 Single source,0.056,12']
    rows.append(",".join(["long" * 20] * 5))
    (folder / "results/tiny/tables/headline.csv").write_text("\n".join(rows))
    workflow.show_results("tiny", 90.0)
    told = capsys.readouterr().out
    assert "CHB-MIT, planted: top-1" in told and max(map(len, told.splitlines())) <= 100
    assert "1.5 minutes" in told and "Tables:" in told and "Report:" not in told


def test_closing_the_terminal_ends_the_jobs(tmp_path):
    """A rule that sleeps, in a session of its own as some launchers start it; the launcher gets SIGHUP."""
    (tmp_path / "sleeper.py").write_text(
        "import os, subprocess, sys\n"
        "from cldtrans.planning import workflow\n"
        "job = [sys.executable, '-c', 'import time; print(flush=True); time.sleep(600)']\n"
        "started = subprocess.Popen(job, start_new_session=True, stdout=subprocess.PIPE)\n"
        "started.stdout.readline()\n"
        "print(started.pid, flush=True)\n"
        "workflow.snakemake('all')\n"
    )
    fake = tmp_path / "snakemake"
    fake.mkdir()
    (fake / "__main__.py").write_text("import time; print('ready', flush=True); time.sleep(600)")
    (fake / "__init__.py").touch()
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    mark = f"{MINE} closing {os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "sleeper.py"],
        cwd=tmp_path,
        env=os.environ | {MARK: mark, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    job = int(process.stdout.readline())
    while "ready" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) != 0
    assert not psutil.pid_exists(job)
    process.stdout.close()
    process.kill()


def test_progress_is_one_line_a_job_with_step_and_time_left():
    sys.path.insert(0, str(PROJECT / "workflow" / "plugins"))
    from snakemake_logger_plugin_progress import WIDTH, Progress

    progress = Progress()
    for job in range(6):
        wildcards = {"run": "tiny", "experiment": "planted", "dataset": "chbmit", "seed": str(job)}
        progress.begin(job, "score_focal_lead", wildcards, 10.0 * job)
        progress.finish(job, 10.0 * (job + 1))
        line = progress.line(job + 1, 12, 10.0 * (job + 1))
        assert len(line) <= WIDTH
        assert line.startswith(f"[{job + 1:>2}/12] score_focal_lead chbmit {job} (10 s)")
        assert ("left" in line) == (job >= 4)
    assert line.endswith("about 60 s left")
    progress.begin(9, "rule", {"dataset": "x" * 200}, 0.0)
    progress.finish(9, 1.0)
    assert len(progress.line(10, 12, 100.0)) <= WIDTH and "…" in progress.line(10, 12, 100.0)
    assert "left" not in progress.line(12, 12, 100.0)
