"""Kept predictions give the same scores again, without training."""

import json
import time

import pytest
from toys.fewshot import arguments, staged
from toys.shards import paper_config, write_split

from cldtrans.cli import main
from cldtrans.errors import DataError
from cldtrans.evaluation.fewshot import run_fewshot
from cldtrans.evaluation.predictions import read_predictions, score_predictions
from cldtrans.evaluation.rescore import rescore
from cldtrans.files import sealed
from cldtrans.provenance import read_result


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = staged(tmp_path_factory.mktemp("scored"))
    run_fewshot(paper_config(), **arguments(folder))
    return folder


def test_scores_again_are_equal_and_the_file_is_left_alone(scored):
    record, written = read_result(scored / "seed-42.json"), (scored / "seed-42.json").stat().st_mtime_ns
    again = score_predictions(read_predictions(scored / "seed-42.parquet"))
    for found, kept in ((again.metrics, record["metrics"]), (again.ci95, record["ci95"])):
        assert found == {key: value for key, value in kept.items() if "@" not in key}  # twins are other fits
    assert not rescore(scored / "seed-42.parquet")
    assert (scored / "seed-42.json").stat().st_mtime_ns == written


def test_a_changed_metric_is_renewed_and_provenance_stays(scored, capsys):
    path = scored / "seed-42.json"
    before = read_result(path)
    path.write_text(json.dumps(sealed(before | {"metrics": before["metrics"] | {"kappa": -1.0}})))
    started = time.monotonic()
    assert main(["rescore", str(scored)]) == 0
    assert time.monotonic() - started < 20
    assert capsys.readouterr().out == "1 cells scored again, 1 of them changed\n"
    assert read_result(path) == before


def test_a_cell_that_cannot_be_scored_keeps_its_reason(tmp_path):
    staged(tmp_path, n_subjects=1)
    write_split(tmp_path / "split.csv", {"s00": "train"})
    record = run_fewshot(paper_config(), **arguments(tmp_path))
    found = read_predictions(tmp_path / "seed-42.parquet")
    assert found.table.empty
    assert score_predictions(found).reasons == record["reasons"]


def test_a_file_of_something_else(tmp_path):
    (tmp_path / "seed-1.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a file of predictions"):
        read_predictions(tmp_path / "seed-1.parquet")
    assert main(["rescore", str(tmp_path / "empty")]) == 2
