"""Our own model asked without training it: readouts and features are the model's, in any batches."""

import numpy as np
import pytest
import torch
from toys.model import make_model
from toys.windows import Fake

from cldtrans.methods import model_readouts
from cldtrans.methods.linear_probe import LinearProbe
from cldtrans.methods.model_readouts import ModelReadouts, PooledFeatures
from cldtrans.methods.ours import ProbedFeatures
from cldtrans.methods.single_source import SingleSource
from cldtrans.models.readouts import READOUT, READOUTS, focal_scores
from cldtrans.scoring.leads import aggregate


@pytest.fixture
def checkpoint(tmp_path):
    model = make_model()
    torch.nn.init.normal_(model.lag_inference.network.out.weight, std=0.2)
    model.save_pretrained(tmp_path)
    return tmp_path, model


@pytest.fixture
def windows():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 4, 800)).cumsum(-1).astype(np.float32)
    mask = np.ones((5, 4), dtype=bool)
    mask[3, 2] = False
    return x, mask


def test_readouts_and_features_are_the_models(checkpoint, windows, monkeypatch):
    monkeypatch.setattr(model_readouts, "_BATCH", 2)
    (folder, model), (x, mask) = checkpoint, windows
    out = model.read(x, 160.0, mask, "eeg")
    readouts = ModelReadouts(folder, "eeg", threads=1)
    scores = readouts(x, mask, 160.0)
    assert set(scores) == {"", "lead", *READOUTS} - {READOUT} and readouts.nfe == out.nfe
    assert readouts.parameters == sum(p.numel() for p in model.parameters())
    np.testing.assert_allclose(scores.pop("lead"), out.lead, rtol=1e-3, atol=1e-3)
    for name, found in scores.items():
        expected = focal_scores(out.tau, out.edge_probability, torch.from_numpy(mask), name or READOUT)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
        assert found[3, 2] == -np.inf
    out = model.read(x, 160.0, mask, "eeg", positions=("C3", "Cz", "C4", "Pz"))
    features = PooledFeatures(folder, "eeg", threads=1)(x, mask, 160.0, ("C3", "Cz", "C4", "Pz"))
    np.testing.assert_allclose(features, out.pooled, rtol=1e-3, atol=1e-3)


def test_every_window_is_read_with_its_own_background(checkpoint, windows, monkeypatch):
    """As many windows of it as there are: in batches of equal numbers, and back in order."""
    monkeypatch.setattr(model_readouts, "_BATCH", 2)
    (folder, model), (x, mask) = checkpoint, windows
    rng = np.random.default_rng(1)
    quiet = [rng.standard_normal((k, 4, 800)).cumsum(-1).astype(np.float32) for k in (3, 0, 2, 3, 2)]
    expected = []
    for k, one in enumerate(quiet):
        out = model.read(x[k : k + 1], 160.0, mask[k : k + 1], "eeg", background=one if len(one) else None)
        expected.append(out.lead[0].numpy())
    found = ModelReadouts(folder, "eeg", threads=1)(x, mask, 160.0, quiet)["lead"]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    alone = SingleSource()(x, mask, 160.0, quiet)
    np.testing.assert_allclose(alone, found, atol=1e-3)


def test_the_windows_of_a_discharge_are_read_together_by_the_posterior_and_ranked_by_the_others(
    checkpoint, windows
):
    (folder, _), (x, mask) = checkpoint, windows
    readouts, quiet = ModelReadouts(folder, "eeg", threads=1), [x[3:, :], x[:0]]
    seizures = np.stack([x[:2], x[2:4]])
    found = readouts(seizures, mask[2:4], 160.0, quiet)
    alone = SingleSource()(seizures, mask[2:4], 160.0, quiet)
    np.testing.assert_allclose(found.pop("lead"), alone, atol=1e-3)  # fresh weights: no noise is preferred
    for k, background in enumerate(quiet):
        valid = mask[[2 + k] * 2]
        single = readouts(seizures[k], valid, 160.0, [background] * 2)
        for name, scores in found.items():
            np.testing.assert_allclose(scores[k], aggregate(single[name], valid), atol=1e-3)
    with pytest.raises(ValueError, match=r"expected \[discharges"):
        make_model().lead(torch.zeros(2, 4, 800), 160.0, modality="eeg")


def test_probed_features_are_the_probe_of_features():
    class Featured(Fake):
        features = np.zeros(0)
        blocks = ((1, 1.0), (3, 0.3))

    rng = np.random.default_rng(0)
    parts = []
    for n in (60, 30, 20):
        part = Featured(np.zeros((n, 1, 1)), rng.integers(0, 2, n))
        part.features = rng.standard_normal((n, 4)) + part.y[:, None]
        parts.append(part)
    train, val, test = parts
    ours, probe = ProbedFeatures("binary", ("no", "yes")), LinearProbe("binary", ("no", "yes"), train.blocks)
    ours.fit(train, val)
    probe.fit(train.features, train.y, val.features, val.y)
    np.testing.assert_array_equal(ours.predict_proba(test), probe.predict_proba(test.features))
    assert ours.parameters == probe.parameters and ours.notes == probe.notes
