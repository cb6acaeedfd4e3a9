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
from cldtrans.data.splits import assign, load_folds
from cldtrans.errors import DataError
from cldtrans.evaluation.audit import claims, divisions
from cldtrans.evaluation.audit import windows as shards_checks
from cldtrans.evaluation.audit.finding import Finding, of_folds
from cldtrans.evaluation.audit.floor import floor_finding, metadata_floor
from cldtrans.evaluation.audit.persons import persons
from cldtrans.methods.factories import PROBED, ROLES, spec_of
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
    records = [read_result(path) for path in results]
    divided: dict[tuple[str, str], set[str]] = {}
    for record in records:
        divided.setdefault((record["dataset"], record["method"]), set()).add(record["experiment"])
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
            shards_checks.crop_start(windows, dataset, raw),
            shards_checks.channels(windows, dataset),
            shards_checks.label_times(windows, dataset, raw),
        ]
        for path in [
            *sorted((splits / name).glob("seed-*.csv")),
            *sorted((splits / name).glob("*/seed-*.csv")),
        ]:
            seed = int(path.stem.removeprefix("seed-"))
            division = None if path.parent.name == name else path.parent.name
            of = ", ".join([name, *([division] if division else []), f"seed {seed}"])
            models = [
                model for model in config.variants if division in (None, *divided.get((name, model), ()))
            ]
            findings += _division(config, name, of, windows, path, seed, raw, models)
            # Where a recording ends tells a time to an event; its floor stands beside each score.
            if windows.task is not None and windows.task.kind != "time_to_event":
                scores = metadata_floor(windows, path, seed)
                findings.append(floor_finding(of, windows.task.kind, scores))
                flagged = findings[-1].status == "flagged"
                floor = {"dataset": name, "division": division, "seed": seed, "flagged": flagged}
                floors.append(floor | asdict(scores))
    findings += _claims(config, tasks, features, records)
    return {"findings": [asdict(finding) for finding in findings], "floors": floors}


def _division(
    config: Config,
    name: str,
    of: str,
    windows: ShardSet,
    path: Path,
    seed: int,
    raw: Path,
    models: Sequence[str],
) -> Iterator[Finding]:
    """Check a division, in each of its folds, and what the models that are scored on it have seen."""
    person = persons(name, windows.index, raw)
    by_fold: list[list[Finding]] = []
    for split in load_folds(path):
        parts = assign(windows, split)
        found = [divisions.person_on_two_sides(of, person, parts), divisions.witness(of, person, parts)]
        if windows.task is not None:
            found.append(divisions.nested_budgets(of, windows, split, seed))
            for model in models:
                if name in variant(config, model)[1].datasets:
                    folds = chosen_dataset(name, config.dataset_classes).training_folds
                    seen, _ = pretraining_rows(folds, windows, seed)
                    found.append(divisions.pretrained_on_test(f"{of}, {model}", person, parts, seen))
        by_fold.append(found)
    for same in zip(*by_fold, strict=True):
        yield of_folds(same)


def _claims(
    config: Config, tasks: dict[str, Any], features: Path, records: Iterable[dict[str, Any]]
) -> Iterator[Finding]:
    for record in records:
        name, method = record["dataset"], record["method"]
        if method not in config.variants or tasks.get(name) is None:
            continue
        if ROLES.get(record["experiment"]) != "classifier":
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
