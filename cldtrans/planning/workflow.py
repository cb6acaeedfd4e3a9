"""Run the packaged workflow in the current folder, and clear up first after a run of it that was killed.

A killed Snakemake leaves jobs that go on writing, a lock, and incomplete files. Every process of a run
carries the run's name in its environment, and every job in a Slurm queue in its name, so the next start
finds the orphans of its own dead run and ends them, and removes the lock only when nobody is alive who could
own it.
Whether the run is dead is a matter of `ownership`.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import yaml
from tabulate import tabulate

from cldtrans.config import config_file, load_any
from cldtrans.errors import CldtransError, ConfigError
from cldtrans.files import project_folder
from cldtrans.planning import ownership, slurm

MARK = "CLDTRANS_RUN"
LOCKS = Path(".snakemake", "locks")
START = ["-m", "cldtrans", "run"]
LOUD = {"--quiet", "-q", "--verbose", "--logger"}  # who gives one of these wants Snakemake's own messages
WIDTHS = (36, 20, 24, 6, 4)  # of the columns of the headline scores: 100 with what is between them


class RunError(CldtransError):
    """A run that failed."""


def run_workflow(configfiles: Sequence[str], options: Sequence[str], report: bool = True) -> None:
    """Clear up, run, report, show.

    Parameters
    ----------
    configfiles : sequence of str
        Overlays on the paper's config: files, or names of shipped configs (`demo`).
    options : sequence of str
        Further options and targets of Snakemake.
    report : bool
        Whether to write the HTML report after a run of everything.

    Raises
    ------
    ConfigError
        A config that cannot be used, or no Snakemake.
    RunError
        Where Snakemake fails.
    OwnedError
        Where this run is already under way.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise ConfigError("a run needs Snakemake: pip install 'cldtrans[pipeline]'")
    chosen = [config_file(name) for name in configfiles]
    run = load_any(chosen).run if chosen else "paper"
    mark = f"{Path.cwd()}:{run}"
    if os.environ.get(MARK) != mark:  # others see only the environment that a process started with
        # The name of this command is "run" whatever stood before it, so that others know it for what it is.
        words = sys.argv[sys.argv.index("run") + 1 :]
        os.execve(sys.executable, [sys.executable, *START, *words], os.environ | {MARK: mark})
    started = time.monotonic()
    common = ["--snakefile", str(project_folder() / "Snakefile")]
    if chosen:
        common += ["--configfile", *map(str, chosen)]
    planned_only = bool({"-n", "--dry-run", "--dryrun", "--lint"} & set(options))
    profile, rest = split_profile(options)
    chain = ["--profile", profile]
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is not None:
        chain += ["--slurm-jobname-prefix", slurm.job_prefix(mark)]
    if not (planned_only or LOUD & set(rest)):
        chain += ["--logger", "progress"]
    with ownership.claimed(Path("data", run, "owner")):
        reclaim(run, mark, uses_slurm(profile, rest))
        snakemake(*common, *chain, "--rerun-incomplete", *rest)
        if planned_only:
            return
        if report:
            local = ["--profile", str(project_folder() / "profiles/local"), "--quiet", "all"]
            style = str(project_folder() / "workflow" / "report" / "report.css")
            written = ["--report", f"results/{run}/report.html", "--report-stylesheet", style]
            snakemake("all", *common, *local, *written)
    show_results(run, time.monotonic() - started)


def split_profile(options: Sequence[str]) -> tuple[str, list[str]]:
    """Take the profile out of Snakemake's options: the shipped one of a machine where they name none.

    A shipped one goes by its name, too: `--profile slurm-mi300x`.
    """
    rest, profile = list(options), None
    for number, word in enumerate(options):
        if word == "--profile" and number + 1 < len(options):
            profile, rest = options[number + 1], [*options[:number], *options[number + 2 :]]
        elif word.startswith("--profile="):
            profile, rest = word.partition("=")[2], [*options[:number], *options[number + 1 :]]
    shipped = project_folder() / "profiles" / (profile or "local")
    if profile is None or (not Path(profile).exists() and shipped.is_dir()):
        return str(shipped), rest
    return profile, rest


