"""What the shards hold against the files that they come from: where windows begin, channels, labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cldtrans.data.base import Dataset
from cldtrans.data.montages.kinds import kinds_of, of_a_cap, other_system
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError, listing
from cldtrans.evaluation.audit.finding import Finding, judged

TOLERANCE_S = 1e-6
FED = {"eeg": {"eeg", "eog"}, "ecg": {"ecg"}}  # kinds of channels by modality


def crop_start(windows: ShardSet, dataset: Dataset, raw: Path) -> Finding:
    """Check that windows begin on one grid a recording: a start placed by the label would tell the label.

    A dataset that places its windows, on trials, says itself where they begin.
    """
    grid = windows.index[windows.index["kind"] == "grid"]
    if dataset.places_windows:
        return _placed_starts(windows, grid, dataset, raw)
    stride_s = float(windows.meta["stride_s"])
    steps = grid["start_s"].to_numpy() / stride_s
    off = np.abs(steps - np.round(steps)) * stride_s > TOLERANCE_S
    problem = ""
    if off.any():
        first = grid[off].iloc[0]
        problem = (
            f"{int(off.sum())} of {len(grid)} windows begin off the grid, the first: {first['recording']} "
            f"at {first['start_s']:g} s"
        )
    return judged(
        "crop start",
        str(windows.meta["dataset"]),
        problem,
        expected=f"every window begins at a multiple of {stride_s:g} s",
        fine=f"{len(grid)} windows on the grid",
    )


def _placed_starts(windows: ShardSet, grid: pd.DataFrame, dataset: Dataset, raw: Path) -> Finding:
    expected = "every window begins where the dataset places one, whatever its label"
    try:
        rows = {str(row.recording): row for row in dataset.recordings(raw).itertuples(index=False)}
    except DataError as error:
        return Finding("crop start", dataset.name, "not checked", expected, str(error))
    sample_s, window_s = 1 / windows.rate_hz, float(windows.meta["window_s"])
    strange = []
    for recording, part in grid.groupby("recording", sort=False, observed=True):
        row = rows.get(str(recording))
        places = np.zeros(0) if row is None else dataset.window_starts(raw, row, window_s)
        away = np.abs(part["start_s"].to_numpy()[:, None] - places).min(axis=1, initial=np.inf)
        if (away > sample_s).any():
            strange.append(f"{recording}: {int((away > sample_s).sum())} of {len(part)} windows")
    problem = f"{len(strange)} recordings have others: {listing(strange)}" if strange else ""
    return judged("crop start", dataset.name, problem, expected=expected, fine=f"{len(grid)} windows do")


def channels(windows: ShardSet, dataset: Dataset) -> Finding:
    """Check that what is fed are the declared channels, and that these are of the modality."""
    fed, declared = list(windows.channels), list(dataset.channels)
    problems = []
    if fed != declared:
        others = [name for name in fed if name not in declared] or fed
        problems.append(f"not as declared: {listing(others)}")
    kinds = dict(zip(fed, kinds_of(fed), strict=True))
    cap = windows.modality == "eeg" and other_system(fed, kinds)
    alien = [
        name
        for name, kind in kinds.items()
        if kind not in FED[windows.modality] and not (cap and of_a_cap(name))
    ]
    if alien:
        problems.append(f"no {windows.modality.upper()}: {listing(alien)}")
    return judged(
        "channels",
        dataset.name,
        "; ".join(problems),
        expected=f"{len(declared)} channels of {windows.modality.upper()}: {listing(declared)}",
        fine=f"{len(fed)} channels, as declared",
    )


def label_times(windows: ShardSet, dataset: Dataset, raw: Path) -> Finding:
    """Read the annotations again and compare labels and onsets of every window with the index."""
    expected = "labels and onsets of the index are those of the annotation files"
    try:
        rows = dataset.recordings(raw)
    except DataError as error:
        return Finding("label times", dataset.name, "not checked", expected, str(error))
    window_s, index = float(windows.meta["window_s"]), windows.index
    labels = type(dataset).label_windows is not Dataset.label_windows
    if not labels and not dataset.has_events:  # nothing to compare but the names, of as many as there may be
        known = index["recording"].astype(str).isin(rows["recording"].astype(str))
        strange = index["recording"][~known].astype(str).unique().tolist()
        problem = f"{len(strange)} recordings are not among the files: {listing(strange)}" if strange else ""
        return judged("label times", dataset.name, problem, expected=expected, fine="no labels to compare")
    row_of = {str(row.recording): row for row in rows.itertuples(index=False)}
    columns = list(dataset.task.columns) if dataset.task else []
    wrong: list[str] = []
    checked = 0
    for recording, part in index.groupby("recording", sort=False):
        row = row_of.get(str(recording))
        if row is None:
            wrong.append(f"{recording}: no such recording among the files")
            continue
        start_s = part["start_s"].to_numpy()
        found = dataset.label_windows(raw, row, start_s, window_s) if columns else {}
        bad = ~np.broadcast_to(found.get("keep", True), len(part))
        for column in columns:
            told, kept = np.asarray(found[column]), part[column].to_numpy()
            unlabelled = np.isnan(told) & np.isnan(kept) if told.dtype.kind == "f" else False
            bad = bad | ((told != kept) & ~np.asarray(unlabelled))
        if dataset.has_events:
            bad = bad | _off_onset(
                part["kind"].to_numpy(), part["event"].to_numpy(), start_s, window_s, dataset.events(raw, row)
            )
        checked += len(part)
        if bad.any():
            wrong.append(
                f"{recording}: {int(bad.sum())} of {len(part)} windows, the first at {start_s[bad][0]:g} s"
            )
    problem = f"{len(wrong)} recordings disagree: {'; '.join(wrong[:3])}" if wrong else ""
    return judged("label times", dataset.name, problem, expected=expected, fine=f"{checked} windows agree")


def _off_onset(
    kind: np.ndarray,
    event: np.ndarray,
    start_s: np.ndarray,
    window_s: float,
    events: list[tuple[float, float]],
) -> np.ndarray:
    """Find onset windows that begin no whole number of windows after their onset, [n] bool."""
    is_onset = kind == "onset"
    known = is_onset & (event >= 0) & (event < len(events))
    onset = np.zeros(len(kind))
    onset[known] = np.array([events[number][0] for number in event[known]])
    steps = (start_s - onset) / window_s
    aligned = (np.abs(steps - np.round(steps)) * window_s < TOLERANCE_S) & (steps > -0.5)
    return is_onset & ~(known & aligned)
