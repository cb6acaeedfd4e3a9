"""What every dataset promises, checked on the files of one: `cldtrans check-dataset`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.data.base import Dataset, Task, inside_recording
from cldtrans.errors import CldtransError, DataError, listing

MOST_CHANNELS = 255
"""Numbers of channels are bytes in the index."""
USUAL = {"eeg": (1.0, 1000.0), "ecg": (0.01, 5.0)}
"""Deviations of channels in microvolts and millivolts: beyond them, the unit is another one."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what was checked, and what is wrong, "" where nothing is."""

    what: str
    problem: str = ""


def check_dataset(dataset: Dataset, root: Path, most: int = 5, window_s: float = 10.0) -> Iterator[Finding]:
    """Check the contract, one finding a promise.

    Parameters
    ----------
    dataset : Dataset
        Of any class.
    root : Path
        Folder of raw recordings.
    most : int
        So many recordings are read, evenly from all.
    window_s : float
        Length of the windows that are labelled, seconds.
    """
    yield _tried("description", lambda: _description(dataset))
    table: Any = None

    def listed() -> None:
        nonlocal table
        table = dataset.recordings(root)
        _recordings(dataset, root, table)

    yield _tried("recordings", listed)
    if table is None:
        return
    yield _tried("files and their recordings", lambda: _keys(dataset, root, table))
    sound = table[table["problem"] == ""] if "problem" in table else table
    chosen = sound.iloc[np.linspace(0, len(sound) - 1, min(most, len(sound))).round().astype(int)]
    labels: list[np.ndarray] = []
    refused = []
    for row in chosen.itertuples(index=False):
        try:
            signal = dataset.read(root, row)
        except DataError as error:  # which puts it into quarantine
            refused.append(f"{row.recording}: {error}")
            continue
        yield _tried(f"signals of {row.recording}", partial(_signal, dataset, signal))
        add = partial(_labels, dataset, root, row, signal, window_s, labels)
        yield _tried(f"labels of {row.recording}", add)
    everything = refused and len(refused) == len(chosen)
    yield Finding("recordings that can be read", listing(refused) if everything else "")
    if dataset.task is not None:
        known = np.concatenate([one.ravel() for one in labels]) if labels else np.zeros(0)
        numbers = dataset.task.kind == "regression"
        nothing = not (np.isfinite(known) if numbers else known >= 0).any()
        yield Finding("a label somewhere", "no window of these recordings has a label" if nothing else "")
    subjects = table["subject"].nunique()
    few = f"{subjects} subjects: training, validation and test need at least 3" if subjects < 3 else ""
    yield Finding("subjects enough to divide", few)


def _tried(what: str, check: Callable[[], object]) -> Finding:
    try:
        check()
    except AssertionError as error:
        return Finding(what, str(error))
    except CldtransError as error:
        return Finding(what, str(error))
    except Exception as error:  # whatever a class of one's own raises is what is to be found here
        return Finding(what, f"{type(error).__name__}: {error}")
    return Finding(what)


def _hold(true: object, problem: str) -> None:
    if not true:
        raise AssertionError(problem)


def _description(dataset: Dataset) -> None:
    for name in ("name", "title", "slug", "version", "doi", "licence", "modality", "channels"):
        _hold(hasattr(dataset, name), f"no attribute {name!r}; see docs/extending.md")
    _hold(dataset.modality in USUAL, f"modality is {dataset.modality!r}; expected 'eeg' or 'ecg'")
    channels = tuple(dataset.channels)
    _hold(len(set(channels)) == len(channels), "a channel's name occurs twice")
    _hold(0 < len(channels) <= MOST_CHANNELS, f"{len(channels)} channels; expected 1 to {MOST_CHANNELS}")


