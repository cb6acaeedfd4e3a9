"""Trials of the contrast change detection task: when the target came, and which button was pressed when.

A trial lasts from its start to the next one's. In it one of two discs gains contrast, the target, 2.8, 4.4 or
6 s after the start and for 1.6 s, and a button is to be pressed on that side. The last start of a run ends
its last trial and is none itself, as in the challenge's starter kit (github eeg2025/startkit,
`build_trial_table`).
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from cldtrans.data.base import read_table
from cldtrans.data.hbn.participants import numbers
from cldtrans.errors import DataError

WINDOW_S = (0.5, 2.5)  # of EEG that challenge 1 gives, from the target
NO_TARGET, NO_PRESS = "no target", "no press"
COLUMNS = (
    "subject",
    "run",
    "trial",
    "start_s",
    "target_s",
    "target",
    "press_s",
    "press",
    "foreperiod_s",
    "response_time_s",
    "hit",
    "window_start_s",
    "window_stop_s",
    "problem",
)
_START = "contrastTrial_start"
_TARGETS = {"left_target": "left", "right_target": "right"}
_PRESSES = {"left_buttonPress": "left", "right_buttonPress": "right"}
_FILE = re.compile(r"sub-(?P<subject>[^_]+)_task-contrastChangeDetection_run-(?P<run>\d+)_events\.tsv")


def read_trials(folder: Path) -> pd.DataFrame:
    """Read the trials of every run in a release.

    Parameters
    ----------
    folder : Path
        A release, with `sub-*/eeg/*_task-contrastChangeDetection_run-*_events.tsv`.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row a trial, ordered by subject, run (from 1) and trial (from 0): as
        `trials_of_run`.

    Raises
    ------
    DataError
        For a folder without such runs, or a table that cannot be read.
    """
    runs = []
    for path in Path(folder).glob("sub-*/eeg/*_task-contrastChangeDetection_run-*_events.tsv"):
        name = _FILE.fullmatch(path.name)
        if name:
            events = read_table(path, ("onset", "value"), separator="\t")
            onset = numbers(events["onset"], f"{path}: onset")
            if onset.isna().any():
                raise DataError(
                    f"{path}: row {int(onset.isna().to_numpy().argmax()) + 1}: expected an onset in seconds, "
                    "found none"
                )
            runs.append(
                trials_of_run(onset.to_numpy(), events["value"].to_numpy(dtype=str)).assign(
                    subject=name["subject"], run=int(name["run"])
                )
            )
    if not runs:
        raise DataError(f"{folder}: expected runs of contrastChangeDetection, found none")
    table = pd.concat(runs, ignore_index=True)[list(COLUMNS)]
    return table.sort_values(["subject", "run", "trial"], ignore_index=True)


def trials_of_run(onset_s: np.ndarray, value: np.ndarray) -> pd.DataFrame:
    """Find the trials in the events of one run.

    Parameters
    ----------
    onset_s : array [n] of float
        Seconds from the recording's start, in any order.
    value : array [n] of str
        What happened.

    Returns
    -------
    DataFrame
        One row a trial: trial (from 0); start_s, target_s and press_s, the first press from the target to the
        next trial's start, in seconds of the recording; target and press, "left" or "right"; foreperiod_s,
        from start to target; response_time_s, from target to press; hit, 1.0 where the press is on the
        target's side and 0.0 where not; window_start_s and window_stop_s, `WINDOW_S` after the target;
        problem, why a trial has no response time: `NO_TARGET`, `NO_PRESS`, or "" where it has one. What is
        missing is NaN or "".
    """
    order = np.argsort(onset_s, kind="stable")
    onset, value = np.asarray(onset_s)[order], np.asarray(value)[order]
    starts = onset[value == _START]
    targets, presses = np.isin(value, list(_TARGETS)), np.isin(value, list(_PRESSES))
    spans = list(pairwise(starts))
    target = [_first(onset, value, targets, start, stop) for start, stop in spans]
    press = [
        _first(onset, value, presses, target_s, stop)
        for (target_s, _), (_, stop) in zip(target, spans, strict=True)
    ]
    target_s, press_s = (
        np.array([second for second, _ in events], dtype=float) for events in (target, press)
    )
    target_side = np.array([_TARGETS.get(name, "") for _, name in target], dtype=object)
    press_side = np.array([_PRESSES.get(name, "") for _, name in press], dtype=object)
    return pd.DataFrame(
        {
            "trial": np.arange(len(spans)),
            "start_s": starts[:-1],
            "target_s": target_s,
            "target": target_side,
            "press_s": press_s,
            "press": press_side,
            "foreperiod_s": target_s - starts[:-1],
            "response_time_s": press_s - target_s,
            "hit": np.where(press_side == "", np.nan, press_side == target_side),
            "window_start_s": target_s + WINDOW_S[0],
            "window_stop_s": target_s + WINDOW_S[1],
            "problem": np.select([target_side == "", press_side == ""], [NO_TARGET, NO_PRESS], ""),
        }
    )


def _first(
    onset: np.ndarray, value: np.ndarray, kind: np.ndarray, start_s: float, stop_s: float
) -> tuple[float, str]:
    """Return the first event of a kind in [start, stop); NaN and "" where there is none."""
    found = np.flatnonzero(kind & (onset >= start_s) & (onset < stop_s))
    return (float(onset[found[0]]), str(value[found[0]])) if len(found) else (np.nan, "")
