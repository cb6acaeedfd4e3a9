"""What groups of persons have to do with labels and times: tests by permutation of persons, and log-rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

PERMUTATIONS = 2000


@dataclass(frozen=True)
class Association:
    """A test of groups against one question.

    Attributes
    ----------
    question : str
        A class of the task, a column, or an event.
    effect : float
        Cramer's V; of times the log-rank statistic.
    p : float or None
        None where there is nothing to test.
    n : int
        Persons.
    """

    question: str
    effect: float | None
    p: float | None
    n: int


def cramers_v(groups: np.ndarray, values: np.ndarray) -> float:
    """Return Cramer's V of two labellings [n]; 0 where one of them is constant."""
    table = np.zeros((groups.max() + 1, values.max() + 1))
    np.add.at(table, (groups, values), 1)
    least = min(table.shape) - 1
    if least < 1:
        return 0.0
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum() / least))


def with_labels(question: str, groups: np.ndarray, values: np.ndarray, seed: int) -> Association:
    """Test groups [n] against a label [n] of each person, by permuting persons."""
    groups, values = (np.unique(one, return_inverse=True)[1] for one in (groups, values))
    if groups.max(initial=0) == 0 or values.max(initial=0) == 0:
        return Association(question, None, None, len(groups))
    observed = cramers_v(groups, values)
    rng = np.random.default_rng(seed)
    null = np.array([cramers_v(groups, rng.permutation(values)) for _ in range(PERMUTATIONS)])
    p = (1 + (null >= observed - 1e-12).sum()) / (1 + PERMUTATIONS)
    return Association(question, observed, float(p), len(groups))


def log_rank(question: str, groups: np.ndarray, time: np.ndarray, event: np.ndarray) -> Association:
    """Test whether events come at other times in other groups (Mantel 1966; k samples).

    Parameters
    ----------
    question : str
        Name of the event.
    groups : array [n]
        Of each person.
    time : array [n]
        Of the event or of the end of follow-up.
    event : array [n] of bool
        Which of both.
    """
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < 2 or not event.any():
        return Association(question, None, None, len(groups))
    member = place[:, None] == np.arange(len(names))
    difference, variance = np.zeros(len(names)), np.zeros((len(names), len(names)))
    for t in np.unique(time[event]):
        risk = member[time >= t].sum(0)
        died = member[(time == t) & event].sum(0)
        n, d = risk.sum(), died.sum()
        share = risk / n
        difference += died - d * share
        if n > 1:
            variance += d * (n - d) / (n - 1) * (np.diag(share) - np.outer(share, share))
    statistic = float(difference[1:] @ np.linalg.pinv(variance[1:, 1:]) @ difference[1:])
    return Association(question, statistic, float(stats.chi2.sf(statistic, len(names) - 1)), len(groups))
