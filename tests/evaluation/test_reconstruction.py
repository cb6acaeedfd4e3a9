"""Abnormal windows ranked by reconstruction error: the error by hand, and a ranking with a known answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from toys.model import make_model
from toys.shards import SCALE, paper_config, write_shards, write_split

from cldtrans.data.montages.ecg_leads import LEADS
from cldtrans.data.ptbxl import SUPERCLASSES
from cldtrans.data.shards import ShardSet
from cldtrans.errors import ConfigError, DataError
from cldtrans.evaluation import reconstruction
from cldtrans.evaluation.reconstruction import compare, ranking, run_reconstruction
from cldtrans.methods.factories import spec_of
from cldtrans.methods.reconstruction import ReconstructionError
from cldtrans.methods.windows import LabelledWindows


@pytest.fixture
def hearts(tmp_path):
    """Windows of noise, every other patient normal; a small network."""
    rng = np.random.default_rng(0)
    names = [f"p{k:02d}" for k in range(24)]
    normal = np.arange(24) % 2
    labels = {f"label_{name}": np.zeros(24, "int8") for name in SUPERCLASSES}
    labels |= {"label_NORM": normal.astype("int8"), "label_MI": (1 - normal).astype("int8")}
    index = pd.DataFrame({"subject": names, "recording": names, **labels})
    task = {"name": "superclass", "kind": "multilabel", "classes": list(SUPERCLASSES)}
    x = rng.standard_normal((24, 12, 1000))
    write_shards(tmp_path / "s", x, index, channels=LEADS, sample_rate=500.0, task=task, modality="ecg")
    parts = dict(zip(names, ["train"] * 8 + ["val"] * 4 + ["test"] * 12, strict=True))
    write_split(tmp_path / "split.csv", parts)
    make_model().save_pretrained(tmp_path / "model")
    return tmp_path


def arguments(folder, **changes):
    given = {"dataset": "ptbxl", "method": "cldtrans", "seed": 42, "shards": folder / "s"}
    given |= {
        "split": folder / "split.csv",
        "output": folder / "seed-42.json",
        "checkpoint": folder / "model",
    }
    return {**given, **changes}


def test_the_error_is_that_of_the_standardised_waveform(hearts):
    windows = LabelledWindows(ShardSet(hearts / "s"), np.arange(20))
    found = ReconstructionError(hearts / "model", "ecg", threads=1).of(windows)
    model = make_model()
    with torch.inference_mode():
        x = torch.from_numpy(windows.shards.windows(np.arange(20)) * SCALE)
        encoding = model.encode(x, 500.0, None, "ecg")
        y = model.reconstruct(encoding)
    standard = (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True)
    expected = (standard - y).square().mean((1, 2)).numpy()
    assert found == pytest.approx(expected, rel=1e-3)
    twin = ReconstructionError(hearts / "model", "ecg", threads=1).of_twin(windows, windows, seed=1)
    assert np.isfinite(twin).all()
    assert not np.allclose(twin, found)


def test_a_ranking_is_scikit_learns_and_an_oracle_is_perfect():
    rng = np.random.default_rng(0)
    y, names = np.arange(40) % 2, [f"p{k}" for k in range(40)]
    error = y + rng.standard_normal(40)
    found = ranking(y, error, np.array(names), 0)
    expected = {"auroc": roc_auc_score(y, error), "auprc": average_precision_score(y, error)}
    assert found.metrics == pytest.approx(expected, abs=1e-9)
    assert found.chance == {"auroc": 0.5, "auprc": 0.5}
    assert ranking(y, 1.0 * y, np.array(names), 0).metrics == {"auroc": 1.0, "auprc": 1.0}
    assert ranking(y, -1.0 * y, np.array(names), 0).metrics["auroc"] == 0.0
    assert ranking(y, np.ones(40), np.array(names), 0).metrics["auroc"] == 0.5
    assert ranking(0 * y, error, np.array(names), 0).metrics["auroc"] is None
    compare(found, y, error, {"other": error}, np.array(names), 0)
    assert found.metrics["auroc@over_other"] == 0
    assert found.metrics["auroc@other"] == found.metrics["auroc"]


def test_a_cell_ranks_test_patients_and_names_its_references(hearts, monkeypatch):
    class Knows(ReconstructionError):
        def of(self, windows):
            return 1.0 - windows.y[:, 0]

    monkeypatch.setattr(reconstruction, "build", lambda spec, *given: Knows(*given))
    record = run_reconstruction(paper_config(), **arguments(hearts))
    assert record["metrics"]["auroc"] == record["metrics"]["auprc"] == 1.0
    assert record["n"]["test"] == record["n"]["subjects"]["test"] == 12
    assert record["n"]["train"] == 0
    for other in ("random_twin", "metadata_floor"):
        beaten = 1 - record["metrics"][f"auroc@{other}"]
        assert record["metrics"][f"auroc@over_{other}"] == pytest.approx(beaten)


def test_what_cannot_be_ranked_is_said(hearts):
    write_split(hearts / "split.csv", {"p00": "train"})
    record = run_reconstruction(paper_config(), **arguments(hearts))
    assert record["reasons"]["auroc"] == "no labelled test windows"
    with pytest.raises(DataError, match="no class of normal windows"):
        run_reconstruction(paper_config(), **arguments(hearts, dataset="chbmit"))
    with pytest.raises(ConfigError, match="is no variant of the model"):
        spec_of(paper_config(), "feature_linear", "reconstruction")