def uses_slurm(profile: str, options: Sequence[str]) -> bool:
    """Say whether jobs go to Slurm, by the profile or by a word of the command line."""
    words = " ".join(options).replace("=", " ")
    if "--executor " in words:
        return "--executor slurm" in words
    try:
        found = yaml.safe_load((Path(profile) / "config.yaml").read_text())
    except (OSError, yaml.YAMLError):
        return False  # Snakemake says what is wrong with it
    return isinstance(found, dict) and found.get("executor") == "slurm"


def run_processes(mark: str) -> list[psutil.Process]:
    """Return the live processes of this run, other than this one and its parents."""
    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def end(processes: list[psutil.Process]) -> None:
    """Ask processes to stop, then stop them."""
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                stop(process)
            except psutil.NoSuchProcess:
                continue
        _, processes = psutil.wait_procs(processes, timeout=5)


def other_snakemakes(mark: str) -> list[psutil.Process]:
    """Return Snakemake processes of other runs in this folder: one of them may own the lock."""
    found = []
    for process in psutil.process_iter():
        try:
            here = Path(process.cwd()) == Path.cwd() and "snakemake" in " ".join(process.cmdline()[:3])
            if here and process.pid != os.getpid() and process.environ().get(MARK) != mark:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def remove_partial_files(run: str) -> None:
    """Remove temporary files of killed writers; their final names were never created."""
    for folder in (Path("data", run), Path("results", run)):
        for path in folder.rglob(".*.part*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def reclaim(run: str, mark: str, on_slurm: bool = False) -> None:
    """End what is left of a dead run of this config, whose folder the caller owns."""
    try:
        cancelled = slurm.cancel(slurm.job_prefix(mark))
    except slurm.ClusterError:
        if on_slurm:
            raise
        cancelled = 0  # its programs may be installed where there is no cluster
    if cancelled:
        print(f"run: cancelled {cancelled} Slurm jobs left by a run that was killed", flush=True)
    left = run_processes(mark)
    if left:
        print(f"run: ending {len(left)} processes left by a run that was killed", flush=True)
        end(left)
    remove_partial_files(run)
    if LOCKS.is_dir() and any(LOCKS.iterdir()):
        others = other_snakemakes(mark)
        if others:
            print(f"run: keeping the lock, which process {others[0].pid} may own", flush=True)
        else:
            print("run: removing the lock of a run that was killed", flush=True)
            for lock in LOCKS.iterdir():
                lock.unlink()


def snakemake(*options: str) -> None:
    """Run Snakemake with this process's interpreter, and end its jobs when this process is to end."""
    print(f"run: {shlex.join(['snakemake', *options])}", flush=True)
    path = [str(project_folder() / "workflow" / "plugins"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    usual = {number: signal.signal(number, stop) for number in (signal.SIGHUP, signal.SIGTERM)}
    process = subprocess.Popen([sys.executable, "-m", "snakemake", *options], env=environment)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        end([psutil.Process(process.pid)] if process.poll() is None else [])
        end(run_processes(os.environ[MARK]))
        raise
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if code:
        raise RunError(f"Snakemake ended with code {code}; its messages stand above, the jobs' in logs/")


def stop(number: int, frame: object) -> None:
    """End as on Ctrl-C: the terminal was closed, or somebody asked for it."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def headline_rows(path: Path) -> str:
    """Return the table of headline scores within the columns of a terminal."""
    with path.open(newline="") as file:
        rows = [[cell[:most] for cell, most in zip(row, WIDTHS, strict=False)] for row in csv.reader(file)]
    return tabulate(rows, headers="firstrow", disable_numparse=True)


def show_results(run: str, seconds: float) -> None:
    """Print where everything lies, and the headline scores."""
    results = Path("results", run)
    headline = results / "tables" / "headline.csv"
    print(f"\n{headline_rows(headline)}\n" if headline.is_file() else "")
    print(f"Finished in {seconds / 60:.1f} minutes.")
    for name, path in (
        ("Report", results / "report.html"),
        ("Tables", results / "tables"),
        ("Figures", results / "figures"),
        ("Paper draft", results / "paper"),
        ("All scores", results / "tables" / "summary.md"),
    ):
        if path.exists():
            print(f"  {name + ':':13}{path}")
