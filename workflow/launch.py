"""Run one config from start to report, and clear up first after a run of it that was killed.

    python workflow/launch.py config/demo.yaml [snakemake options]

A killed Snakemake leaves jobs that go on writing, a lock, and incomplete files. Every process of a run
carries the run's name in its environment, so the next start finds the orphans of its own dead run and ends
them, and removes the lock only when nobody is alive who could own it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

PROJECT = Path(__file__).resolve().parent.parent
MARK = "CLDTRANS_RUN"
LOCKS = PROJECT / ".snakemake" / "locks"


def run_processes(mark: str) -> list[psutil.Process]:
    """Live processes of this run, other than this one and its parents."""
    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def owner_of(processes: list[psutil.Process]) -> psutil.Process | None:
    """The launcher among a run's processes whose own parent still lives: somebody waits for it."""
    for process in processes:
        try:
            command = process.cmdline()
            parent = process.parent()
        except psutil.NoSuchProcess:
            continue
        if any(Path(word).name == Path(__file__).name for word in command) and parent and parent.pid != 1:
            return process
    return None


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
    """Snakemake processes of other runs in this folder: one of them may own the lock."""
    found = []
    for process in psutil.process_iter():
        try:
            here = Path(process.cwd()) == PROJECT and "snakemake" in " ".join(process.cmdline()[:3])
            if here and process.pid != os.getpid() and process.environ().get(MARK) != mark:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def remove_partial_files(run: str) -> None:
    """Temporary files of killed writers; their final names were never created."""
    for folder in (PROJECT / "data" / run, PROJECT / "results" / run):
        for path in folder.rglob(".*.part*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def reclaim(run: str, mark: str) -> None:
    """End what is left of a dead run of this config; refuse beside a live one."""
    left = run_processes(mark)
    owner = owner_of(left)
    if owner is not None:
        sys.exit(f"launch: this run is already under way (process {owner.pid}); wait for it, or end it first")
    if left:
        print(f"launch: ending {len(left)} processes left by a run that was killed", flush=True)
        end(left)
    remove_partial_files(run)
    if LOCKS.is_dir() and any(LOCKS.iterdir()):
        others = other_snakemakes(mark)
        if others:
            print(f"launch: keeping the lock, which process {others[0].pid} may own", flush=True)
        else:
            print("launch: removing the lock of a run that was killed", flush=True)
            for lock in LOCKS.iterdir():
                lock.unlink()


def snakemake(*options: str) -> int:
    """Run Snakemake with the interpreter of this script; its exit code."""
    command = [sys.executable, "-m", "snakemake", *options]
    print(f"launch: {shlex.join(['snakemake', *options])}", flush=True)
    return subprocess.call(command, cwd=PROJECT)


def show_results(run: str, seconds: float) -> None:
    """Where everything lies, and the summary table."""
    results = Path("results") / run
    summary = PROJECT / results / "tables" / "summary.md"
    print(f"\n{summary.read_text()}" if summary.is_file() else "")
    print(f"Finished in {seconds / 60:.1f} minutes.")
    for name, path in (
        ("Report", results / "report.html"),
        ("Tables", results / "tables"),
        ("Figures", results / "figures"),
        ("Paper draft", results / "paper"),
    ):
        print(f"  {name + ':':13}{path}")


def main() -> int:
    """Clear up, run, report, show; Snakemake's exit code when it fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("configfile")
    parser.add_argument("--no-report", action="store_true", help="skip the HTML report")
    args, options = parser.parse_known_args()
    run = yaml.safe_load((PROJECT / args.configfile).read_text())["run"]
    mark = f"{PROJECT}:{run}"
    if os.environ.get(MARK) != mark:  # others see only the environment that a process started with
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {MARK: mark})
    reclaim(run, mark)
    started = time.monotonic()
    common = ["--configfile", args.configfile, "--profile", "profiles/local"]
    code = snakemake("all", *common, "--rerun-incomplete", *options)
    if code == 0 and not args.no_report:
        code = snakemake("all", *common, "--report", f"results/{run}/report.html")
    if code == 0:
        show_results(run, time.monotonic() - started)
    return code


if __name__ == "__main__":
    sys.exit(main())
