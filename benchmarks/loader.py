"""Shard loader against raw `np.load(mmap_mode="r")` slicing, side by side on the same random rows.

    python benchmarks/loader.py [--batches 40] [--dtype float16] [--write]

Writes a temporary corpus, then times: slicing the memory maps window by window into one float32 array;
`ShardSet.windows`; and the training loader (tensors, masks, epoch order) with its threads. The bar is 0.8 x
the first. Everything is in the page cache, the loader has its buffers (as after the first steps), and each
way's last batch is in use while the next is made. Rounds are interleaved, and the medians of their times are
printed: by the clock, which is what a training step waits, and of the processor, because the clock means
little on a machine that does other work. Threads gather side by side, and pay for it in processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from report import add_write_option, publish

from cldtrans.data.shards import ShardSet
from cldtrans.training.loader import Batch, Loader, ShardCorpus
from cldtrans.training.sampler import MixedSampler

SHARDS, BATCH, ROUNDS = 8, 32, 7
SETTLE_S = 0.1  # in which threads finish the batches ahead: each round then pays for as many as it takes
SHAPES = {
    "eeg 64 x 1600": (64, 1600, 160.0),
    "eeg 18 x 1600": (18, 1600, 160.0),
    "ecg 12 x 5000": (12, 5000, 500.0),
}


def write_corpus(
    folder: Path, channels: int, samples: int, sample_rate: float, dtype: str, windows: int
) -> ShardSet:
    """Write random shards with the files that a ShardSet reads."""
    rng = np.random.default_rng(0)
    per_shard = windows // SHARDS
    for shard in range(SHARDS):
        block = rng.standard_normal((per_shard, channels, samples), dtype=np.float32).astype(dtype)
        np.save(folder / f"shard-{shard:05d}.npy", block)
    index = pd.DataFrame(
        {
            "shard": np.repeat(np.arange(SHARDS, dtype=np.int32), per_shard),
            "row": np.tile(np.arange(per_shard, dtype=np.int32), SHARDS),
            "channel_mask": np.full(SHARDS * per_shard, (1 << channels) - 1, dtype=np.uint64),
        }
    )
    index.to_parquet(folder / "index.parquet")
    meta = {
        "channels": [f"c{i}" for i in range(channels)],
        "rate_hz": sample_rate,
        "n_samples": samples,
        "task": None,
    }
    (folder / "meta.json").write_text(json.dumps(meta | {"modality": "eeg", "status": "ok"}))
    return ShardSet(folder)


def slice_raw(maps: list[np.ndarray], shards: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Gather windows in the plainest way: one slice a window."""
    out = np.empty((len(rows), *maps[0].shape[1:]), dtype=np.float32)
    for i, (shard, row) in enumerate(zip(shards, rows, strict=True)):
        out[i] = maps[shard][row]
    return out


def compare(corpus: ShardSet, folder: Path, batches: int) -> dict[str, tuple[float, float]]:
    """Time windows a second of each way, by the clock and of the processor: medians of interleaved rounds."""
    maps = [np.load(folder / f"shard-{shard:05d}.npy", mmap_mode="r") for shard in range(SHARDS)]
    held: deque[np.ndarray | Batch] = deque(
        maxlen=1
    )  # as a training step holds a batch while the next is made
    sampler = MixedSampler([len(corpus)], BATCH, seed=0)
    draws = [sampler.draw(step).rows for step in range(batches)]
    shard, row = corpus.index["shard"].to_numpy(), corpus.index["row"].to_numpy()

    def raw() -> None:
        for rows in draws:
            held.append(slice_raw(maps, shard[rows], row[rows]))

    def gathered() -> None:
        for rows in draws:
            held.append(corpus.windows(rows))

    rows = np.arange(len(corpus))
    streams = [Loader([ShardCorpus("c", corpus, rows)], sampler, workers=n).batches(0) for n in (0, 1, 2)]

    def loaded(stream: Generator[Batch, None, None]) -> None:
        for _ in draws:
            held.append(next(stream))

    ways = {"raw slicing": raw, "ShardSet.windows": gathered}
    ways |= {f"loader, {n} threads": partial(loaded, stream) for n, stream in enumerate(streams)}
    np.testing.assert_array_equal(slice_raw(maps, shard[draws[0]], row[draws[0]]), corpus.windows(draws[0]))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            way()
            clock = time.perf_counter() - clock
            time.sleep(SETTLE_S)
            times[name].append((clock, time.process_time() - processor))
    for stream in streams:
        stream.close()
    medians = {name: map(statistics.median, zip(*rounds[1:], strict=True)) for name, rounds in times.items()}
    return {name: tuple(BATCH * batches / seconds for seconds in both) for name, both in medians.items()}


def main() -> None:
    """Compare both shapes in the number formats asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=80)
    parser.add_argument("--dtype", choices=("float16", "float32"), nargs="+", default=["float16", "float32"])
    add_write_option(parser)
    args = parser.parse_args()
    rows = []
    for dtype in args.dtype:
        for name, (channels, samples, rate_hz) in SHAPES.items():
            with tempfile.TemporaryDirectory() as folder:
                corpus = write_corpus(Path(folder), channels, samples, rate_hz, dtype, windows=1024)
                rates = compare(corpus, Path(folder), args.batches)
            raw = rates["raw slicing"]
            for way, (clock, processor) in rates.items():
                rows.append(
                    {
                        "corpus": f"{name} {dtype}",
                        "way": way,
                        "windows/s": f"{clock:,.0f}",
                        "of raw": f"{clock / raw[0]:.2f}",
                        "a processor second": f"{processor:,.0f}",
                        "of raw there": f"{processor / raw[1]:.2f}",
                    }
                )
    publish("loader", pd.DataFrame(rows), args.write)


if __name__ == "__main__":
    main()
