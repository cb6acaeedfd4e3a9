"""Time to an event in intervals: which of them somebody lived through, and the likelihood of hazards.

Interval k of `times` is (times[k-1], times[k]], the first from the very start. An event falls into one of
them; who is followed up no longer counts for the intervals that he was seen through to their end.

References
----------
Brown 1975, Biometrics 31:863; Gensheimer and Narasimhan 2019, PeerJ 7:e6257.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST = 1e-7  # of a probability, before its logarithm


def times_of(classes: Sequence[str]) -> np.ndarray:
    """Return the ends of the intervals, seconds [K], that the names of a task's classes are."""
    return np.array([float(name) for name in classes])


def at_risk(y: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say which intervals count for whom.

    Parameters
    ----------
    y : array [n, 2]
        Time of the event or of the end of follow-up, seconds; 1 for an event, 0 for the latter.
    times : array [K]
        Ends of the intervals, rising.

    Returns
    -------
    exposed : array [n, K] of bool
        The interval counts.
    failed : array [n, K] of bool
        The event falls into it.
    """
    time, event = np.asarray(y)[:, :1], np.asarray(y)[:, 1:] == 1
    begin = np.concatenate([[-np.inf], times[:-1]])
    exposed = np.where(event, time > begin, time >= times)
    return exposed, event & (time > begin) & (time <= times)


def log_likelihood(y: np.ndarray, proba: np.ndarray, times: np.ndarray) -> float:
    """Return the mean log-likelihood of event probabilities [n, K] until `times`; labels as in `at_risk`."""
    exposed, failed = at_risk(y, times)
    alive = np.concatenate([np.ones((len(proba), 1)), 1 - proba], axis=1)
    inside = np.log(np.maximum(alive[:, :-1] - alive[:, 1:], LEAST))
    through = np.log(np.maximum(alive, LEAST))
    last = exposed.sum(1) - failed.sum(1)  # intervals that somebody was seen through
    each = np.where(
        failed.any(1), (inside * failed).sum(1), np.take_along_axis(through, last[:, None], 1)[:, 0]
    )
    return float(each.mean())


def probabilities_of(hazards: np.ndarray) -> np.ndarray:
    """Turn hazards [n, K] of the intervals into probabilities [n, K] of an event until their ends."""
    return 1 - np.cumprod(1 - hazards, axis=1)
