"""The checkpoint in the package: it says what it said when it was put there, and is as good as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from toys.model import worlds

from cldtrans.models import CLDTrans
from cldtrans.models.saved import shipped_folder, shipped_names

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "benchmarks"))

import ship

MOST_BYTES = 4 << 20


@pytest.fixture(scope="module")
def model():
    return CLDTrans.from_pretrained("standard").eval()


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "standard").mkdir()
    with pytest.raises(Exception, match="standard"):
        CLDTrans.from_pretrained("standard")
    assert shipped_names() == ["standard"]
    assert sum(path.stat().st_size for path in shipped_folder("standard").iterdir()) < MOST_BYTES


@pytest.mark.parametrize("modality", ["eeg", "ecg"])
def test_it_says_what_it_said(model, modality):
    with np.load(ship.EXPECTED) as stored:
        windows = stored[modality]
        expected = {name: stored[f"{modality}_{name}"] for name in ship.SAID}
    np.testing.assert_allclose(windows, ship.stored_windows()[modality], rtol=1e-5, atol=1e-5)
    for name, value in ship.answers(model, modality, windows).items():
        size = max(1.0, float(np.abs(expected[name][np.isfinite(expected[name])]).max()))
        np.testing.assert_allclose(
            value, expected[name], atol=1e-4 * size, rtol=0,
            err_msg=f"{name} of the shipped checkpoint differs: its code has changed; `make ship`",
        )  # fmt: skip


def test_its_edges_are_as_good_as_they_were(model):
    x, edge = worlds(12, 8)[:2]
    with torch.inference_mode():
        found = model.lags(x.float(), 160.0, modality="eeg").edge_probability
    off = ~torch.eye(8, dtype=torch.bool)
    assert roc_auc_score(edge[:, off].flatten(), found[:, off].flatten()) > 0.97
