"""Differences over common subjects: against resampling by hand, and what no interval is given for."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cldtrans.data.base import Task
from cldtrans.errors import DataError
from cldtrans.evaluation.paired import of_predictions, of_subjects
from cldtrans.evaluation.predictions import Predictions

SEIZURE = Task("seizure", "binary", ("rest", "seizure"))


def predictions(noise: float, subjects: int = 12, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(0)  # the same windows and a shared part of the error
    y = np.tile([0, 0, 1], subjects * 10)
    shared = y + rng.normal(0, 0.8, len(y))
    score = shared + np.random.default_rng(seed).normal(0, noise, len(y))
    p = 1 / (1 + np.exp(-score))
    table = pd.DataFrame(
        {
            "part": "test",
            "subject": np.repeat([f"s{k:02}" for k in range(subjects)], 30),
            "recording": "r",
            "start_s": np.arange(len(y)) * 10.0,
            SEIZURE.columns[0]: y,
            "p_rest": 1 - p,
            "p_seizure": p,
        }
    )
    return Predictions(SEIZURE, 10.0, 10.0, 0, "", table)


def test_interval_of_the_difference_is_that_of_resampling_subjects_by_hand() -> None:
    ours, theirs = predictions(0.1, seed=1), predictions(1.5, seed=2)
    low, high = of_predictions(ours, theirs, ["auroc"]).ci95["auroc"] or (np.nan, np.nan)
    column, names = SEIZURE.columns[0], sorted(set(ours.table["subject"]))
    of_subject = [np.flatnonzero(ours.table["subject"] == name) for name in names]
    rng, drawn = np.random.default_rng(5), []
    for _ in range(1000):
        rows = np.concatenate([of_subject[k] for k in rng.integers(len(names), size=len(names))])
        y = ours.table[column].to_numpy()[rows]
        a, b = (roc_auc_score(y, one.table["p_seizure"].to_numpy()[rows]) for one in (ours, theirs))
        drawn.append(a - b)
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.012)
    assert 0 < low < high < 1
    alone = [np.diff(np.quantile(drawn, [0.025, 0.975]))[0], high - low]
    assert alone[1] == pytest.approx(alone[0], rel=0.25)


def test_a_method_against_itself_differs_by_nothing() -> None:
    one = predictions(0.5, seed=1)
    found = of_predictions(one, one, ["auroc", "kappa"])
    assert found.ci95 == {"auroc": None, "kappa": None}
    assert "all held-out subjects" in found.reasons["ci95.auroc"]


def test_few_subjects_stay_inside_what_a_difference_can_be() -> None:
    found = of_predictions(
        predictions(0.1, subjects=2, seed=1), predictions(9, subjects=2, seed=3), ["auroc"]
    )
    low, high = found.ci95["auroc"] or (np.nan, np.nan)
    assert -1 <= low < high <= 1


def test_other_windows_are_refused() -> None:
    ours, theirs = predictions(0.5, subjects=12), predictions(0.5, subjects=11)
    with pytest.raises(DataError, match="same windows"):
        of_predictions(ours, theirs, ["auroc"])


def test_means_of_subjects() -> None:
    rng = np.random.default_rng(3)
    theirs = {f"s{k}": float(v) for k, v in enumerate(rng.uniform(0.2, 0.6, 15))}
    ours = {name: value + float(rng.uniform(0.1, 0.3)) for name, value in theirs.items()}
    found = of_subjects({"top1": ours}, {"top1": theirs}, ["top1", "top3"]).ci95
    low, high = found["top1"] or (np.nan, np.nan)
    difference = np.array(list(ours.values())) - np.array(list(theirs.values()))
    expected = difference.mean() + 1.96 * difference.std() / np.sqrt(15) * np.array([-1, 1])
    assert (low, high) == pytest.approx(expected, abs=0.01)
    assert set(found) == {"top1"}
    assert of_subjects({"top1": ours}, {"top1": {"other": 1.0}}, ["top1"]).ci95 == {}
