"""One line a finished job with the step and the time left, in place of Snakemake's long log.

The long log is in `.snakemake/log` as ever. Snakemake finds this module by its name on the path.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from logging import WARNING, LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

WIDTH = 100
FEWEST = 5  # finished jobs before a time left is told
SAID = ("Nothing to be done",)  # of the messages that are no event


@dataclass
class Progress:
    """What is known of a run.

    Attributes
    ----------
    started : float
        When its first job began, seconds of any clock; NaN before.
    jobs : dict
        Of each running or finished job: what it is, and when it began.
    """

    started: float = float("nan")
    jobs: dict[int, tuple[str, float]] = field(default_factory=dict)
    last: str = ""

    def begin(self, job: int, rule: str, wildcards: dict[str, Any], now: float) -> None:
        """Note that a job begins."""
        details = " ".join(str(value) for key, value in wildcards.items() if key not in ("run", "experiment"))
        self.jobs[job] = (f"{rule} {details}".strip(), now)
        if self.started != self.started:
            self.started = now

    def finish(self, job: int, now: float) -> None:
        """Note that a job ended well."""
        what, since = self.jobs.get(job, (f"job {job}", now))
        self.last = f"{what} ({duration(now - since)})"

    def line(self, done: int, total: int, now: float) -> str:
        """Return the line of the job that finished last, within `WIDTH` columns."""
        head = f"[{done:>{len(str(total))}}/{total}] "
        tail = ""
        if done >= FEWEST and done < total:
            tail = f"  about {duration((now - self.started) / done * (total - done))} left"
        room = WIDTH - len(head) - len(tail)
        what = self.last if len(self.last) <= room else self.last[: room - 1] + "…"
        return f"{head}{what:<{room if tail else 0}}{tail}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class LogHandler(LogHandlerBase):
    """Prints progress, warnings and failed jobs; nothing of jobs that a person has interrupted."""

    def __post_init__(self) -> None:
        """Start with nothing known."""
        self.progress = Progress()
        self.interrupted = False

    def emit(self, record: LogRecord) -> None:
        """Print what a person wants to see of an event."""
        event, now = getattr(record, "event", None), time.monotonic()
        told = record.getMessage() if record.msg else ""
        if event == LogEvent.JOB_INFO:
            entry: Any = record
            self.progress.begin(entry.jobid, entry.rule_name, dict(entry.wildcards or {}), now)
        elif event == LogEvent.JOB_FINISHED:
            self.progress.finish(record.__dict__["job_id"], now)
        elif event == LogEvent.RUN_INFO:
            self._print(f"{record.__dict__['stats'].get('total', '?')} jobs")
        elif event == LogEvent.PROGRESS:
            self._print(self.progress.line(record.__dict__["done"], record.__dict__["total"], now))
        elif told.startswith("Terminating processes on user request"):
            self.interrupted = True
        elif not self.interrupted and (record.levelno >= WARNING or told.startswith(SAID)):
            self._print(self.format(record))

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    @property
    def writes_to_stream(self) -> bool:
        """It takes the place of Snakemake's own messages."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake keeps its own log."""
        return False

    @property
    def has_filter(self) -> bool:
        """It sees every event."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Failures look as Snakemake's."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """It draws nothing."""
        return False
