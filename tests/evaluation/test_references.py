"""What stands beside a score: differences with a known answer."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from toys.fewshot import arguments, staged
from toys.shards import paper_config
from toys.windows import rhythms

from cldtrans.data.base import Task
from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.audit.floor import metadata_floor
from cldtrans.evaluation.fewshot import run_fewshot
from cldtrans.evaluation.origin import origin
from cldtrans.methods.cells import Cell
from cldtrans.scoring.folds import Fold, difference
from cldtrans.scoring.metrics import Scores

TASK = Task("toy", "binary", ("no", "yes"))


def test_the_difference_to_itself_is_nothing_and_to_a_guess_is_the_skill():
    test = rhythms(120, 0, 8)
    rng = np.random.default_rng(0)
    skill = test.y + 0.7 * rng.standard_normal(120)
    good, guess = (np.column_stack([-s, s]) for s in (skill, rng.standard_normal(120)))

    def compare(other: np.ndarray) -> Scores:
        fold = Fold(test.y, good, test.subjects, None)
        return difference(TASK.kind, TASK.classes, [fold], [other], "auroc", 0)

    same = compare(good)
    assert same.metrics["auroc@difference"] == 0
    found = compare(guess)
    expected = roc_auc_score(test.y, good[:, 1]) - roc_auc_score(test.y, guess[:, 1])
    assert found.metrics["auroc@difference"] == pytest.approx(expected)
    interval = found.ci95["auroc@difference"]
    assert interval is not None
    low, high = interval
    assert 0 < low < expected < high
    paired = compare(good + 1e-3 * guess).ci95["auroc@difference"]
    assert paired is None or paired[1] - paired[0] < 0.2 * (high - low)


@pytest.mark.filterwarnings("ignore:Using padding")
def test_cells_of_networks_have_a_twin_and_all_have_a_floor(tmp_path):
    staged(tmp_path)
    config = paper_config(stage2={"finetune_steps": 0})
    settings = {"steps": 8, "ensemble": 1, "batch_size": 8, "validate_every": 4, "learning_rate": 0.01}
    config.methods["inception_time"].settings.update(settings)
    record = run_fewshot(config, **arguments(tmp_path, method="inception_time"))
    for other in ("random_twin", "metadata_floor"):
        difference = record["metrics"]["macro_f1"] - record["metrics"][f"macro_f1@{other}"]
        assert record["metrics"][f"macro_f1@over_{other}"] == pytest.approx(difference)
    assert record["metrics"]["macro_f1@metadata_floor"] < 0.6  # nothing but the time of a window is known
    assert record["extra"]["saw_test_data"] == "no"
    assert record["extra"]["start"] == "from scratch"
    record = run_fewshot(config, **arguments(tmp_path, method="feature_linear"))
    assert "macro_f1@over_metadata_floor" in record["metrics"]
    assert "macro_f1@over_random_twin" not in record["metrics"]


def test_the_floor_of_the_audit_is_the_one_beside_a_score(tmp_path):
    staged(tmp_path)
    record = run_fewshot(paper_config(), **arguments(tmp_path))
    found = metadata_floor(ShardSet(tmp_path / "toy"), tmp_path / "split.csv", 42)
    assert found.metrics["macro_f1"] == record["metrics"]["macro_f1@metadata_floor"]


def test_our_probe_has_the_twin_of_its_features(tmp_path):
    """Twin features without information leave the probe's own skill as the difference."""
    staged(tmp_path)
    config = paper_config(stage2={"finetune_steps": 0})
    given = arguments(tmp_path, method="cldtrans", features=tmp_path / "features.npz")
    record = run_fewshot(config, **given)
    assert "no twin" in record["reasons"]["macro_f1@random_twin"]
    features = np.load(tmp_path / "features.npz")["features"]
    noise = np.random.default_rng(0).standard_normal(features.shape).astype(np.float32)
    np.savez(tmp_path / "features.npz", features=features, twin=noise)
    record = run_fewshot(config, **given)
    assert record["metrics"]["macro_f1@random_twin"] < 0.5
    assert record["ci95"]["macro_f1@over_random_twin"][0] > 0.2


def test_a_row_says_of_its_dataset_what_the_weights_saw():
    class Pretrained:
        start, saw_test_data = "weights w.pt", {"chbmit": "yes"}

    config = paper_config()

    def seen(method: str, dataset: str, experiment: str = "fewshot", classifier: object = None) -> str:
        return origin(config, Cell(experiment, dataset, method, "1.0", 42), classifier)["saw_test_data"]

    assert seen("biot", "chbmit", classifier=Pretrained()) == "yes"
    assert seen("biot", "sleepedf", classifier=Pretrained()) == "unknown"
    config = paper_config(stage1={"datasets": ["ptbxl"]})
    assert seen("cldtrans", "ptbxl") == "no", "pretraining saw the official training folds"
    assert seen("cldtrans", "ptbxl", "tenfold") == "yes", "whom other folds test"
