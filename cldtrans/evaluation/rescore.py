"""Metrics of a cell from its kept predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cldtrans.evaluation.predictions import read_predictions, score_predictions
from cldtrans.files import sealed, write_json
from cldtrans.provenance import check_result, read_result

SCORED = ("metrics", "chance", "ci95", "reasons")


def rescore(predictions: Path) -> bool:
    """Renew what scoring tells in the result file beside a file of predictions.

    Who was scored, with which settings, data and checkpoint, stays as the training wrote it. A file that
    would not change is left alone, so that nothing that depends on it runs again.

    Parameters
    ----------
    predictions : Path
        ``seed-<s>.parquet``.

    Returns
    -------
    bool
        Whether a number or a reason changed.
    """
    path = predictions.with_suffix(".json")
    record = read_result(path)
    scores = score_predictions(read_predictions(predictions))
    numbers = {key: None if v is None else float(v) for key, v in scores.metrics.items()}
    chance = {key: None if v is None else float(v) for key, v in scores.chance.items()}
    found: dict[str, dict[str, Any]] = {
        "metrics": numbers,
        "chance": chance,
        "ci95": scores.ci95,
        "reasons": scores.reasons,
    }
    # What stands beside a score, a twin or a floor, is another fit: these predictions do not tell it.
    beside = {key: {k: v for k, v in record[key].items() if "@" in k} for key in found}
    renewed = record | {key: {**values, **beside[key]} for key, values in found.items()}
    if all(renewed[key] == record[key] for key in SCORED):
        return False
    renewed = sealed(renewed)
    check_result(renewed, str(path))
    write_json(path, renewed)
    return True
