"""How far a fit has come, and what it has found by then."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

USUAL_ROUNDS = 8
"""Rounds of search that a climb from one start takes; some take three, some twenty."""


@dataclass(frozen=True)
class Progress:
    """Where a fit is.

    Attributes
    ----------
    n_rounds : int
        Rounds of search that are done.
    n_edges : int
        Edges of the present model.
    elapsed_s, left_s : float
        Seconds since the fit began, and those that it may still take: those that it took, times the rounds
        that are usually left; within a factor of three.
    """

    n_rounds: int
    n_edges: int
    elapsed_s: float
    left_s: float


@dataclass
class Watch:
    """Counts a fit's rounds, tells of them, and keeps the best complete model.

    Attributes
    ----------
    tell : callable or None
        Called with a `Progress` before every round but the first.
    n_starts : int
        Climbs that there may be.
    innovation : str
        Density of the models that are kept.
    best : (Problem, Found) or None
        The best complete model.
    """

    tell: Callable[[Progress], None] | None = None
    n_starts: int = 1
    innovation: str = ""
    best: Any = None
    n_rounds: int = 0
    _began: float = field(default_factory=time.monotonic)

    def step(self, n_edges: int) -> None:
        """Count a round that begins."""
        if self.tell is not None and self.n_rounds:
            elapsed = time.monotonic() - self._began
            left = max(USUAL_ROUNDS * self.n_starts - self.n_rounds, 1)
            self.tell(Progress(self.n_rounds, n_edges, elapsed, elapsed * left / self.n_rounds))
        self.n_rounds += 1
