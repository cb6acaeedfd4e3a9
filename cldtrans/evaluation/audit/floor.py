"""What metadata alone tell of the labels: a task that they answer above chance is flagged in every table."""

from __future__ import annotations

from pathlib import Path

from cldtrans.baselines.metadata_floor import MetadataFloor
from cldtrans.data.shards import ShardSet
from cldtrans.data.splits import load_folds
from cldtrans.evaluation.audit.finding import Finding
from cldtrans.evaluation.fewshot import parts_of, predict, task_of, unfit
from cldtrans.evaluation.predictions import in_folds, score_predictions
from cldtrans.scoring.metrics import PRIMARY, Scores, unscored
from cldtrans.scoring.summary import LOWER_IS_BETTER


def metadata_floor(windows: ShardSet, split: Path, seed: int) -> Scores:
    """Score the metadata floor as a few-shot cell with every training label.

    Parameters
    ----------
    windows : ShardSet
        With a task.
    split : Path
        csv: [fold,] subject, split.
    seed : int
        Of the resampling of subjects, and of what the floor draws.
    """
    task = task_of(windows)
    divided, found, problem = load_folds(split), [], ""
    for fold in divided:
        train, val, test = parts_of(windows, fold, "1.0", seed)
        why_not = unfit(task, train, test)
        if why_not:
            problem = problem or why_not
            continue
        floor = MetadataFloor(task, windows.channels, windows.rate_hz, windows.modality, seed, threads=1)
        floor.fit(train, val)
        found.append(predict(floor, windows, val, test, seed))
    if not found:
        return unscored(task.kind, task.classes, problem)
    return score_predictions(in_folds(found, len(divided)))


def floor_finding(of: str, kind: str, scores: Scores) -> Finding:
    """Flag a task whose metadata alone score above chance, its whole interval included."""
    name = PRIMARY[kind]
    value, chance, interval = scores.metrics.get(name), scores.chance.get(name), scores.ci95.get(name)
    expected = f"{name} of the metadata alone: an interval that does not lie above chance"
    if value is None or chance is None:
        return Finding("metadata floor", of, "not checked", expected, scores.reasons.get(name, "not scored"))
    if interval is None:
        found = f"{value:.3f}, chance {chance:.3f}, no interval"
        return Finding("metadata floor", of, "not checked", expected, found)
    found = f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}], chance {chance:.3f}"
    beats = interval[1] < chance if name in LOWER_IS_BETTER else interval[0] > chance
    return Finding("metadata floor", of, "flagged" if beats else "passed", expected, found)
