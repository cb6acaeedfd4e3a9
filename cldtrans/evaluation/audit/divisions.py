"""Nobody on two sides: divisions of persons, budgets of labels, and what pretraining saw."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import budget_rows, split_rows
from cldtrans.errors import listing
from cldtrans.evaluation.audit.finding import Finding, judged

BUDGETS = ("0.01", "0.1", "1.0")


def person_on_two_sides(of: str, person: pd.Series, parts: np.ndarray) -> Finding:
    """Look for a person with windows in two parts of a division.

    Parameters
    ----------
    of : str
        The dataset and seed.
    person : Series [windows] of str
        From `persons`.
    parts : array [windows] of str
        From `assign`; "" is no part.
    """
    placed = parts != ""
    sides = pd.Series(parts[placed]).groupby(person.to_numpy()[placed]).nunique()
    torn = sides.index[sides > 1].tolist()
    problem = f"{len(torn)} of {len(sides)} are on two: {listing(torn)}" if torn else ""
    return judged(
        "person on two sides",
        of,
        problem,
        expected="every person in one part, by file names and tables of patients",
        fine=f"{len(sides)} persons, each in one part",
    )


def nested_budgets(of: str, windows: ShardSet, split: Mapping[str, str], seed: int) -> Finding:
    """Draw the label budgets twice: equal, nested, and of training windows alone."""
    granted = [budget_rows(windows, split, budget, seed) for budget in BUDGETS]
    again = [budget_rows(windows, split, budget, seed) for budget in BUDGETS]
    problems = []
    if any(not np.array_equal(*pair) for pair in zip(granted, again, strict=True)):
        problems.append("two draws differ")
    if any(not np.isin(fewer, more).all() for fewer, more in pairwise(granted)):
        problems.append("a smaller budget holds windows that a larger one lacks")
    outside = np.setdiff1d(granted[-1], split_rows(windows, split, "train"))
    if len(outside):
        problems.append(f"{len(outside)} windows are none of training")
    sizes = " < ".join(str(len(rows)) for rows in granted)
    return judged(
        "nested budgets",
        of,
        "; ".join(problems),
        expected=f"budgets {', '.join(BUDGETS)}: equal when drawn twice, nested, of training alone",
        fine=f"{sizes} windows",
    )


def pretrained_on_test(of: str, person: pd.Series, parts: np.ndarray, seen: np.ndarray) -> Finding:
    """Look for test persons among those that pretraining saw.

    Parameters
    ----------
    of : str
        Dataset, variant and seed.
    person, parts
        As in `person_on_two_sides`.
    seen : array [n] of int
        Rows of the index that pretraining used, to train or to validate.
    """
    names = person.to_numpy()
    both = np.intersect1d(names[seen], names[parts == "test"]).tolist()
    return judged(
        "pretrained on test persons",
        of,
        f"{len(both)} persons of test were seen: {listing(both)}" if both else "",
        expected="no person of test among those of pretraining",
        fine=f"{len(np.unique(names[seen]))} persons seen, none of test",
    )


def witness(of: str, person: pd.Series, parts: np.ndarray) -> Finding:
    """Ask leakfence, which knows nothing of this package, for persons or windows on two sides."""
    expected = "leakfence agrees that no person is on two sides"
    if importlib.util.find_spec("leakfence") is None:
        reason = "leakfence is not installed: pip install 'cldtrans[audit]'"
        return Finding("independent witness", of, "not checked", expected, reason)
    from leakfence import audit_split

    sides = [np.flatnonzero(parts == part).tolist() for part in ("train", "val", "test")]
    problems = []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        if len(sides[first]) and len(sides[second]):
            report = audit_split(
                sides[first], sides[second], subject=person.to_numpy(), paradigm="cross-subject"
            )
            problems += [violation.message for violation in report.errors]
    return judged("independent witness", of, "; ".join(problems), expected=expected, fine="no error")
