"""Result records."""

import json
from pathlib import Path
from typing import Any

import pytest

from cldtrans.errors import DataError
from cldtrans.provenance import read_result, write_result

COMPLETE: dict[str, Any] = {
    "experiment": "fewshot",
    "dataset": "ptbxl",
    "method": "cldtrans",
    "budget": "0.1",
    "seed": 42,
    "metrics": {"macro_auroc": 0.75},
    "n": {"train": 8, "val": 1, "test": 1, "subjects": {"train": 8, "val": 1, "test": 1}},
    "chance": {"macro_auroc": 0.5},
    "config_sha256": "0" * 64,
}


def test_a_record_is_read_back_as_written(tmp_path: Path) -> None:
    written = write_result(tmp_path / "seed-42.json", **COMPLETE)
    assert read_result(tmp_path / "seed-42.json") == written
    assert written["versions"]["numpy"]
    assert written["peak_memory_bytes"] > 0


def test_any_changed_bit_of_a_record_is_told(tmp_path: Path) -> None:
    path = tmp_path / "seed-42.json"
    written = write_result(path, **COMPLETE)
    content = path.read_bytes()
    unnoticed = []
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            if read_result(path) != written:
                unnoticed.append(place)
        except DataError:
            continue
    assert unnoticed == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": {"macro_auroc": float("nan")}}, "macro_auroc is nan"),
        ({"metrics": {"macro_auroc": None}}, "null without a reason"),
        ({"metrics": {}}, "metrics"),
        ({"budget": "0.5"}, "budget"),
        ({"experiment": "guess"}, "experiment"),
        ({"n": {"train": 1}}, "'val' is a required property"),
        ({"config_sha256": "short"}, "config_sha256"),
    ],
)
def test_an_incomplete_record_is_never_written(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_result(tmp_path / "seed-42.json", **(COMPLETE | change))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "seed-42.json"
    write_result(path, **COMPLETE)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"seed": "42"}))
    with pytest.raises(DataError, match=r"seed-42\.json: not a valid result record: seed"):
        read_result(path)
    path.write_text("{")
    with pytest.raises(DataError, match=r"seed-42\.json: not a readable result file"):
        read_result(path)