def _recordings(dataset: Dataset, root: Path, table: Any) -> None:
    lacking = {"recording", "subject", "path", "fold", *dataset.extra_columns} - set(table)
    _hold(not lacking, f"no column {', '.join(sorted(lacking))}; recording_table() makes a complete table")
    _hold(len(table), "no recordings")
    sound = table[table["problem"] == ""] if "problem" in table else table
    _hold(len(sound), "no sound row; the first: " + str(table["problem"].iloc[0]) if len(table) else "")
    _hold(sound["recording"].is_unique, "a recording's name occurs twice")
    _hold(table["path"].is_monotonic_increasing, "rows are not ordered by path")
    place = dataset.folder(root).relative_to(root).as_posix()
    outside = [path for path in sound["path"] if not path.startswith(f"{place}/")]
    _hold(not outside, f"paths begin with {place}/, relative to the folder of raw recordings: {outside[:1]}")
    _hold(table.equals(dataset.recordings(root)), "asked twice, the table differs")


def _keys(dataset: Dataset, root: Path, table: Any) -> None:
    folder = dataset.folder(root)
    keys = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    owners: dict[str, set[str | None]] = {}
    for key in keys:
        if dataset.wanted(key) and (record := dataset.record_of(key)) is not None:
            owners.setdefault(record, set()).add(dataset.subject_of(key))
    shared = [record for record, subjects in owners.items() if len(subjects) > 1]
    _hold(not shared, f"files of {listing(shared)} belong to several subjects (subject_of)")
    _hold(owners, "record_of() finds no recording among the files that wanted() takes")
    wanted = {key for key in keys if dataset.wanted(key)}
    place = folder.relative_to(root).as_posix()
    needed = [path.removeprefix(f"{place}/") for path in table["path"]]
    absent = [key for key in needed if key in keys and key not in wanted]
    _hold(not absent, f"wanted() refuses files that recordings() names: {listing(absent)}")


def _signal(dataset: Dataset, signal: Any) -> None:
    data, mask, count = signal.data, signal.mask, len(dataset.channels)
    _hold(data.ndim == 2 and len(data) == count == len(mask), f"{data.shape} for {count} channels [C, T]")
    _hold(data.dtype == np.float32, f"samples are {data.dtype}; expected float32")
    _hold(mask.dtype == bool and mask.any(), "mask: expected bool, true for the channels that were recorded")
    _hold(signal.rate_hz > 0, f"rate_hz is {signal.rate_hz}")
    _hold(
        not np.nan_to_num(data[~mask]).any(), "channels that were not recorded hold something; expected zeros"
    )
    known = data[mask]
    known = known[np.isfinite(known).all(axis=1)]
    low, high = USUAL[dataset.modality]
    spread = float(np.median(known.std(axis=1))) if len(known) else low
    unit = "microvolts" if dataset.modality == "eeg" else "millivolts"
    _hold(low <= spread <= high, f"a channel varies by {spread:.3g} {unit}, expected {low:g} to {high:g}")


def _labels(
    dataset: Dataset, root: Path, row: Any, signal: Any, window_s: float, labels: list[np.ndarray]
) -> None:
    duration_s = signal.data.shape[1] / signal.rate_hz
    start_s = np.arange(0, max(duration_s - window_s, 0.0) + 1e-6, window_s / 2)
    if dataset.places_windows:
        start_s = dataset.window_starts(root, row, window_s)
    found = dataset.label_windows(root, row, start_s, window_s)
    task, expected = dataset.task, set(dataset.task.columns) if dataset.task else set()
    told = expected | set(dataset.window_columns)
    _hold(set(found) - {"keep"} == told, f"columns {sorted(found)}; expected {sorted(told)}")
    for name in expected:
        assert task is not None
        values, top = found[name], _top(task, name)
        _hold(values.shape == start_s.shape, f"{name}: {values.shape} labels for {len(start_s)} windows")
        _hold(values.dtype == task.dtype, f"{name} is {values.dtype}; expected {task.dtype}")
        if task.kind == "regression":
            _hold(not np.isinf(values).any(), f"{name}: expected finite numbers, or NaN")
        else:
            _hold(values.min() >= -1 and values.max() <= top, f"{name}: expected -1 to {top}")
    inside_recording(dataset.events(root, row), duration_s, str(row.recording))
    labels += [found[name] for name in sorted(expected)]


def _top(task: Task, column: str) -> float:
    """Return the largest value of a label column."""
    if task.kind == "time_to_event":
        return 1 if column == "event" else np.inf
    return 1 if task.kind == "multilabel" else len(task.classes) - 1
