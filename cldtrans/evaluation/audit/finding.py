"""What one check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "flagged", "not checked"]


@dataclass(frozen=True)
class Finding:
    """One check of one thing.

    Attributes
    ----------
    check : str
        Its name.
    of : str
        What was looked at.
    status : str
        "failed" stops the run; "flagged" stands beside every score of the task; "not checked" says why in
        `found`.
    expected, found : str
        In words, with numbers.
    """

    check: str
    of: str
    status: Status
    expected: str
    found: str


def judged(check: str, of: str, problem: str, *, expected: str, fine: str) -> Finding:
    """Make a finding that failed where there is a problem, and passed otherwise."""
    return Finding(check, of, "failed" if problem else "passed", expected, problem or fine)
