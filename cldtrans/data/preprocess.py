"""From recordings to shards: one batch of a corpus at a time, in memory that does not grow with the corpus.

Recording k of ``Dataset.recordings`` belongs to shard k mod S, shard s to batch s mod B: the bytes of a shard
do not depend on the number of jobs. A recording is filtered as a whole and then cut; what cannot be used is a
line in the quarantine, never the end of the batch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cldtrans.config import DatasetConfig
from cldtrans.data.base import Dataset, Signal, inside_recording, select_recordings
from cldtrans.data.fetch.raw_sums import RawSums
from cldtrans.data.quality import Quality, assess, fill_gaps
from cldtrans.data.shards import (
    ShardWriter,
    index_columns,
    mask_columns,
    scale_name,
    shard_name,
    write_parquet,
)
from cldtrans.data.zero_phase import band_pass
from cldtrans.errors import DataError
from cldtrans.files import atomic_path, write_json
from cldtrans.machine import keep_freed_memory

STACK_SAMPLES = 1 << 20  # recordings of one length (10-s ECGs) are filtered together up to this many
BLOCK_SAMPLES = 1 << 20  # windows are scaled and written in blocks of about this many samples
# What readers raise on damaged bytes besides DataError; a bug elsewhere is not swallowed.
READER_ERRORS = (
    *(OSError, ValueError, IndexError, KeyError, struct.error, OverflowError, EOFError),
    MemoryError,  # a header may ask for any amount
)


@dataclass(frozen=True)
class LoadedRecording:
    """A row of the table of recordings, read."""

    row: Any
    signal: Signal
    events: list[tuple[float, float]]


def preprocess_batch(
    dataset: Dataset,
    raw: Path,
    settings: DatasetConfig,
    batch: int,
    folder: Path,
    stamp: dict[str, Any],
    progress: bool | None = None,
) -> None:
    """Make the shards of one batch under `folder`, and ``parts/batch-<b>.json`` when they are complete.

    Parameters
    ----------
    dataset : Dataset
        The corpus.
    raw : Path
        Folder of raw recordings.
    settings : DatasetConfig
        The dataset's section of the config.
    batch : int
        Number of the batch, from 0.
    folder : Path
        The dataset's shard folder.
    stamp : dict
        What the download wrote: status ("ok" or "absent"), reason, checksums_sha256, selection.
    progress : bool, optional
        False hides the bar, None shows it on a terminal.
    """
    from tqdm import tqdm

    if not 0 <= batch < settings.batches:
        raise DataError(f"{dataset.name}: batch {batch} of {settings.batches}; batches count from 0")
    for name in ("parts", "scales"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    table = _selected(dataset, raw, settings) if stamp["status"] == "ok" else None
    shards = range(batch, settings.shards, settings.batches)
    parts = [] if table is None else [table.iloc[shard :: settings.shards] for shard in shards]
    total = sum(map(len, parts))
    place = dataset.folder(raw).relative_to(raw).as_posix()
    paths = [str(path).removeprefix(f"{place}/") for part in parts for path in part["path"]]
    sums = RawSums(dataset, dataset.folder(raw), paths)
    sums.check_tables()
    done: dict[str, str] = {}
    with tqdm(total=total, unit="recording", disable=None if progress is None else not progress) as bar:
        for shard in shards:
            rows = None if table is None else table.iloc[shard :: settings.shards]
            done[str(shard)] = _make_shard(dataset, raw, settings, shard, rows, folder, sums, bar)
    source = {key: stamp.get(key) for key in ("status", "reason", "checksums_sha256", "selection")}
    write_json(folder / "parts" / f"batch-{batch}.json", {"shards": done, "source": source})


def _selected(dataset: Dataset, raw: Path, settings: DatasetConfig) -> pd.DataFrame:
    table = dataset.recordings(raw)
    place = dataset.folder(raw).relative_to(raw).as_posix()
    return select_recordings(table, place, settings.subjects, settings.records, settings.glob)


def _make_shard(
    dataset: Dataset,
    raw: Path,
    settings: DatasetConfig,
    shard: int,
    rows: pd.DataFrame | None,
    folder: Path,
    sums: RawSums,
    bar: Any,
) -> str:
    """Write one shard with its part of the index and of the quarantine; returns the sha256 of its windows."""
    quarantine: list[tuple[str, str]] = []
    parts: list[dict[str, Any]] = []
    n_samples = round(settings.window_s * settings.rate_hz)
    with atomic_path(folder / shard_name(shard)) as temporary:
        writer = ShardWriter(temporary, len(dataset.channels), n_samples, settings.dtype)
        try:
            for stack in _stacks(dataset, raw, rows, settings, quarantine, sums, bar):
                part, useless = _process(dataset, raw, settings, stack, writer)
                if part is not None:
                    parts.append(part)
                quarantine.extend(useless)
        except BaseException:
            writer.abandon()
            raise
        digest, crc32 = writer.close()
    scales = [part.pop("scale") for part in parts]
    with atomic_path(folder / scale_name(shard)) as temporary, temporary.open("wb") as file:
        np.save(file, np.concatenate([np.zeros((0, len(dataset.channels)), np.float32), *scales]))
    columns = index_columns(dataset)
    known = [name for name in columns if name not in ("shard", "row", "crc32")]
    index = pd.DataFrame(
        {name: np.concatenate([part[name] for part in parts]) if parts else [] for name in known}
    )
    index["shard"] = shard
    index["row"] = np.arange(len(index))
    index["crc32"] = crc32
    write_parquet(folder / "parts" / f"shard-{shard:05d}.parquet", index, columns)
    with atomic_path(folder / "parts" / f"quarantine-{shard:05d}.csv") as temporary:
        pd.DataFrame(sorted(quarantine), columns=["recording", "reason"]).to_csv(
            temporary, index=False, lineterminator="\n"
        )
    return digest


def _stacks(
    dataset: Dataset,
    raw: Path,
    rows: pd.DataFrame | None,
    settings: DatasetConfig,
    quarantine: list[tuple[str, str]],
    sums: RawSums,
    bar: Any,
) -> Iterator[list[LoadedRecording]]:
    """Yield recordings as they come, neighbours of one length and rate together."""
    stack: list[LoadedRecording] = []
    place = dataset.folder(raw).relative_to(raw).as_posix()
    for row in () if rows is None else rows.itertuples(index=False):
        try:
            if getattr(row, "problem", ""):
                raise DataError(row.problem)
            sums.check(str(row.path).removeprefix(f"{place}/"))
            signal = dataset.read(raw, row)
            duration_s = signal.data.shape[1] / signal.rate_hz
            if duration_s < settings.window_s:
                raise DataError(f"{duration_s:g} s long, shorter than one window of {settings.window_s:g} s")
            events = dataset.events(raw, row) if dataset.has_events else []
            inside_recording(events, duration_s, str(row.path))
            recording = LoadedRecording(row, signal, events)
        except (DataError, *READER_ERRORS) as error:
            quarantine.append((str(row.recording) or f"row of {row.path!r}", _reason(error, raw)))
            bar.update()
            continue
        bar.update()
        same = stack and (signal.data.shape, signal.rate_hz) == (
            stack[0].signal.data.shape,
            stack[0].signal.rate_hz,
        )
        full = len(stack) * signal.data.size >= STACK_SAMPLES
        if stack and (not same or full or dataset.has_events or dataset.places_windows):
            yield stack
            stack = []
        stack.append(recording)
    if stack:
        yield stack


def _reason(error: BaseException, raw: Path) -> str:
    """One line that does not depend on where the raw recordings lie."""
    text = " ".join(str(error).split()).replace(f"{raw}/", "")
    return text if isinstance(error, DataError) else f"{type(error).__name__}: {text}"


def window_starts(
    n_samples: int, sample_rate: float, window_s: float, stride_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Place the grid's windows in a recording.

    Every window lies wholly inside; window k begins at the sample nearest to k * stride.

    Returns
    -------
    start_s : array [n]
        Starts in seconds.
    first : array [n] of int64
        Starts in samples.
    """
    width = round(window_s * sample_rate)
    n = max(0, int(np.floor((n_samples - width) / (stride_s * sample_rate) + 1e-9)) + 1)
    start_s = np.arange(n) * stride_s
    first = np.round(start_s * sample_rate).astype(np.int64)
    inside = first + width <= n_samples
    return start_s[inside], first[inside]


