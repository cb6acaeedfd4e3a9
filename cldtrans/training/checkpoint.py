"""Rolling checkpoints: safetensors and JSON in a folder that appears whole or not at all.

    <work_dir>/step-0000001200/
        model.safetensors ...   one file a group of tensors
        state.json              everything else
        SHA256SUMS              of the files above

A folder is written under a temporary name, flushed and renamed, so a kill leaves the previous ones intact;
the sums tell a truncated or corrupted one, which is then left out with a warning. Nothing is pickled.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cldtrans.errors import CldtransError
from cldtrans.files import SUMS, locked, read_sums, sha256_file, write_sums

KEEP = 2
log = logging.getLogger(__name__)

Groups = dict[str, dict[str, Tensor]]


class CheckpointError(CldtransError):
    """A checkpoint that must not be used for this run."""


@dataclass(frozen=True)
class Checkpoint:
    """State after `step` steps: named groups of CPU tensors, and whatever JSON holds."""

    step: int
    groups: Groups
    state: dict[str, Any]


class CheckpointFolder:
    """The last `KEEP` checkpoints of one run, in `folder`.

    Parameters
    ----------
    folder : Path
        Scratch folder of this run alone; must be seen by all ranks. Not a declared output of a rule:
        those are deleted before a retry.
    config_sha256 : str
        Of the settings; a checkpoint of other settings is refused.
    """

    def __init__(self, folder: Path, config_sha256: str):
        self.folder, self.config_sha256 = Path(folder), config_sha256

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Claim the folder while the block runs, or the process lives; for the one rank that writes.

        A killed workflow may leave its training process alive: two of them must not write here.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        owner = self.folder / "owner"

        def refuse() -> None:
            name = owner.read_text().strip() if owner.exists() else "unknown"
            raise CheckpointError(
                f"{self.folder}: another training process ({name}) works here; wait for it or end it"
            )

        with locked(self.folder, refuse):
            owner.write_text(f"pid {os.getpid()} on {socket.gethostname()}\n")
            for stale in self.folder.glob(".part-*"):
                shutil.rmtree(stale, ignore_errors=True)
            yield

    def save(self, step: int, groups: Groups, state: dict[str, Any]) -> None:
        """Write one checkpoint and drop those older than the last `KEEP`."""
        from safetensors.torch import save_file

        target = self._path(step)
        part = self.folder / f".part-{step}-{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, tensors in groups.items():
            save_file(tensors, part / f"{name}.safetensors")
        record = {"step": step, "config_sha256": self.config_sha256, "groups": sorted(groups), **state}
        (part / "state.json").write_text(json.dumps(record, allow_nan=False))
        files = sorted(path for path in part.iterdir())
        for path in (*files, write_sums(part, [path.name for path in files]), part):
            _flush(path)
        if target.exists():  # a step done again after a rollback
            shutil.rmtree(target)
        part.rename(target)
        _flush(self.folder)
        for old in self.steps()[:-KEEP]:
            shutil.rmtree(self._path(old))

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, ascending."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def latest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint, None where there is none; remove damaged ones with a warning.

        Raises
        ------
        CheckpointError
            If it belongs to a run with other settings.
        """
        for step in reversed(self.steps()):
            problem = self._problem(step)
            if problem is None:
                return self.read(step)
            log.warning("%s is damaged (%s); using the one before it", self._path(step), problem)
            shutil.rmtree(self._path(step))
        return None

    def read(self, step: int) -> Checkpoint:
        """Load the checkpoint of one step, which `latest` found intact."""
        from safetensors.torch import load_file

        path = self._path(step)
        state = json.loads((path / "state.json").read_text())
        if state["config_sha256"] != self.config_sha256:
            raise CheckpointError(
                f"{path} was made with other settings (config {state['config_sha256'][:12]}, this run has "
                f"{self.config_sha256[:12]}); restore the config, or delete {self.folder} to start over"
            )
        return Checkpoint(
            step, {name: load_file(path / f"{name}.safetensors") for name in state["groups"]}, state
        )

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:010d}"

    def _problem(self, step: int) -> str | None:
        """Say why a checkpoint cannot be trusted, None when it can."""
        path = self._path(step)
        try:
            sums = read_sums(path)
            if "state.json" not in sums:
                return f"{SUMS} is incomplete"
            wrong = [name for name, digest in sums.items() if sha256_file(path / name) != digest]
            groups = json.loads((path / "state.json").read_text())["groups"] if not wrong else []
            missing = [name for name in groups if f"{name}.safetensors" not in sums]
        except (OSError, ValueError) as error:
            return str(error)
        return f"wrong checksum or missing: {', '.join(wrong + missing)}" if wrong or missing else None


class CheckpointMemory:
    """The same for short runs that need not survive their process: the last checkpoint, in memory."""

    def __init__(self) -> None:
        self._last: Checkpoint | None = None

    def save(self, step: int, groups: Groups, state: dict[str, Any]) -> None:
        """Keep one checkpoint; its JSON part is copied by a round trip."""
        self._last = Checkpoint(step, groups, json.loads(json.dumps(state, allow_nan=False)))

    def latest(self) -> Checkpoint | None:
        """Return the last one saved."""
        return self._last


def _flush(path: Path) -> None:
    """Make a file's or folder's content survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
