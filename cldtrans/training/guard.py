"""When a training step must not be taken, and when a run must stop."""

from __future__ import annotations

import math
import signal
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cldtrans.errors import CldtransError

MEMORY_STEPS = 100  # accepted losses that the running median is taken over
MIN_STEPS = 20  # below this many nothing but a non-finite number counts as divergence
EXIT_PREEMPTED = (
    75  # EX_TEMPFAIL of sysexits.h: try again later; unlike 143 it says that a checkpoint was written
)


class DivergenceError(CldtransError):
    """Training diverged again after it had been rolled back once."""


class Preempted(SystemExit):
    """SIGTERM was received and a checkpoint written: run the same command again to go on.

    The exit code is 75. Under Snakemake that is a failed job, which the profile's `retries` submits again;
    under `sbatch --requeue` Slurm does. torchrun turns any worker's code into 1: the effect is the same.
    """

    def __init__(self) -> None:
        super().__init__(EXIT_PREEMPTED)


class DivergenceGuard:
    """Judges each step's loss and gradient norm before the parameters move.

    A step diverges when either number is not finite, or when the loss exceeds its running median m by more
    than (factor - 1) * max(|m|, s), where s is the median absolute deviation: `factor` times the median where
    losses are positive, and still sensible for log-likelihoods, which may be negative or near zero. Each
    corpus has its own median, because losses differ between corpora.
    """

    def __init__(self, factor: float):
        self.factor = factor
        self.losses: dict[str, list[float]] = {}

    def problem(self, corpus: str, loss: float, grad_norm: float) -> str | None:
        """Say why the step must not be taken; None when it may (the loss then enters the median)."""
        if not math.isfinite(loss):
            return f"loss is {loss}"
        if not math.isfinite(grad_norm):
            return f"gradient norm is {grad_norm}"
        seen = self.losses.setdefault(corpus, [])
        if len(seen) >= MIN_STEPS:
            median = statistics.median(seen)
            spread = statistics.median(abs(value - median) for value in seen)
            limit = median + (self.factor - 1) * max(abs(median), spread)
            if loss > limit:
                return f"loss {loss:.4g} is above {limit:.4g} (running median {median:.4g})"
        seen.append(loss)
        del seen[:-MEMORY_STEPS]
        return None

    def state(self) -> dict[str, Any]:
        """Return the medians' losses, for the checkpoint."""
        return {"losses": self.losses}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.losses = {corpus: list(values) for corpus, values in state["losses"].items()}


class StopRequest:
    """Whether SIGTERM has come; the loop looks at it between steps."""

    def __init__(self) -> None:
        self.received = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch SIGTERM while the block runs (only the main thread can)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: Any) -> None:
            self.received = True

        previous = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous)
