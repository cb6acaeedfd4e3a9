"""Is every finished file of a run still what was written? All of it, where jobs check only what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cldtrans.config import Config
from cldtrans.data import chosen_dataset
from cldtrans.data.base import raw_folder
from cldtrans.data.fetch.checksums import LIST, WORK, Checksums
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import load_split
from cldtrans.errors import CldtransError
from cldtrans.evaluation.predictions import read_predictions
from cldtrans.files import SUMS, read_sums, sha256_file
from cldtrans.methods.stored_features import read_features
from cldtrans.planning.plan import Plan
from cldtrans.provenance import read_result


@dataclass(frozen=True)
class Verified:
    """What was found of one kind of files.

    Attributes
    ----------
    kind : str
        Of the files.
    checked, absent : int
        Files that were read, and those of the plan that are not there yet.
    problems : list of str
        One line for each file that is not what was written.
    """

    kind: str
    checked: int
    absent: int
    problems: list[str]


def verify_run(config: Config, root: Path = Path(), raw: bool = False) -> list[Verified]:
    """Check every finished file of a run.

    Parameters
    ----------
    config : Config
        Settings of the run.
    root : Path
        Folder that holds its `data/` and `results/`.
    raw : bool
        Whether raw recordings are hashed too, which reads all of them.
    """
    plan = Plan(config)
    features = root / f"results/{config.run}/features"
    results = [root / path for path in plan.results()]
    found = [
        _each("shards", [(root / path).parent for path in plan.every_shards()], _shards),
        _each("splits", [root / path for path in plan.splits()], _split),
        _each("weights", [(root / path).parent for path in _checkpoints(plan)], _weights),
        _each("features", sorted(features.rglob("*.npz")), _features),
        _each("results", results, _result),
        _each("predictions", _present(path.with_suffix(".parquet") for path in results), _predictions),
    ]
    if raw:
        datasets = [chosen_dataset(name, config.dataset_classes) for name in config.datasets]
        folder = root / raw_folder(config)
        found.insert(0, _each("raw files", [dataset.folder(folder) for dataset in datasets], _raw))
    return found


def _checkpoints(plan: Plan) -> list[str]:
    return [*plan.checkpoints(1), *plan.checkpoints(2)]


def _present(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]


def _each(kind: str, paths: list[Path], check: Callable[[Path], tuple[int, list[str]]]) -> Verified:
    """Check what exists of `paths`; `check` returns the files that it read, and what is wrong."""
    checked, problems = 0, []
    there = _present(paths)
    for path in there:
        try:
            number, wrong = check(path)
        except CldtransError as error:
            number, wrong = 1, [str(error)]
        checked += number
        problems += wrong
    return Verified(kind, checked, len(paths) - len(there), problems)


def _shards(folder: Path) -> tuple[int, list[str]]:
    if not (folder / "meta.json").exists():
        return 0, []
    windows = ShardSet(folder)
    windows.scales(np.arange(len(windows)))
    return 2 + 2 * windows.index["shard"].nunique(), windows.check_windows()


def _split(path: Path) -> tuple[int, list[str]]:
    load_split(path)
    return 1, []


def _weights(folder: Path) -> tuple[int, list[str]]:
    try:
        sums = read_sums(folder)
    except (OSError, ValueError) as error:
        return 0, [f"{folder}: no readable {SUMS} ({error}); delete the folder and run the workflow again"]
    wrong = [
        f"{folder / name}: changed since it was written; delete {folder} and run the workflow again"
        for name, digest in sums.items()
        if not (folder / name).is_file() or sha256_file(folder / name) != digest
    ]
    return len(sums), wrong


def _features(path: Path) -> tuple[int, list[str]]:
    read_features(path)
    return 1, []


def _result(path: Path) -> tuple[int, list[str]]:
    read_result(path)
    return 1, []


def _predictions(path: Path) -> tuple[int, list[str]]:
    read_predictions(path)
    return 1, []


def _raw(folder: Path) -> tuple[int, list[str]]:
    listed = next((path for path in (folder / LIST, folder / WORK / LIST) if path.is_file()), None)
    if listed is None:
        return 0, []
    checksums, checked, wrong = Checksums(listed), 0, []
    for row in range(len(checksums)):
        key, expected = checksums.line(row)
        path = folder / key
        if path.is_file():
            checked += 1
            if sha256_file(path) != expected:
                wrong.append(f"{path}: not what {LIST} says; delete it and its download's record, run again")
    return checked, wrong
