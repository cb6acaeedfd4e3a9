"""Copies of the project, and Snakemake in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from toys.paths import PROJECT

PARTS = ("Snakefile", "rules", "workflow", "cldtrans", "config", "profiles", "envs", "constraints.txt")


def copy_project(folder: Path) -> Path:
    for part in PARTS:
        source = PROJECT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    return folder


def environment() -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CLDTRANS_")}
    return clean | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def snakemake(
    folder: Path, *options: str, config: str | None = "config/tiny.yaml", timeout_s: float = 600
) -> str:
    """Run Snakemake in a copy; all that it printed."""
    chosen = ["--configfile", config] if config else []
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *options, *chosen],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    return output
