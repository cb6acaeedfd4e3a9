"""The audit of a run: every check of every dataset, division and result, in one record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.config import Config, variant
from cldtrans.data import chosen_dataset
from cldtrans.data.base import raw_folder
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import assign, load_split
from cldtrans.errors import DataError
from cldtrans.evaluation.audit import claims, divisions
from cldtrans.evaluation.audit import windows as shards_checks
from cldtrans.evaluation.audit.finding import Finding
from cldtrans.evaluation.audit.floor import floor_finding, metadata_floor
from cldtrans.evaluation.audit.persons import persons
from cldtrans.methods.factories import PROBED, spec_of
from cldtrans.provenance import read_result
from cldtrans.training.stage1 import pretraining_rows


def audit_run(
    config: Config, *, shards: Path, splits: Path, features: Path, results: Sequence[Path]
) -> dict[str, Any]:
    """Check a run.

    Parameters
    ----------
    config : Config
        Settings of the run.
    shards, splits, features : Path
        Folders, each with a folder a dataset.
    results : sequence of Path
        Result files.

    Returns
    -------
    dict
        `findings`, one entry a check, and `floors`, the metadata's scores by dataset and seed.
    """
    findings: list[Finding] = []
    floors: list[dict[str, Any]] = []
    raw = raw_folder(config)
    tasks = {}
    for name in config.datasets:
        windows = ShardSet(shards / name)
        if windows.reason is not None:
            found = Finding("shards", name, "not checked", "windows to check", windows.reason)
            findings.append(found)
            continue
        tasks[name] = windows.task
        dataset = chosen_dataset(name, config.dataset_classes)
        findings += [
            shards_checks.crop_start(windows),
            shards_checks.channels(windows, dataset),
            shards_checks.label_times(windows, dataset, raw),
        ]
        for path in sorted((splits / name).glob("seed-*.csv")):
            seed = int(path.stem.removeprefix("seed-"))
            findings += _division(config, name, windows, path, seed, raw)
            if windows.task is not None:
                scores = metadata_floor(windows, path, seed)
                findings.append(floor_finding(f"{name}, seed {seed}", windows.task.kind, scores))
                flagged = findings[-1].status == "flagged"
                floors.append({"dataset": name, "seed": seed, "flagged": flagged, **asdict(scores)})
    findings += _claims(config, tasks, features, results)
    return {"findings": [asdict(finding) for finding in findings], "floors": floors}


def _division(
    config: Config, name: str, windows: ShardSet, path: Path, seed: int, raw: Path
) -> Iterator[Finding]:
    split, of = load_split(path), f"{name}, seed {seed}"
    person, parts = persons(name, windows.index, raw), assign(windows, split)
    yield divisions.person_on_two_sides(of, person, parts)
    yield divisions.witness(of, person, parts)
    if windows.task is None:
        return
    yield divisions.nested_budgets(of, windows, split, seed)
    for model in config.variants:
        if name in variant(config, model)[1].datasets:
            folds = chosen_dataset(name, config.dataset_classes).training_folds
            seen, _ = pretraining_rows(folds, windows, seed)
            yield divisions.pretrained_on_test(f"{of}, {model}", person, parts, seen)


def _claims(
    config: Config, tasks: dict[str, Any], features: Path, results: Iterable[Path]
) -> Iterator[Finding]:
    for path in results:
        record = read_result(path)
        name, method = record["dataset"], record["method"]
        if method not in config.variants or tasks.get(name) is None:
            continue
        if record["experiment"] not in ("fewshot", "robustness"):
            continue
        n_features = _width(features / name / method / f"seed-{record['seed']}.npz")
        probed = spec_of(config, method, "classifier") == PROBED
        yield claims.fitted_parameters(record, tasks[name], n_features, probed=probed)


def _width(path: Path) -> int:
    """Count the features of a window."""
    try:
        with np.load(path) as content:
            return int(content["features"].shape[1])
    except OSError as error:
        raise DataError(f"{path}: no features ({error.strerror}); run the workflow again") from None


def failures(report: dict[str, Any]) -> list[str]:
    """Return a line for each failed check."""
    return [
        f"{one['check']} ({one['of']}): {one['found']}"
        for one in report["findings"]
        if one["status"] == "failed"
    ]
