"""Files that are whole or absent: atomic writes, and what a file hashes to."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary sibling of `path`, renamed onto it when the block ends without an error.

    Works for files and folders; the suffix is kept, since writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON atomically; not-a-number is an error, because JSON has no such thing."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def project_folder() -> Path:
    """Where Snakefile, rules, workflow, profiles and configs lie: in a wheel, or around the package."""
    packaged = importlib.resources.files("cldtrans") / "_project"
    return Path(str(packaged)) if packaged.is_dir() else Path(__file__).resolve().parents[1]


def sha256_file(path: Path) -> str:
    """Hash of a file's content, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
