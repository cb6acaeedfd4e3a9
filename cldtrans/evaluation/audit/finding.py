"""What one check says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


def of_folds(found: Sequence[Finding]) -> Finding:
    """Join the findings of one check in every fold of a division: the first that did not pass speaks."""
    first = next((one for one in found if one.status != "passed"), found[0])
    if len(found) == 1:
        return first
    bad = [number for number, one in enumerate(found) if one.status == first.status]
    place = f"fold {bad[0]} ({len(bad)} of {len(found)})"
    if first.status == "passed":
        place = f"{len(found)} folds, the first"
    return replace(first, found=f"{place}: {first.found}")
