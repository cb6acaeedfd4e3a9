"""What tables say of the weights behind a row."""

from __future__ import annotations

from typing import Any

import pandas as pd
from make_tables import cost_table, for_people, with_origin


def record(method: str, seed: int, extra: dict[str, Any]) -> dict[str, Any]:
    cell = {"experiment": "fewshot", "dataset": "chbmit", "method": method, "budget": "1.0", "seed": seed}
    cost = {"wall_s": 1.0, "peak_memory_bytes": 2**30, "parameters": 7, "nfe": None, "device": "cpu"}
    return {**cell, **cost, "metrics": {}, "extra": extra}


RECORDS = [
    record("biot", 42, {"start": "weights a.pt", "saw_test_data": "yes", "trainable_parameters": 3}),
    record("biot", 7, {"start": "weights a.pt", "saw_test_data": "unknown", "trainable_parameters": 3}),
    record("eegnet", 42, {"start": "from scratch", "saw_test_data": "no", "trainable_parameters": 7}),
    record("line_length", 42, {}),
]


def test_rows_say_where_their_weights_began_and_what_they_saw() -> None:
    table = pd.DataFrame(
        {"experiment": "fewshot", "dataset": "chbmit", "method": [*"abc"], "budget": "1.0"}
    ).assign(
        method=["eegnet", "biot", "line_length"],
        metric="auroc",
        mean=0.8,
        ci_low=0.7,
        ci_high=0.9,
        chance=0.5,
        floor=0.6,
        flag=None,
        n_subjects=3,
        n_windows=9,
        n_seeds=2,
        reason=None,
    )
    found = with_origin(table, RECORDS)
    assert found["method"].tolist() == ["eegnet", "biot", "line_length"]
    shown = for_people(found)
    assert shown["weights"].tolist() == ["from scratch", "weights a.pt", ""]
    assert shown["saw test data"].tolist() == ["no", "unknown, yes", ""]
    assert "weights" not in for_people(with_origin(table.iloc[2:], RECORDS))
    assert with_origin(table.iloc[:0], []).empty


def test_costs_say_how_many_parameters_learn() -> None:
    costs = cost_table(RECORDS).set_index(["method", "seed"])["trainable_parameters"]
    assert costs["biot", 7] == 3
    assert pd.isna(costs["line_length", 42])
