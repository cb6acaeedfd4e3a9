"""How far a run is, and what it has logged: everything in a checkpoint that is not a tensor."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MAX_ROWS = 1000  # of the history, whatever the number of steps
LONG_RUN_MIN = 2  # what takes longer gets a line that says how long


@dataclass
class Progress:
    """Plain numbers only; saved and restored as JSON."""

    step: int = 0  # steps done
    finished: bool = False
    stopped: str = "steps"  # "steps" | "early"
    skipped: list[int] = field(default_factory=list)  # steps left out after a divergence
    best_step: int | None = None
    best_value: float | None = None
    worse: int = 0  # validations since the best
    step_ms: float | None = None  # median of the process that wrote this
    history: list[dict[str, float | None]] = field(default_factory=list)
    validations: list[dict[str, float | None]] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=dict)  # of the row in the making: [sum, count]

    def to_json(self) -> dict[str, Any]:
        """Return the values for the checkpoint."""
        return asdict(self)

    def replace(self, saved: Mapping[str, Any]) -> None:
        """Take the values of a checkpoint; the object stays the same one."""
        for key, value in saved.items():
            setattr(self, key, value)

    def judge(self, value: float) -> bool:
        """Tell whether a validation is the best so far; a number that is not finite never is."""
        better = math.isfinite(value) and (self.best_value is None or value < self.best_value)
        if better:
            self.best_step, self.best_value, self.worse = self.step, value, 0
        else:
            self.worse += 1
        return better


class Recorder:
    """Averages each step's numbers into at most `MAX_ROWS` rows, for the history and TensorBoard.

    Wall-clock times are kept apart from the terms, so that histories of equal runs are equal.

    Parameters
    ----------
    progress : Progress
        Filled.
    steps : int
        Of the whole run.
    log_dir : Path or None
        Folder of TensorBoard's event files; None: none are written.
    """

    def __init__(self, progress: Progress, steps: int, log_dir: Path | None):
        self.progress = progress
        self.every = max(1, math.ceil(steps / MAX_ROWS))
        self.times_ms: list[float] = []
        self.wait_ms: list[float] = []
        self._writer: Any = None
        if log_dir is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(log_dir), purge_step=progress.step + 1)
        self._last = time.perf_counter()

    def start_clock(self) -> None:
        """Begin to time a step."""
        self._last = time.perf_counter()

    def batch_arrived(self) -> None:
        """Note that the loader has delivered: what went by was waiting for data."""
        self.wait_ms.append(1e3 * (time.perf_counter() - self._last))

    def add(self, values: Mapping[str, float]) -> None:
        """Add numbers of the step just done; `progress.step` counts it already."""
        for key, value in values.items():
            total = self.progress.sums.setdefault(key, [0.0, 0])
            total[0] += value
            total[1] += 1
        now = time.perf_counter()
        self.times_ms.append(1e3 * (now - self._last))
        self._last = now
        if self.progress.step % self.every == 0:
            self.flush()

    def flush(self) -> None:
        """Close the row in the making."""
        if not self.progress.sums:
            return
        row = {key: _finite(total / count) for key, (total, count) in self.progress.sums.items()}
        self.progress.sums = {}
        self.progress.history.append({"step": self.progress.step, **row})
        self._scalars("train", row)
        self._scalars(
            "time", {"step_ms": self.step_ms(), "wait_ms": statistics.median(self.wait_ms[-50:] or [0.0])}
        )

    def add_validation(self, values: Mapping[str, float]) -> None:
        """Add the result of one validation."""
        row = {key: _finite(value) for key, value in values.items()}
        self.progress.validations.append({"step": self.progress.step, **row})
        self._scalars("validation", row)

    def step_ms(self) -> float | None:
        """Return the median time of a step in this process, milliseconds.

        The first steps, which compile and warm up, do not count.
        """
        times = self.times_ms[3:] if len(self.times_ms) > 6 else self.times_ms
        return round(statistics.median(times[-200:]), 3) if times else self.progress.step_ms

    def outlook(self, steps: int, batch_size: int, processes: int) -> str | None:
        """Say how long the rest will take at the measured pace; None for short runs."""
        step_ms = self.step_ms()
        hours = (steps - self.progress.step) * (step_ms or 0.0) / 3.6e6
        if not step_ms or hours * 60 < LONG_RUN_MIN:
            return None
        pace = batch_size / step_ms * 1e3
        return (
            f"{step_ms:.0f} ms a step, {pace:.0f} windows/s: about {hours:.1f} h to go, "
            f"{hours * processes:.1f} device-hours"
        )

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self._writer is not None:
            self._writer.close()

    def _scalars(self, group: str, row: Mapping[str, float | None]) -> None:
        if self._writer is not None:
            for key, value in row.items():
                if value is not None:
                    self._writer.add_scalar(f"{group}/{key}", value, self.progress.step)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
