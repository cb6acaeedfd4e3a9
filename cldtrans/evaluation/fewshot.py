"""One few-shot cell: adapt to a dataset with a budget of its labels, score on held-out subjects.

Our own model is judged by a linear probe on its pooled features, or fine-tuned from its stage-1 checkpoint
where the config asks for steps; a baseline trains on the same windows. Penalties and thresholds come from
validation subjects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.config import Config
from cldtrans.data.base import Task
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import budget_rows, load_folds, load_split, split_rows
from cldtrans.errors import ConfigError, DataError
from cldtrans.evaluation.cell import NO_WINDOWS, write_cell
from cldtrans.evaluation.costs import costs_of
from cldtrans.evaluation.origin import origin
from cldtrans.evaluation.predictions import (
    Predictions,
    in_folds,
    no_predictions,
    predictions_of,
    score_predictions,
    write_predictions,
)
from cldtrans.evaluation.references import Fit, set_beside
from cldtrans.machine import limit_threads
from cldtrans.methods import classifiers
from cldtrans.methods.cells import Cell
from cldtrans.methods.factories import FINE_TUNED, PROBED, STRATEGY, build, spec_of
from cldtrans.methods.search import fitted
from cldtrans.methods.stored_features import read_features
from cldtrans.methods.windows import Classifier, LabelledWindows, counts

Parts = tuple[LabelledWindows, LabelledWindows, LabelledWindows]
Stored = tuple[np.ndarray | None, list[tuple[int, float]] | None, np.ndarray | None]


def run_fewshot(
    config: Config,
    *,
    dataset: str,
    method: str,
    budget: str,
    seed: int,
    shards: Path,
    split: Path,
    output: Path,
    features: Path | None = None,
    checkpoint: Path | None = None,
    start: Path | None = None,
    threads: int = 1,
    experiment: str = "fewshot",
) -> dict[str, Any]:
    """Score one cell and write its result file, with its predictions beside it as parquet.

    What cannot be scored is null with a reason.

    Parameters
    ----------
    config : Config
        Settings of the run.
    dataset, method, budget, seed
        The cell.
    shards : Path
        The dataset's shard folder.
    split : Path
        csv: subject, split; of a division in folds before them fold, and each fold is fitted and tested.
    output : Path
        The result file.
    features : Path, optional
        Pooled features of a variant (.npz).
    checkpoint : Path, optional
        Folder of a variant's stage-1 model.
    start : Path, optional
        Checkpoint of the network that the method starts from.
    threads : int
        Part of a CPU result's last bits.
    experiment : str
        "fewshot", or the division's name.

    Returns
    -------
    dict
        The record as written.
    """
    windows = ShardSet(shards)
    cell = Cell(experiment, dataset, method, budget, seed)
    task = task_of(windows)
    stored = stored_features(features, windows)
    fits: list[Fit] = []
    found: list[Predictions] = []
    divided, problems = load_folds(split), []
    n = NO_WINDOWS
    for fold in divided:
        problem = "" if windows.reason is None else f"{dataset}: {windows.reason}"
        if not problem:
            parts = parts_of(windows, fold, budget, seed, stored)
            n = counts(*parts) if len(divided) == 1 else n
            problem = unfit(task, parts[0], parts[2])
        if problem:
            problems.append(problem)
            continue
        train, val, test = parts
        classifier = make_classifier(config, method, windows, seed, threads, features, checkpoint, start)
        limit_threads(threads)
        classifier = fitted(classifier, task, config.search.rate_factors, train, val)
        found.append(predict(classifier, windows, val, test, seed))
        fits.append(Fit(classifier, parts, found[-1].of("test")))
    problem = problems[0] if problems else "fewer than two subjects: no fold"
    predictions = in_folds(found, len(divided)) if found else no_predictions(windows, problem, seed)
    write_predictions(output.with_suffix(".parquet"), predictions)
    scores = score_predictions(predictions)
    notes = [f"{len(problems)} of {len(divided)} folds: {problem}"] if found and problems else []
    costs = dict[str, Any]()
    if fits:
        costs = costs_of(fits[-1].classifier, fits[-1].parts[2])  # before the twin, which is not its cost
        set_beside(scores, task, method, fits, seed, threads, config.search.rate_factors)
        notes += getattr(getattr(fits[-1].classifier, "tuning", None), "notes", ())
    return write_cell(
        output,
        cell,
        config,
        scores,
        n if len(divided) == 1 else counts_of_folds([fit.parts for fit in fits]),
        windows=windows,
        checkpoint=checkpoint,
        scored=fits[-1].classifier if fits else None,
        notes=notes,
        extra=origin(config, cell, fits[-1].classifier if fits else None) | costs,
    )


def counts_of_folds(folds: Sequence[Parts]) -> dict[str, Any]:
    """Count windows and subjects of all tests together, and of the smallest training and validation."""
    each = [counts(*parts) for parts in folds] or [NO_WINDOWS]
    subjects = [one["subjects"] for one in each]
    found = {part: min(one[part] for one in each) for part in ("train", "val")}
    found["subjects"] = {part: min(one[part] for one in subjects) for part in ("train", "val")}
    found["test"] = sum(one["test"] for one in each)
    found["subjects"]["test"] = sum(one["test"] for one in subjects)
    return found


def labelled_parts(
    windows: ShardSet, dataset: str, split: Path, budget: str, seed: int, features: Path | None
) -> tuple[Parts | None, str]:
    """Return training windows of a budget, validation, test; or None and why not."""
    if windows.reason is not None:
        return None, f"{dataset}: {windows.reason}"
    return parts_of(windows, load_split(split), budget, seed, stored_features(features, windows)), ""


def parts_of(
    windows: ShardSet, divided: Mapping[str, str], budget: str, seed: int, stored: Stored = (None, None, None)
) -> Parts:
    """Return training windows of a budget, validation, test.

    Parameters
    ----------
    windows : ShardSet
        The dataset's.
    divided : mapping of str to str
        A division, or one fold of it.
    budget, seed
        The cell's.
    stored : tuple
        From `stored_features`.
    """
    rows = [
        budget_rows(windows, divided, budget, seed),
        split_rows(windows, divided, "val"),
        split_rows(windows, divided, "test"),
    ]
    train, val, test = (LabelledWindows(windows, part, *stored) for part in rows)
    return train, val, test


def stored_features(path: Path | None, windows: ShardSet) -> Stored:
    """Read the features of a shard set, as `LabelledWindows` takes them; Nones where there are none."""
    if path is None or windows.reason is not None:
        return None, None, None
    return load_features(path, len(windows))


def load_features(path: Path, n_windows: int) -> Stored:
    """Read the pooled features [n_windows, F] of a shard set, their blocks' width and share, the twin's.

    Raises
    ------
    DataError
        Where their number disagrees with the index.
    """
    content = read_features(path)
    features = content["features"]
    blocks = [(int(w), float(s)) for w, s in content["blocks"]] if "blocks" in content else None
    twin = content.get("twin")
    if len(features) != n_windows:
        raise DataError(
            f"{path}: features of {len(features)} windows, but the index holds {n_windows}; "
            "delete it and run again"
        )
    return features, blocks, twin


def unfit(task: Task, train: LabelledWindows, test: LabelledWindows) -> str:
    """Say why a split cannot be learned from or scored; empty where it can."""
    for name, part in (("training", train), ("test", test)):
        if len(part) == 0:
            return f"no labelled {name} windows: too few subjects or labels"
    if task.kind == "time_to_event":
        if not (train.y[:, 1] == 1).any():
            return "no event follows any training window"
    elif task.kind == "regression":
        if not any(len(np.unique(column[np.isfinite(column)])) > 1 for column in train.y.T):
            return "training windows do not vary in any label"
    elif task.kind == "multilabel":
        if not any(len(np.unique(column[column >= 0])) > 1 for column in train.y.T):
            return "training windows do not vary in any label"
    elif len(np.unique(train.y)) < 2:
        return f"training windows hold only class {task.classes[int(train.y[0])]!r}"
    return ""


def make_classifier(
    config: Config,
    method: str,
    windows: ShardSet,
    seed: int,
    threads: int,
    features: Path | None,
    checkpoint: Path | None,
    start: Path | None = None,
) -> Classifier:
    """Make a baseline by its factory; a variant of our model as a linear probe, or fine-tuned."""
    task = task_of(windows)
    spec = spec_of(config, method, "classifier")
    if spec == FINE_TUNED:
        if checkpoint is None:
            raise DataError(f"fine-tuning {method} needs its stage-1 checkpoint (--checkpoint)")
        tuned, variant = config.finetuned(method), config.variant_of(method)
        made = build(spec, tuned, variant, checkpoint, task, windows.modality, seed=seed, threads=threads)
        return with_strategy(made, config, method, seed)
    if spec == PROBED:
        if features is None:
            raise DataError(f"a linear probe of {method} needs its features (--features)")
        return build(spec, task.kind, task.classes)
    settings = dict(config.methods[method].settings)
    before = config.methods[method].start
    if before is not None:
        if start is None:
            raise DataError(f"{method} starts from {before.method}; give its checkpoint (--start)")
        settings[before.setting] = str(start)
    about = {
        "task": task,
        "channels": windows.channels,
        "sample_rate": windows.rate_hz,
        "modality": windows.modality,
        "seed": seed,
        "threads": threads,
    }
    return with_strategy(classifiers.make(spec, about, settings), config, method, seed)


def with_strategy(classifier: Classifier, config: Config, method: str, seed: int) -> Classifier:
    """Give a classifier the strategy of `finetune`, where its method has one.

    Raises
    ------
    ConfigError
        For a classifier that trains no network.
    """
    settings = config.methods[method].finetune if method in config.methods else None
    if settings is not None:
        if not hasattr(classifier, "tuning"):
            raise ConfigError(f"methods.{method}.finetune: this classifier trains no network")
        classifier.tuning = build(STRATEGY, settings, seed)
    return classifier


def predict(
    classifier: Classifier, windows: ShardSet, val: LabelledWindows, test: LabelledWindows, seed: int
) -> Predictions:
    """Ask a fitted classifier for every held-out window.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    windows : ShardSet
        Those that are scored.
    val, test : LabelledWindows
        Held-out windows.
    seed : int
        Of the resampling of subjects.
    """
    proba_val = classifier.predict_proba(val) if len(val) else None
    return predictions_of(windows, val, proba_val, test, classifier.predict_proba(test), seed)


def task_of(windows: ShardSet) -> Task:
    """Return what is to be predicted.

    Raises
    ------
    DataError
        Where the dataset has no labels.
    """
    if windows.task is None:
        raise DataError(f"{windows.folder}: the dataset has no labels; few-shot needs a dataset with a task")
    return windows.task