def inside(
    start_s: np.ndarray, n_samples: int, sample_rate: float, window_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return those of the windows' starts, in seconds and in samples, whose window lies in the recording."""
    width = round(window_s * sample_rate)
    first = np.round(start_s * sample_rate).astype(np.int64)
    whole = (first >= 0) & (first + width <= n_samples)
    return start_s[whole], first[whole]


def onset_starts(
    events: list[tuple[float, float]], n_samples: int, sample_rate: float, window_s: float, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place windows counted from each seizure's onset.

    Window k begins at onset + k * window while the seizure lasts.

    Parameters
    ----------
    events : list of (float, float)
        Seizures: onset and end in seconds.
    n_samples : int
        Length of the recording.
    sample_rate : float
        Hertz.
    window_s : float
        Length of a window in seconds.
    count : int
        Windows a seizure.

    Returns
    -------
    start_s : array [n]
        Starts in seconds.
    first : array [n] of int64
        Starts in samples.
    event : array [n] of int16
        The seizure's number.
    """
    width = round(window_s * sample_rate)
    found = []
    for number, (onset, end) in enumerate(events):
        for k in range(count):
            start_s = onset + k * window_s
            first = round(start_s * sample_rate)
            if (k == 0 or start_s < end) and first >= 0 and first + width <= n_samples:
                found.append((start_s, first, number))
    start, first_sample, event = (np.array([item[i] for item in found]) for i in range(3))
    return start.astype(np.float64), first_sample.astype(np.int64), event.astype(np.int16)


def _process(
    dataset: Dataset, raw: Path, settings: DatasetConfig, stack: list[LoadedRecording], writer: ShardWriter
) -> tuple[dict[str, np.ndarray] | None, list[tuple[str, str]]]:
    """Filter, cut, scale and write a stack; returns its index columns, and recordings without any window."""
    rate_in_hz = stack[0].signal.rate_hz
    x = np.stack([r.signal.data for r in stack]) if len(stack) > 1 else stack[0].signal.data[None]
    mask = np.stack([r.signal.mask for r in stack])
    try:
        y = band_pass(fill_gaps(x), rate_in_hz, settings.rate_hz, settings.band_hz)
    except DataError as error:
        return None, [(str(r.row.recording), str(error)) for r in stack]
    if dataset.places_windows:
        placed = dataset.window_starts(raw, stack[0].row, settings.window_s)
        start_s, first = inside(placed, y.shape[-1], settings.rate_hz, settings.window_s)
    else:
        start_s, first = window_starts(y.shape[-1], settings.rate_hz, settings.window_s, settings.stride_s)
    onset_s, onset_first, event = onset_starts(
        stack[0].events, y.shape[-1], settings.rate_hz, settings.window_s, settings.onset_windows
    )
    start_s = np.concatenate([start_s, onset_s])
    first = np.concatenate([first, onset_first])
    kind = np.array(["grid"] * (len(start_s) - len(onset_s)) + ["onset"] * len(onset_s))
    event = np.concatenate([np.full(len(start_s) - len(onset_s), -1, dtype=np.int16), event])
    width_in = round(settings.window_s * rate_in_hz)
    starts_in = np.minimum(np.round(start_s * rate_in_hz).astype(int), x.shape[-1] - width_in)
    windows_in = [(int(a), int(a) + width_in) for a in starts_in]
    quality = assess(x, mask, windows_in, rate_in_hz, dataset.modality)
    del x
    labels = [dataset.label_windows(raw, r.row, start_s, settings.window_s) for r in stack]
    valid = mask[:, None, :] & ~quality.nan & ~quality.flat
    keep = valid.any(axis=2)
    for n, label in enumerate(labels):
        keep[n] &= label.get("keep", True)
    scale = _write_windows(y, first, keep, valid, settings, writer)
    recording, window = np.nonzero(keep)
    columns = {
        "scale": scale,
        "start_s": start_s[window],
        "kind": kind[window],
        "event": event[window],
        **dict(
            zip(
                mask_columns(valid.shape[2]),
                (
                    pack_mask(valid[recording, window][:, first : first + 64])
                    for first in range(0, valid.shape[2], 64)
                ),
                strict=True,
            )
        ),
        "missing": (~mask).sum(axis=1)[recording],
        **{
            name: getattr(quality, name)[recording, window].sum(axis=1) for name in ("flat", "clipped", "nan")
        },
    }
    for name in (*(dataset.task.columns if dataset.task else ()), *dataset.window_columns):
        columns[name] = np.stack([label[name] for label in labels])[recording, window]
    useless = [
        (str(r.row.recording), _why_empty(quality, mask, n)) for n, r in enumerate(stack) if not keep[n].any()
    ]
    return _columns(dataset, stack, recording, columns), useless


def _columns(
    dataset: Dataset, stack: list[LoadedRecording], recording: np.ndarray, columns: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return a stack's index columns: those given, and what is known of each window's recording."""
    for name in ("subject", "recording", "fold", *dataset.extra_columns):
        columns[name] = np.array([getattr(r.row, name) for r in stack])[recording]
    return columns


def _why_empty(quality: Quality, mask: np.ndarray, n: int) -> str:
    present = int(mask[n].sum())
    bad = quality.nan[n] | quality.flat[n]
    if bad.size and (bad | ~mask[n]).all():
        flat, nan = int(quality.flat[n].all(axis=0).sum()), int(quality.nan[n].all(axis=0).sum())
        return f"no usable window: of {present} channels {flat} are flat and {nan} not numbers throughout"
    return "no usable window: none is scored"


def pack_mask(valid: np.ndarray) -> np.ndarray:
    """Pack channel masks into integers: bit c stands for channel c.

    Parameters
    ----------
    valid : array [n, C] of bool
        True where the channel is valid in the window.

    Returns
    -------
    array [n] of uint64
        One integer a window.
    """
    bits = np.left_shift(np.uint64(1), np.arange(valid.shape[1], dtype=np.uint64))
    return (valid * bits).sum(axis=1, dtype=np.uint64)


def _write_windows(
    y: np.ndarray,
    first: np.ndarray,
    keep: np.ndarray,
    valid: np.ndarray,
    settings: DatasetConfig,
    writer: ShardWriter,
) -> np.ndarray:
    """z-score the kept windows of y [N, C, T] per channel and append them, recording by recording.

    Mean and deviation are those of the window, or of all valid kept windows of the recording; a channel that
    is not valid in a window is zero there. y is scaled in place. Returns the deviations of the windows as
    written, [n, C] float32, zero where a channel is not valid.
    """
    n_channels = y.shape[1]
    width = round(settings.window_s * settings.rate_hz)
    counted = valid & keep[:, :, None]
    mean, gain = _scale(y, first, counted, width, pooled=settings.scale == "recording")
    if settings.scale == "recording":
        y -= mean[:, 0, :, None]
        y *= gain[:, 0, :, None]
    capacity = max(1, BLOCK_SAMPLES // (n_channels * width))
    pairs = np.argwhere(keep)
    for begin in range(0, len(pairs), capacity):
        some = pairs[begin : begin + capacity]
        block = np.empty((len(some), n_channels, width), dtype=np.float32)
        for out, (n, w) in zip(block, some, strict=True):
            segment = y[n, :, first[w] : first[w] + width]
            if settings.scale == "window":
                np.subtract(segment, mean[n, w, :, None], out=out)
                out *= gain[n, w, :, None]
            else:
                out[:] = segment
        block[~counted[some[:, 0], some[:, 1]]] = 0.0
        writer.append(block)
    deviation = np.divide(1.0, gain, out=np.zeros_like(gain), where=gain > 0)
    return np.where(counted, deviation, np.float32(0))[keep]


def _scale(
    y: np.ndarray, first: np.ndarray, counted: np.ndarray, width: int, pooled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and reciprocal deviation [N, W, C] float32 of y's windows; [N, 1, C] where they are pooled."""
    total = np.zeros(counted.shape)
    square = np.zeros(counted.shape)
    for w, a in enumerate(first):
        segment = y[:, :, a : a + width]
        total[:, w] = segment.sum(axis=-1)
        square[:, w] = np.einsum("nct,nct->nc", segment, segment)
    if pooled:
        n = np.maximum(counted.sum(axis=1, keepdims=True), 1)
        total = (total * counted).sum(axis=1, keepdims=True) / n
        square = (square * counted).sum(axis=1, keepdims=True) / n
    mean = total / width
    deviation = np.sqrt(np.maximum(square / width - mean**2, 0.0))
    gain = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return mean.astype(np.float32), gain.astype(np.float32)
