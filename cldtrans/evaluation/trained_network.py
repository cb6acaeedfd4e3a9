"""A network trained with all labels of a dataset, kept for others to start from, to learn from, to deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cldtrans.config import Config
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.evaluation.fewshot import labelled_parts, make_classifier, task_of, unfit
from cldtrans.files import atomic_path, write_json
from cldtrans.machine import limit_threads
from cldtrans.methods.windows import LabelledWindows


def train_network(
    config: Config,
    *,
    dataset: str,
    method: str,
    seed: int,
    shards: Path,
    split: Path,
    output: Path,
    start: Path | None = None,
    threads: int = 1,
) -> None:
    """Train a method's network and write its weights, with what they are beside them as `network.json`.

    Parameters
    ----------
    config : Config
        Settings of the run.
    dataset, method, seed
        What is learned, by whom.
    shards : Path
        The dataset's shard folder.
    split : Path
        csv: subject, split.
    output : Path
        `model.safetensors`.
    start : Path, optional
        Checkpoint of the network that the method starts from.
    threads : int
        Part of a CPU result's last bits.

    Raises
    ------
    DataError
        Where there is nothing to learn from, or the method is no network.
    """
    trained, parts = fitted(config, dataset, method, seed, shards, split, start, threads)
    with atomic_path(output) as temporary:
        trained.save(temporary)
    about = {"method": method, "dataset": dataset, "seed": seed, "parameters": trained.parameters}
    windows = {name: len(part) for name, part in zip(("train", "val", "test"), parts, strict=True)}
    write_json(output.with_name("network.json"), about | {"windows": windows, "notes": trained.notes})


def fitted(
    config: Config,
    dataset: str,
    method: str,
    seed: int,
    shards: Path,
    split: Path,
    start: Path | None,
    threads: int,
) -> tuple[Any, tuple[LabelledWindows, LabelledWindows, LabelledWindows]]:
    """Return a classifier trained with all labels, and the parts of its data; arguments as above."""
    windows = ShardSet(shards)
    parts, problem = labelled_parts(windows, dataset, split, "1.0", seed, None)
    if parts is None or (problem := unfit(task_of(windows), parts[0], parts[2])):
        raise DataError(f"{dataset}: no network of {method}: {problem}")
    classifier: Any = make_classifier(config, method, windows, seed, threads, None, None, start)
    if not hasattr(classifier, "save"):
        raise DataError(f"{method} is no network whose weights could be kept")
    limit_threads(threads)
    classifier.fit(parts[0], parts[1])
    return classifier, parts
