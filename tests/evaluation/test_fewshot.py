"""Few-shot cells on shards with known content."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from toys.fewshot import arguments, staged
from toys.shards import paper_config, write_split

from cldtrans.cli import main
from cldtrans.errors import ConfigError, DataError
from cldtrans.evaluation.fewshot import run_fewshot
from cldtrans.evaluation.predictions import read_predictions
from cldtrans.evaluation.rescore import rescore
from cldtrans.files import write_json
from cldtrans.provenance import read_result


def probe_config():
    return paper_config(stage2={"finetune_steps": 0})


def test_baseline_cell(tmp_path):
    staged(tmp_path)
    run_fewshot(paper_config(), **arguments(tmp_path))
    record = read_result(tmp_path / "seed-42.json")
    assert record["n"] == {"train": 72, "val": 24, "test": 72, "subjects": {"train": 6, "val": 2, "test": 6}}
    assert record["metrics"]["macro_f1"] > 0.9
    assert record["ci95"]["macro_f1"][0] > record["chance"]["macro_f1"] == pytest.approx(1 / 3)
    assert record["parameters"] == 3 * (10 * 5 + 1)
    assert record["metrics"]["f1_N2"] is not None


@pytest.mark.filterwarnings("ignore:Using padding")
def test_network_baseline_cell_says_where_it_ran(tmp_path):
    staged(tmp_path)
    config = paper_config()
    settings = {"steps": 2, "ensemble": 1, "batch_size": 8, "validate_every": 2}
    config.methods["inception_time"].settings.update(settings)
    run_fewshot(config, **arguments(tmp_path, method="inception_time"))
    record = read_result(tmp_path / "seed-42.json")
    assert record["device"] in ("cpu", "cuda")
    assert record["metrics"]["macro_f1"] is not None


def test_linear_probe_cell_repeats_itself_and_budgets_nest(tmp_path):
    staged(tmp_path)
    given = arguments(tmp_path, method="cldtrans", features=tmp_path / "features.npz")
    first = run_fewshot(probe_config(), **given)
    again = run_fewshot(probe_config(), **given)
    assert first["metrics"] == again["metrics"]
    assert first["ci95"] == again["ci95"]
    assert first["metrics"]["kappa"] > 0.3
    small = run_fewshot(probe_config(), **{**given, "budget": "0.1"})
    assert small["n"]["train"] == 18  # at least one window a class and subject
    assert small["n"]["test"] == first["n"]["test"]


def test_labels_at_random_score_chance(tmp_path):
    """Features without information: the interval holds chance, whatever the penalty chosen."""
    staged(tmp_path)
    noise = np.random.default_rng(1).standard_normal((168, 16)).astype(np.float32)
    np.savez(tmp_path / "features.npz", features=noise)
    record = run_fewshot(
        probe_config(), **arguments(tmp_path, method="cldtrans", features=tmp_path / "features.npz")
    )
    low, high = record["ci95"]["kappa"]
    assert low < 0 < high
    assert record["metrics"]["macro_auroc"] == pytest.approx(0.5, abs=0.15)


def test_too_few_subjects_is_null_with_a_reason(tmp_path):
    staged(tmp_path, n_subjects=1)
    write_split(tmp_path / "split.csv", {"s00": "train"})
    record = run_fewshot(paper_config(), **arguments(tmp_path))
    assert set(record["metrics"].values()) == {None}
    assert "no labelled test windows" in record["reasons"]["kappa"]
    assert record["n"]["train"] == 12


def test_one_class_only_is_null_with_a_reason(tmp_path):
    staged(tmp_path, classes=1)
    record = run_fewshot(paper_config(), **arguments(tmp_path))
    assert record["metrics"]["macro_f1"] is None
    assert "only class 'W'" in record["reasons"]["macro_f1"]


def test_absent_dataset_is_null_with_a_reason(tmp_path):
    staged(tmp_path, reason="not in the mirror")
    record = run_fewshot(paper_config(), **arguments(tmp_path))
    assert "not in the mirror" in record["reasons"]["macro_f1"]
    assert record["n"]["subjects"] == {"train": 0, "val": 0, "test": 0}


def test_without_validation_the_cell_says_so(tmp_path):
    staged(tmp_path)
    write_split(tmp_path / "split.csv", {f"s{k:02d}": "train" if k < 6 else "test" for k in range(14)})
    record = run_fewshot(paper_config(), **arguments(tmp_path))
    assert record["metrics"]["macro_f1"] > 0.8
    assert "by default" in record["notes"][0]


def test_errors(tmp_path):
    staged(tmp_path)
    np.savez(tmp_path / "short.npz", features=np.zeros((5, 4), dtype=np.float32))
    with pytest.raises(DataError, match="features of 5 windows, but the index holds 168"):
        run_fewshot(probe_config(), **arguments(tmp_path, method="cldtrans", features=tmp_path / "short.npz"))
    with pytest.raises(DataError, match="needs its features"):
        run_fewshot(probe_config(), **arguments(tmp_path, method="cldtrans"))
    with pytest.raises(ConfigError, match="did you mean 'feature_linear'"):
        run_fewshot(paper_config(), **arguments(tmp_path, method="feature_liner"))
    with pytest.raises(ConfigError, match="'gcc_phat' has no classifier"):
        run_fewshot(paper_config(), **arguments(tmp_path, method="gcc_phat"))


def command(folder, name):
    write_json(folder / "config.json", probe_config().model_dump(mode="json"))
    words = [
        name,
        "--config",
        "config.json",
        "--dataset",
        "sleepedf",
        "--method",
        "cldtrans",
        "--budget",
        "1.0",
    ]
    words += ["--seed", "42", "--shards", "toy", "--split", "split.csv", "--features", "features.npz"]
    return [*words, "--threads", "1", "--output", "out/seed-42.json"]


def test_command_needs_no_torch(tmp_path, monkeypatch):
    staged(tmp_path)
    words = command(tmp_path, "fewshot")
    code = (
        "import sys; from cldtrans.cli import main; r = main(sys.argv[1:]); print('torch' in sys.modules, r)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "0"]
    assert read_result(tmp_path / "out" / "seed-42.json")["metrics"]["kappa"] > 0.3
    monkeypatch.chdir(tmp_path)
    assert main([*words[:6], "nonsense", *words[7:]]) == 2


def in_folds(folder, subjects=14):
    """Each subject tested once, the next one validates, the others train."""
    names = [f"s{k:02d}" for k in range(subjects)]
    rows = [
        (k, name, {k: "test", (k + 1) % subjects: "val"}.get(j, "train"))
        for k in range(subjects)
        for j, name in enumerate(names)
    ]
    path = folder / "folds.csv"
    pd.DataFrame(rows, columns=["fold", "subject", "split"]).to_csv(path, index=False)
    return path


def test_a_cell_in_folds_tests_every_subject_and_is_scored_again_from_its_predictions(tmp_path):
    staged(tmp_path)
    given = arguments(tmp_path, experiment="loso", split=in_folds(tmp_path))
    record = run_fewshot(paper_config(), **given)
    assert record["experiment"] == "loso"
    assert (record["n"]["test"], record["n"]["subjects"]["test"]) == (14 * 12, 14)
    assert (record["n"]["train"], record["n"]["val"]) == (12 * 12, 12)
    assert record["metrics"]["macro_f1"] > 0.9
    beaten = record["metrics"]["macro_f1"] - record["metrics"]["macro_f1@metadata_floor"]
    assert record["metrics"]["macro_f1@over_metadata_floor"] == pytest.approx(beaten)
    kept = read_predictions(tmp_path / "seed-42.parquet").table.query("part == 'test'")
    by_hand = [
        f1_score(one["label"], one[["p_W", "p_N1", "p_N2"]].to_numpy().argmax(1), average="macro")
        for _, one in kept.groupby("subject")
    ]
    assert record["metrics"]["macro_f1"] == pytest.approx(np.mean(by_hand), abs=1e-9)
    assert not rescore(tmp_path / "seed-42.parquet")


def test_no_fold_is_no_score(tmp_path):
    staged(tmp_path)
    (tmp_path / "folds.csv").write_text("fold,subject,split\n")
    record = run_fewshot(
        paper_config(), **arguments(tmp_path, experiment="tenfold", split=tmp_path / "folds.csv")
    )
    assert record["metrics"]["macro_f1"] is None
    assert record["reasons"]["macro_f1"] == "fewer than two subjects: no fold"
