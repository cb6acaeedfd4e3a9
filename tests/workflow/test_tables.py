"""What stands beside a score in the tables: floors by division, and flags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from make_tables import floor_table, published_table, with_floor, write_table

from cldtrans.scoring.summary import against_best_baseline, tidy


def floors() -> pd.DataFrame:
    def one(dataset: str, division: str | None, seed: int, flagged: bool, auroc: float) -> dict:
        metrics = {"auroc": auroc, "auprc": None}
        return {
            "dataset": dataset,
            "division": division,
            "seed": seed,
            "flagged": flagged,
            "metrics": metrics,
        }

    return floor_table(
        [
            one("chbmit", None, 1, False, 0.5),
            one("chbmit", None, 2, True, 0.7),
            one("chbmit", "loso", 1, False, 0.55),
        ]
    )


def rows(**columns) -> pd.DataFrame:
    given = {"dataset": "chbmit", "metric": "auroc", "mean": 0.8, "n_subjects": 9}
    return pd.DataFrame({**given, **columns})


def test_a_floor_is_that_of_the_division_and_flags_stand_in_every_labelled_row():
    table = rows(
        experiment=["fewshot", "robustness", "loso", "published_leaky", "planted"],
        metric=["auroc", "auroc@noise_10db", "auroc", "auroc", "top1"],
    )
    found = with_floor(table, floors())
    np.testing.assert_allclose(found["floor"], [0.6, 0.6, 0.55, np.nan, np.nan])
    beaten = "metadata alone beat chance"
    assert list(found["flag"].fillna("")) == [beaten, beaten, "", "published_leaky", ""]


def test_cells_of_few_subjects_say_so_and_unscored_ones_have_their_reason():
    table = rows(experiment="planted", mean=[0.8, 0.8, 0.8, np.nan], n_subjects=[1, 4, 5, 1])
    flags = ["too small: 1 subject", "too small: 4 subjects", "", ""]
    assert list(with_floor(table, floors())["flag"].fillna("")) == flags


def test_tables_of_nothing_say_so(tmp_path: Path):
    empty = with_floor(against_best_baseline(tidy([]), [], [], []), floor_table([]))
    write_table(empty, tmp_path, "ablations")
    assert "No cell of this kind" in (tmp_path / "ablations.md").read_text()
    absent = published_table([], {"ptbxl": {"name": "xresnet1d101", "file": None}})
    write_table(absent, tmp_path, "published")
    told = (tmp_path / "published.md").read_text()
    assert "no published predictions supplied: name their file in published.ptbxl.file" in told
    assert len(told.strip().splitlines()) == 3, "header, rule, one line"
