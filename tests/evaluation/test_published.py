"""Published predictions: read, refused, and compared with our own."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from toys.fewshot import arguments, staged
from toys.shards import paper_config

from cldtrans.cli import main
from cldtrans.data.base import Task
from cldtrans.errors import DataError
from cldtrans.evaluation.fewshot import run_fewshot
from cldtrans.evaluation.predictions import read_predictions
from cldtrans.evaluation.published import against_published, read_published

TASK = Task("stages", "multiclass", ("W", "N1", "N2"))


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """A few-shot cell, a recording a subject's twelve windows."""
    folder = tmp_path_factory.mktemp("cell")
    staged(folder)
    run_fewshot(paper_config(), **arguments(folder))
    return folder


def published(path, cell, **changes):
    """A file that gives every recording one guess."""
    table = read_predictions(cell / "seed-42.parquet").table.query("part == 'test'")
    names = sorted(set(table["recording"]))
    rows = pd.DataFrame({"recording": names, "W": 0.2, "N1": 0.3, "N2": 0.5}).assign(**changes)
    rows.to_csv(path, index=False)
    return table


def test_the_difference_is_that_of_the_metrics_and_paired(cell, tmp_path):
    first = [0.9, 0.2, 0.2, 0.9, 0.2, 0.2]
    table = published(tmp_path / "p.csv", cell, W=first)
    predictions, others = read_predictions(cell / "seed-42.parquet"), read_published(tmp_path / "p.csv", TASK)
    found = against_published(predictions, others)
    mine = table[["p_W", "p_N1", "p_N2"]].to_numpy().argmax(1)
    guess = dict(zip(sorted(set(table["recording"])), np.where(np.array(first) > 0.5, 0, 2), strict=True))
    ours = f1_score(table["label"], mine, average="macro")
    theirs = f1_score(table["label"], table["recording"].map(guess), average="macro")
    assert found["ours"] == pytest.approx(ours, abs=1e-9)
    assert found["theirs"] == pytest.approx(theirs, abs=1e-9)
    assert found["difference"] == pytest.approx(ours - theirs, abs=1e-9)
    assert 0 < found["low"] <= found["difference"] <= found["high"]
    assert (found["n_windows"], found["n_subjects"], found["reason"]) == (72, 6, None)


def test_recordings_that_are_not_published_are_counted(cell, tmp_path):
    published(tmp_path / "p.csv", cell, W=[0.9, 0.2, 0.2, 0.9, 0.2, 0.2])
    predictions, others = read_predictions(cell / "seed-42.parquet"), read_published(tmp_path / "p.csv", TASK)
    found = against_published(predictions, others.iloc[1:])
    assert found["n_subjects"] == 5
    assert found["reason"] == "12 of 72 test recordings are not in the published file"
    nothing = against_published(predictions, others[:0])
    assert (nothing["difference"], nothing["reason"]) == (
        None,
        "the published file has none of 72 test recordings",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recording": "a"}, "'a' comes twice"),
        ({"N1": "much"}, "expected a number for every class"),
        ({"N1": np.nan}, "expected a number for every class"),
    ],
)
def test_a_file_that_is_none_is_refused(cell, tmp_path, changes, message):
    published(tmp_path / "p.csv", cell, **changes)
    with pytest.raises(DataError, match=message):
        read_published(tmp_path / "p.csv", TASK)
    pd.DataFrame({"recording": ["a"], "W": [1]}).to_csv(tmp_path / "p.csv")
    with pytest.raises(DataError, match="missing column 'N1', 'N2'"):
        read_published(tmp_path / "p.csv", TASK)


def test_the_command_writes_a_row_a_cell(cell, tmp_path):
    published(tmp_path / "p.csv", cell)
    words = ["published", str(cell / "seed-42.json"), "--file", str(tmp_path / "p.csv"), "--name", "theirs"]
    assert main([*words, "--output", str(tmp_path / "out.json")]) in (None, 0)
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert (row["published"], row["method"], row["seed"]) == ("theirs", "feature_linear", 42)
