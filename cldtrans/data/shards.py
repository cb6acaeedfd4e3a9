"""Shards: windows on disk, their index, and the view of them that everything after preprocessing uses.

``shard-00000.npy`` [windows, C, T] float16 or float32 in C order; ``scales/shard-00000.npy`` [windows, C]
float32, by which a window is to be multiplied to be in microvolts (EEG) or millivolts (ECG);
``index.parquet`` one row a window; ``meta.json`` what is common to all; ``quarantine.csv`` what could not
be used and why.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from cldtrans.data.base import SEVERAL, Dataset, Task
from cldtrans.errors import DataError
from cldtrans.files import atomic_path, seal_holds, sealed, sha256_file, write_json

WRITE_BEHIND = 16  # blocks that may wait to be written: those of a recording of an hour or two
BASE_COLUMNS = {
    "shard": "int32",
    "row": "int32",
    "subject": "str",
    "recording": "str",
    "start_s": "float64",
    "kind": "str",  # "grid", or "onset": an extra window counted from a seizure's onset
    "event": "int16",  # number of that seizure within the recording, -1: none
    "fold": "int16",  # official fold, 0: none
    "channel_mask": "uint64",  # bit c: channel c is valid
    "flat": "uint8",  # numbers of channels
    "clipped": "uint8",
    "nan": "uint8",
    "missing": "uint8",
    "crc32": "uint32",  # of the window's samples as they are stored
}


def index_columns(dataset: Dataset) -> dict[str, str]:
    """Return the type of each column of a dataset's index."""
    labels = {} if dataset.task is None else dict.fromkeys(dataset.task.columns, dataset.task.dtype)
    masks = dict.fromkeys(mask_columns(len(dataset.channels))[1:], "uint64")
    told = dict.fromkeys(dataset.window_columns, "float32")
    return {**BASE_COLUMNS, **masks, **labels, **told, **dict.fromkeys(dataset.extra_columns, "str")}


