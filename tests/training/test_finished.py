"""A training that is ended after it has saved is not done again, unless its code is another one."""

from pathlib import Path

from safetensors.torch import load_file
from toys.stage1 import small_config, write_corpora

from cldtrans.training import stage1
from cldtrans.training.finished import MARK, drop_taken, forget_other_code


def train(config, folder: Path, name: str, code: str | None):
    return stage1.train_stage1(
        config, "cldtrans", 3, folder / "shards", folder / name, folder / "work", code=code
    )


def test_a_saved_training_is_saved_again_without_a_step(tmp_path, monkeypatch):
    """The job's outputs were deleted, as Snakemake does with those of a job that ended badly."""
    write_corpora(tmp_path / "shards")
    config = small_config(3, simulator_fraction=0.0)
    train(config, tmp_path, "first", "code-a")
    assert len(list((tmp_path / "work").glob("*/step-*"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(stage1.Objective, "__call__", lambda self, module, batch: 1 / 0)  # any step ends badly
        train(config, tmp_path, "second", "code-a")
    for name in ("model.safetensors", "config.json", "training.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    assert load_file(tmp_path / "second" / "model.safetensors")


def test_other_code_trains_again(tmp_path):
    mark = tmp_path / "work/abc" / MARK
    mark.parent.mkdir(parents=True)
    mark.write_text("code-a")
    unfinished = tmp_path / "work/def/step-0000000001"
    unfinished.mkdir(parents=True)
    forget_other_code(tmp_path / "work", "code-a")
    assert mark.exists()
    forget_other_code(tmp_path / "work", "code-b")
    assert not mark.parent.exists() and unfinished.exists()


def test_without_a_code_nothing_is_kept(tmp_path):
    write_corpora(tmp_path / "shards")
    train(small_config(1, simulator_fraction=0.0), tmp_path, "first", None)
    assert not (tmp_path / "work").exists()


def test_a_run_that_succeeded_drops_finished_trainings_and_no_others(tmp_path):
    for name in ("stage1/a/seed-1/x", "stage1/b/seed-1/y"):
        (tmp_path / name / "step-0000000001").mkdir(parents=True)
    (tmp_path / "stage1/a/seed-1/x" / MARK).write_text("code")
    drop_taken(tmp_path)
    assert not (tmp_path / "stage1/a/seed-1/x").exists() and (tmp_path / "stage1/b/seed-1/y").exists()
