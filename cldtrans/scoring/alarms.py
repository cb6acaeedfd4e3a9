"""Seizure alarms: event sensitivity at a fixed rate of false alarms, and how late they come.

A run of consecutive windows at or above the threshold is one alarm; it is false when it touches no labelled
window. A run of more than `LONGEST_ALARM_S` is several alarms, as with the SzCORE tools: else whoever always
alarms would have no false one. A run of labelled windows is one seizure; it is detected when one of its
windows alarms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from cldtrans.scoring.metrics import Scores

RATE_PER_H = 1.0
LONGEST_ALARM_S = 300.0
NAMES = ("sensitivity_1fa_per_h", "false_alarms_per_h", "latency_s")


@dataclass(frozen=True)
class Alarms:
    """Counts at one threshold."""

    false_alarms: int
    detected: np.ndarray  # bool, one a seizure
    latency_s: np.ndarray  # detected seizures: first alarm's window start minus the first labelled one's
    seizure_subject: np.ndarray


def count(
    index: pd.DataFrame, label: np.ndarray, score: np.ndarray, threshold: float, window_s: float
) -> Alarms:
    """Count the alarms of scored windows.

    Parameters
    ----------
    index : DataFrame
        One row a window with subject, recording and start_s.
    label : array [n]
        1 in a seizure.
    score : array [n]
        Higher for likelier seizures.
    threshold : float
        A window alarms from this score on.
    window_s : float
        Length of a window in seconds.
    """
    order = np.lexsort((index["start_s"].to_numpy(), index["recording"].to_numpy().astype(str)))
    recording = index["recording"].to_numpy().astype(str)[order]
    start, truth, alarm = index["start_s"].to_numpy()[order], label[order] == 1, score[order] >= threshold
    follows = (recording[1:] == recording[:-1]) & (np.diff(start) <= window_s * 1.01)
    false_alarms = sum(not truth[a:b].any() for a, b in _split(_runs(alarm, follows), start))
    seizures = _runs(truth, follows)
    hit = np.array([alarm[a:b].any() for a, b in seizures], dtype=bool)
    late = [start[a + int(np.argmax(alarm[a:b]))] - start[a] for a, b in seizures if alarm[a:b].any()]
    subjects = index["subject"].to_numpy().astype(str)[order][[a for a, _ in seizures]]
    return Alarms(false_alarms, hit, np.array(late), subjects)


def _runs(on: np.ndarray, follows: np.ndarray) -> list[tuple[int, int]]:
    """[start, stop) of each run of consecutive windows that are on."""
    joined = on[1:] & on[:-1] & follows
    starts = np.flatnonzero(on & ~np.append(False, joined))
    stops = np.flatnonzero(on & ~np.append(joined, False)) + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def _split(runs: list[tuple[int, int]], start: np.ndarray) -> list[tuple[int, int]]:
    """Cut runs wherever another `LONGEST_ALARM_S` has passed since their first window's start."""
    pieces = []
    for a, b in runs:
        number = (start[a:b] - start[a] + 1e-6) // LONGEST_ALARM_S
        edges = [a, *(a + 1 + np.flatnonzero(np.diff(number))).tolist(), b]
        pieces += list(pairwise(edges))
    return pieces


def at_fixed_rate(
    val: tuple[pd.DataFrame, np.ndarray, np.ndarray],
    test: tuple[pd.DataFrame, np.ndarray, np.ndarray],
    window_s: float,
    stride_s: float,
) -> Scores:
    """Score events of test at the lowest threshold with at most 1 false alarm an hour on validation.

    Hours are those of unlabelled-as-seizure windows; fewer than one expected false alarm (an hour) on either
    side cannot show the rate, and nothing is scored.

    Parameters
    ----------
    val, test : (DataFrame, array [n], array [n])
        Index rows, labels, scores of the positive class.
    window_s : float
        Length of a window in seconds.
    stride_s : float
        From one window's start to the next one's, seconds.
    """
    scores = Scores()
    hours = [float((part[1] == 0).sum()) * stride_s / 3600 for part in (val, test)]
    for name, value in zip(("validation", "test"), hours, strict=True):
        if value * RATE_PER_H < 1:
            scores.undefined(
                NAMES, f"{value:.2g} h without seizures in {name}: too few to show 1 false alarm an hour"
            )
            return scores
    if not (test[1] == 1).any():
        scores.undefined(NAMES, "no seizure in test")
        return scores
    candidates = np.unique(val[2])
    low, high = 0, len(candidates)  # false alarms fall with the threshold, but for runs that split: bisection
    while low < high:
        middle = (low + high) // 2
        rate = count(*val, float(candidates[middle]), window_s).false_alarms / hours[0]
        low, high = (low, middle) if rate <= RATE_PER_H else (middle + 1, high)
    # Where every score of validation alarms too often, the lowest threshold is the next above them all.
    threshold = float(candidates[low] if low < len(candidates) else np.nextafter(candidates[-1], np.inf))
    found = count(*test, threshold, window_s)
    scores.metrics = {
        "sensitivity_1fa_per_h": float(found.detected.mean()),
        "false_alarms_per_h": found.false_alarms / hours[1],
        "latency_s": float(found.latency_s.mean()) if len(found.latency_s) else None,
    }
    scores.chance = dict.fromkeys(NAMES)
    if not len(found.latency_s):
        scores.reasons["latency_s"] = "no seizure detected"
    return scores