def mask_columns(n_channels: int) -> list[str]:
    """Return the columns that hold the mask of so many channels, 64 of them each."""
    more = range(1, -(-n_channels // 64))
    return ["channel_mask", *(f"channel_mask_{number}" for number in more)]


def task_of_meta(content: dict[str, Any] | None) -> Task | None:
    """Return the task that a shard set or a file of predictions describes; None where there is none."""
    if content is None:
        return None
    of_subjects = bool(content.get("of_subjects", False))
    horizons = tuple(content.get("horizons_s", ()))
    return Task(content["name"], content["kind"], tuple(content["classes"]), of_subjects, horizons)


def describe_task(task: Task) -> dict[str, Any]:
    """Describe a task for `meta.json`."""
    of_subjects = {"of_subjects": task.of_subjects} if task.kind == "regression" else {}
    horizons = {"horizons_s": list(task.horizons_s)} if task.horizons_s else {}
    return {"name": task.name, "kind": task.kind, "classes": list(task.classes), **of_subjects, **horizons}


def shard_name(shard: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{shard:05d}.npy"


def scale_name(shard: int) -> str:
    """Return the file name of a shard's scales."""
    return f"scales/{shard_name(shard)}"


class ShardWriter:
    """Appends windows to one .npy file; nothing but the last few blocks is held in memory.

    The header is written with zero windows, and again with their number at the end: numpy leaves room for it.
    Conversion, hashing and writing run beside the caller's computing.

    Parameters
    ----------
    path : Path
        The file to be written.
    n_channels, n_samples : int
        C and T of the windows.
    dtype : one of "float32", "float16"
        Of the samples in the file.
    """

    def __init__(self, path: Path, n_channels: int, n_samples: int, dtype: str) -> None:
        self.n_windows = 0
        self._crc32: list[int] = []
        self._shape = (n_channels, n_samples)
        self._dtype = np.dtype(dtype)
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = path.open("wb")
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._pending: deque[Future[None]] = deque()
        self._write_header()

    def append(self, windows: np.ndarray) -> None:
        """Add windows.

        Parameters
        ----------
        windows : array [n, C, T]
            Which the caller must not change afterwards.
        """
        if windows.shape[1:] != self._shape:
            raise ValueError(f"windows of {windows.shape[1:]}, expected {self._shape}")
        self.n_windows += len(windows)
        while len(self._pending) >= WRITE_BEHIND:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._write, windows))

    def close(self) -> tuple[str, np.ndarray]:
        """Finish the file.

        Returns
        -------
        sha256 : str
            Of its windows (the header follows from shape and type).
        crc32 : array [windows] of uint32
            Of each window, for readers that touch only some of them.
        """
        try:
            while self._pending:
                self._pending.popleft().result()
            self._file.seek(0)
            self._write_header()
        finally:
            self._thread.shutdown()
            self._file.close()
        return self._hash.hexdigest(), np.array(self._crc32, dtype=np.uint32)

    def abandon(self) -> None:
        """Let go of the file after an error."""
        self._thread.shutdown()
        self._file.close()

    def _write(self, windows: np.ndarray) -> None:
        block = np.ascontiguousarray(windows, dtype=self._dtype)
        self._hash.update(block.data)
        self._crc32 += [zlib.crc32(window.data) for window in block]
        self._file.write(block.data)

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.n_windows, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def write_parquet(path: Path, table: pd.DataFrame, columns: dict[str, str]) -> None:
    """Write a table so that equal tables give equal bytes: fixed types and order, and no writer's name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields, arrays = [], []
    for name, kind in columns.items():
        if kind == "str":
            fields.append(pa.field(name, pa.string()))
            arrays.append(pa.array([str(value) for value in table[name]], type=pa.string()))
        else:
            fields.append(pa.field(name, pa.from_numpy_dtype(np.dtype(kind))))
            arrays.append(pa.array(table[name].to_numpy().astype(kind)))
    with atomic_path(path) as temporary:
        pq.write_table(
            pa.Table.from_arrays(arrays, schema=pa.schema(fields)),
            temporary,
            compression="zstd",
            row_group_size=1 << 17,
        )


def read_meta(folder: Path) -> dict[str, Any]:
    """Read the ``meta.json`` of a shard folder.

    Raises
    ------
    OSError
        Where there is none.
    DataError
        Where it is not what was written.
    """
    path = folder / "meta.json"
    try:
        meta = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path}: not a record of shards ({error}); {_anew(folder)}") from None
    if not seal_holds(meta):
        raise DataError(f"{path}: changed since it was written; {_anew(folder)}")
    return meta


def check_index(folder: Path, meta: dict[str, Any]) -> None:
    """Compare an index with what ``meta.json`` says of it; folders of older versions say nothing.

    Raises
    ------
    DataError
        Where it is not what was written.
    """
    path = folder / "index.parquet"
    expected = meta.get("index_sha256")
    if expected is not None and sha256_file(path) != expected:
        raise DataError(f"{path}: changed since it was written; {_anew(folder)}")


def _anew(folder: Path) -> str:
    return f"delete {folder} and run the workflow again"


class ShardSet:
    """Windows of one dataset; a map-style dataset, which torch's DataLoader takes as it is.

    An item is `(signals, label)`: float32 [C, T] in microvolts (EEG) or millivolts (ECG), and the class index
    (of a multilabel task float32 [K]); -1 where there is no label.

    Parameters
    ----------
    folder : str or Path
        Where the shards, their index and ``meta.json`` lie.

    Attributes
    ----------
    index : DataFrame
        One row a window, in the order in which rows are counted everywhere.
    meta : dict
        Content of ``meta.json``.
    task : Task or None
        What the labels mean; None where there are none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.meta = read_meta(self.folder)
            check_index(self.folder, self.meta)
            self.index = pd.read_parquet(self.folder / "index.parquet")
        except OSError as error:
            raise DataError(
                f"{self.folder}: no finished shards ({error.strerror}); run preprocessing first"
            ) from None
        self.task = task_of_meta(self.meta["task"])
        self._shard = self.index["shard"].to_numpy()
        self._row = self.index["row"].to_numpy()
        columns = mask_columns(len(self.meta["channels"]))
        self._channel_mask = self.index[columns].to_numpy(dtype=np.uint64)
        self._crc32 = self.index["crc32"].to_numpy() if "crc32" in self.index else None
        self._unread = np.full(len(self.index), self._crc32 is not None)
        self._open: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> tuple[np.ndarray, Any]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"window {row} of {len(self)}")  # which also ends a loop over all
        rows = np.array([row % len(self)])
        label = -1 if self.task is None else self.labels(rows)[0]
        return self.signals(rows)[0], label

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(self.meta["channels"])

    @property
    def rate_hz(self) -> float:
        """Sampling rate of the windows, hertz."""
        return float(self.meta["rate_hz"])

    @property
    def modality(self) -> str:
        """The modality, "eeg" or "ecg"."""
        return str(self.meta["modality"])

    @property
    def n_samples(self) -> int:
        """Samples of a window."""
        return int(self.meta["n_samples"])

    @property
    def fingerprint(self) -> str:
        """sha256 over index, windows and scales."""
        return str(self.meta["fingerprint"])

    @property
    def reason(self) -> str | None:
        """Why there is nothing here, or None."""
        return None if self.meta["status"] == "ok" else str(self.meta["reason"])

    def windows(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Read windows; masked channels are zero.

        Parameters
        ----------
        rows : array [n]
            Positions in `index`.
        out : array [n, C, T] of float32, optional
            Filled and returned where given: fresh memory costs as much as the copy.

        Returns
        -------
        array [n, C, T] of float32
            The windows, scaled as the dataset's settings say.
        """
        rows = np.asarray(rows)
        if out is None:
            out = np.empty((len(rows), len(self.meta["channels"]), self.n_samples), dtype=np.float32)
        # One copy a window, straight from the map; gathering by an index array would make two.
        places = zip(rows.tolist(), self._shard[rows].tolist(), self._row[rows].tolist(), strict=True)
        for i, (row, shard, place) in enumerate(places):
            window = self._memmap(shard_name(shard))[place]
            if self._unread[row]:
                self._check(row, window)
            out[i] = window
        return out

    def check_windows(self) -> list[str]:
        """Compare every window with its sum; return what is wrong, a line each."""
        found = []
        for row, (shard, place) in enumerate(zip(self._shard.tolist(), self._row.tolist(), strict=True)):
            try:
                self._check(row, self._memmap(shard_name(shard))[place])
            except (DataError, OSError, ValueError, IndexError) as error:
                found.append(str(error))
        return found

    def _check(self, row: int, window: np.ndarray) -> None:
        """Compare a window with its sum, the first time that this object reads it."""
        if self._crc32 is not None and zlib.crc32(window.data) != self._crc32[row]:
            which = self.index.iloc[row]
            raise DataError(
                f"{self.folder / shard_name(which['shard'])}: window {which['row']} ({which['recording']} at "
                f"{which['start_s']:g} s) changed since it was written; {_anew(self.folder)}"
            )
        self._unread[row] = False

    def scales(self, rows: np.ndarray) -> np.ndarray:
        """Return what windows are to be multiplied by to be in microvolts (EEG) or millivolts (ECG).

        Parameters
        ----------
        rows : array [n]
            Positions in `index`.

        Returns
        -------
        array [n, C] of float32
            0 where a channel is masked; 1 throughout where the folder has no scales.
        """
        rows = np.asarray(rows)
        if not (self.folder / scale_name(0)).exists():
            return np.ones((len(rows), len(self.meta["channels"])), dtype=np.float32)
        places = zip(self._shard[rows].tolist(), self._row[rows].tolist(), strict=True)
        found = [self._memmap(scale_name(shard))[place] for shard, place in places]
        return np.array(found, dtype=np.float32).reshape(len(rows), len(self.meta["channels"]))

    def signals(self, rows: np.ndarray) -> np.ndarray:
        """Read windows [n, C, T] in microvolts (EEG) or millivolts (ECG), as the model wants them."""
        windows = self.windows(rows)
        windows *= self.scales(rows)[..., None]
        return windows

    def mask(self, rows: np.ndarray) -> np.ndarray:
        """Return which channels are valid.

        Parameters
        ----------
        rows : array [n]
            Positions in `index`.

        Returns
        -------
        array [n, C] of bool
            True where the channel is valid in the window.
        """
        channel = np.arange(len(self.meta["channels"]))
        bits = self._channel_mask[np.asarray(rows)][:, channel // 64]
        return (bits >> (channel % 64).astype(np.uint64)) & np.uint64(1) == 1

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Return the labels; -1 stands for unlabelled.

        Parameters
        ----------
        rows : array [n]
            Positions in `index`.

        Returns
        -------
        array [n] of int64, [n, K] of float32, or [n, 2] of float64
            Class indices; for a multilabel task 0 or 1 of each class; of a regression numbers, NaN where
            there is none; of a time to an event seconds, and 1 for the event or 0 for the end of follow-up.

        Raises
        ------
        DataError
            Where the dataset has none.
        """
        if self.task is None:
            raise DataError(f"{self.folder}: the dataset has no labels")
        table = self.index[list(self.task.columns)].to_numpy()[np.asarray(rows)]
        if self.task.kind == "time_to_event":
            return table.astype(np.float64)
        return table.astype(np.float32) if self.task.kind in SEVERAL else table[:, 0].astype(np.int64)

    def labelled(self) -> np.ndarray:
        """Return which windows have a label, array [windows], bool."""
        if self.task is None:
            return np.zeros(len(self), dtype=bool)
        if self.task.kind == "regression":
            return self.index[list(self.task.columns)].notna().any(axis=1).to_numpy()
        return self.index[self.task.columns[0]].to_numpy() >= 0

    def _memmap(self, name: str) -> np.ndarray:
        if name not in self._open:
            expected = self.meta.get("scales", {}).get(name)
            if expected is not None and sha256_file(self.folder / name) != expected:
                raise DataError(f"{self.folder / name}: changed since it was written; {_anew(self.folder)}")
            mapped = np.load(self.folder / name, mmap_mode="r")
            self._open[name] = mapped.view(np.ndarray)  # slicing np.memmap itself is slow
        return self._open[name]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # a worker opens its own maps


def merge_parts(dataset: Dataset, settings: Any, folder: Path) -> dict[str, Any]:
    """Make index.parquet, quarantine.csv and meta.json from the parts of all batches.

    Parameters
    ----------
    dataset : Dataset
        The corpus.
    settings : DatasetConfig
        The dataset's section of the config.
    folder : Path
        The dataset's shard folder, in which ``parts/`` lie.

    Returns
    -------
    dict
        Content of ``meta.json``.

    Raises
    ------
    DataError
        Where parts are missing.
    """
    parts = folder / "parts"
    columns = index_columns(dataset)
    batches = [_read_batch(parts / f"batch-{batch}.json") for batch in range(settings.batches)]
    checksums = {int(shard): digest for batch in batches for shard, digest in batch["shards"].items()}
    if sorted(checksums) != list(range(settings.shards)):
        raise DataError(
            f"{parts}: parts of {len(checksums)} shards, expected {settings.shards}; preprocess again"
        )
    tables = [pd.read_parquet(parts / f"shard-{shard:05d}.parquet") for shard in range(settings.shards)]
    filled = [table for table in tables if len(table)] or tables[:1]
    index = pd.concat(filled, ignore_index=True)
    for stale in (*folder.glob("shard-*.npy"), *folder.glob("scales/shard-*.npy")):
        if int(stale.stem.partition("-")[2]) >= settings.shards:
            stale.unlink()  # of an earlier setting with more shards
    write_parquet(folder / "index.parquet", index, columns)
    quarantine = pd.concat(
        [pd.read_csv(parts / f"quarantine-{shard:05d}.csv", dtype="str") for shard in range(settings.shards)]
    ).sort_values(["recording", "reason"])
    with atomic_path(folder / "quarantine.csv") as temporary:
        quarantine.to_csv(temporary, index=False, lineterminator="\n")
    source = batches[0]["source"]
    status, reason = _status(source, len(index), quarantine)
    index_sha256 = sha256_file(folder / "index.parquet")
    digest = hashlib.sha256((folder / "index.parquet").read_bytes())
    for shard in sorted(checksums):
        digest.update(checksums[shard].encode())
        digest.update((folder / scale_name(shard)).read_bytes())
    meta = {
        "dataset": dataset.name,
        "slug": dataset.slug,
        "version": dataset.version,
        "doi": dataset.doi,
        "licence": dataset.licence,
        "modality": dataset.modality,
        "channels": list(dataset.channels),
        "rate_hz": settings.rate_hz,
        "window_s": settings.window_s,
        "stride_s": settings.stride_s,
        "n_samples": round(settings.window_s * settings.rate_hz),
        "n_windows": len(index),
        "n_recordings": int(index["recording"].nunique()),
        "n_subjects": int(index["subject"].nunique()),
        "n_quarantined": len(quarantine),
        "dtype": settings.dtype,
        "band_hz": list(settings.band_hz),
        "scale": settings.scale,
        "task": None if dataset.task is None else describe_task(dataset.task),
        **({"told": list(dataset.window_columns)} if dataset.window_columns else {}),
        "status": status,
        "reason": reason,
        "source": source,
        "shards": {shard_name(shard): checksums[shard] for shard in sorted(checksums)},
        "scales": {scale_name(shard): sha256_file(folder / scale_name(shard)) for shard in sorted(checksums)},
        "index_sha256": index_sha256,
        "fingerprint": digest.hexdigest(),
    }
    meta = sealed(meta)
    write_json(folder / "meta.json", meta)
    return meta


def _read_batch(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; this batch has not been preprocessed yet") from None


def _status(source: dict[str, Any], n_windows: int, quarantine: pd.DataFrame) -> tuple[str, str | None]:
    if source["status"] == "absent":
        return "absent", source["reason"]
    if n_windows:
        return "ok", None
    if quarantine.empty:
        return "empty", "no recording selected"
    return "empty", (
        f"no usable window: {len(quarantine)} recordings in quarantine, the first: "
        f"{quarantine['recording'].iloc[0]}: {quarantine['reason'].iloc[0]}"
    )
