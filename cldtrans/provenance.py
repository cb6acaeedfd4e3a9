"""Where a number came from: result records, versions and the state of the code."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import math
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

from cldtrans.errors import DataError
from cldtrans.files import project_folder, seal_holds, sealed, write_json

SCHEMA_VERSION = 1
_STARTED = time.monotonic()
_PACKAGES = ("cldtrans", "torch", "numpy", "scipy", "pandas", "scikit-learn", "mne", "wfdb", "snakemake")


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """Return the checkout's commit and whether tracked files differ from it; None outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(project_folder()), *words], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else bool(status)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a number."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def process_wall_s() -> float:
    """Return the seconds since the package was imported: a job's time without the interpreter's start."""
    return time.monotonic() - _STARTED


@functools.cache
def _validator() -> Any:
    import jsonschema

    schema = json.loads((project_folder() / "config/schemas/result.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def check_result(record: dict[str, Any], origin: str) -> None:
    """Check a record against the schema.

    Raises
    ------
    DataError
        With every way in which the record breaks the schema.
    """
    problems = [
        f"{'.'.join(map(str, error.absolute_path)) or 'record'}: {error.message}"
        for error in _validator().iter_errors(record)
    ]
    for key, value in record.get("metrics", {}).items():
        if value is None and not record.get("reasons", {}).get(key):
            problems.append(f"metrics.{key} is null without a reason")
    if problems:
        raise DataError(f"{origin}: not a valid result record: {'; '.join(problems)}")


def write_result(
    path: str | Path,
    *,
    experiment: str,
    dataset: str,
    method: str,
    budget: str,
    seed: int,
    metrics: dict[str, float | None],
    n: dict[str, Any],
    chance: dict[str, float | None],
    config_sha256: str,
    data_fingerprint: str | None = None,
    ci95: dict[str, list[float] | None] | None = None,
    reasons: dict[str, str] | None = None,
    checkpoint_sha256: str | None = None,
    parameters: int | None = None,
    nfe: float | None = None,
    device: str = "cpu",
    wall_s: float | None = None,
    notes: list[str] | None = None,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write one ``seed-<s>.json``; its content is the contract in ``config/schemas/result.schema.json``.

    A metric that the data do not define is None with an entry in `reasons`; NaN is refused.

    Returns
    -------
    dict
        The record as written.

    Raises
    ------
    DataError
        For a metric that is not finite, or a record that breaks the schema.
    """
    commit, dirty = git_state()
    reasons = dict(reasons or {})
    clean: dict[str, float | None] = {}
    for key, value in metrics.items():
        if value is not None and not math.isfinite(value):
            raise DataError(f"{path}: metric {key} is {value}; an undefined metric is null with a reason")
        clean[key] = None if value is None else float(value)
    record = {
        "schema_version": SCHEMA_VERSION,
        "experiment": experiment,
        "dataset": dataset,
        "method": method,
        "budget": budget,
        "seed": seed,
        "metrics": clean,
        "reasons": reasons,
        "ci95": ci95 or {},
        "n": n,
        "chance": chance,
        "wall_s": round(process_wall_s() if wall_s is None else wall_s, 3),
        "peak_memory_bytes": peak_memory_bytes(),
        "parameters": parameters,
        "nfe": nfe,
        "device": device,
        "config_sha256": config_sha256,
        "data_fingerprint": data_fingerprint,
        "checkpoint_sha256": checkpoint_sha256,
        "git_commit": commit,
        "git_dirty": dirty,
        "versions": versions(),
        "notes": notes or [],
        "extra": extra or {},
    }
    record = sealed(record)
    check_result(record, str(path))
    write_json(path, record)
    return record


def read_result(path: str | Path) -> dict[str, Any]:
    """Read and check one result file.

    Raises
    ------
    DataError
        Where the file is not readable or not a valid record.
    """
    try:
        record = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable result file ({error}); delete it and run the workflow again"
        ) from None
    check_result(record, str(path))
    if not seal_holds(record):
        raise DataError(
            f"{path}: changed since it was written: its content does not hash to its record_sha256; delete "
            "it and run the workflow again"
        )
    return record
