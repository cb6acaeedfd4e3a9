"""The stage-1 objective, the simulated worlds that teach lags, and the training as a whole."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from toys.model import SETTINGS, make_model, worlds
from toys.shards import write_shards
from toys.stage1 import STAGE1, batch_of, small_config, world_batch, write_corpora

from cldtrans.config import ModelConfig
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.models import CLDTrans
from cldtrans.training import objective
from cldtrans.training.loader import ShardCorpus
from cldtrans.training.stage1 import Objective, open_corpora, train_stage1
from cldtrans.training.worlds import QUIET, WorldCorpus, network_world, spread_world


def test_ldsem_term_prefers_true_lags_to_shuffled_ones():
    x, _, _ = worlds(4, 6)
    model = make_model(torch.float64)
    with torch.no_grad():
        encoding = model.encode(x, 160.0, None, "eeg")
        lags = encoding.lags
        right = objective.ldsem(encoding.x, encoding.mask, lags, "eeg", 0.3)
        order = torch.randperm(36, generator=torch.Generator().manual_seed(0))
        wrong = objective.ldsem(
            encoding.x, encoding.mask, lags, "eeg", 0.3, lags.tau.flatten(1)[:, order].view_as(lags.tau)
        )
    assert (right < wrong - 0.02).all()


def test_ldsem_term_is_at_the_lags_that_weights_belong_to():
    """An open gate hands tau to the arrivals of one source; the models' weights stay at their own lags."""
    x, _, _ = worlds(2, 6)
    model = make_model(torch.float64)
    torch.nn.init.constant_(model.lag_inference.gate.out.bias, 2.0)
    with torch.no_grad():
        encoding = model.encode(x, 160.0, None, "eeg")
        arguments = (encoding.x, encoding.mask, encoding.lags, "eeg", 0.3)
        of_models, of_timeline = (
            objective.ldsem(*arguments, tau=tau)
            for tau in (encoding.lags.candidates[..., 0], encoding.lags.tau)
        )
        assert torch.equal(objective.ldsem(*arguments), of_models)
    assert (of_models < of_timeline - 0.01).all()


@pytest.mark.parametrize("first", [0, 12, 33])
def test_smoothness_compares_one_window_in_sixteen_with_its_later_half(first):
    """Windows 0, 16, 32, ... of training, whichever of them are here."""
    x, mask = worlds(6, 5)[0], torch.ones(6, 5, dtype=torch.bool)
    model = make_model(torch.float64).train()
    batch = replace(batch_of(x), first=first)
    found = Objective(STAGE1).windows(model, batch)["smoothness"]
    looked_at = (torch.arange(6) + first) % 16 == 0
    assert found.dtype == torch.float64 and torch.equal(found > 0, looked_at)
    with torch.no_grad():
        whole, later = (model.lags(part, 160.0, mask, "eeg") for part in (x, x[..., 800:]))
    p = whole.edge_probability * later.edge_probability
    change = (p * (whole.tau - later.tau).abs() / 0.3).sum((1, 2)) / p.sum((1, 2)).clamp_min(1)
    torch.testing.assert_close(found[looked_at], 16 * change[looked_at], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("first", [0, 33])
def test_training_takes_the_likelihood_of_one_window_in_four(first):
    x = worlds(6, 5)[0]
    batch = replace(batch_of(x), first=first)
    model = make_model(torch.float64)
    found = Objective(STAGE1).windows(model.train(), batch)["ldsem"]
    every = Objective(STAGE1).windows(model.eval(), batch)["ldsem"]
    counted = (torch.arange(6) + first) % 4 == 0
    torch.testing.assert_close(found, torch.where(counted, 4 * every, 0.0))


def test_lead_term_asks_whether_one_source_drives_a_window_and_which():
    """A chance of 0.8 in three windows: led by channel 1, led by no channel, led by channel 1 unseen."""
    model, mask = make_model(), torch.ones(3, 4, dtype=torch.bool)
    lags = model.lags(torch.randn(3, 4, 800), 160.0, mask, "eeg")
    probability = torch.full((3, 4, 4), 0.5)
    probability[:2] = 0.0
    probability[:2, [0, 2, 3], 1] = 1.0  # all others follow channel 1
    posterior = torch.tensor([0.1, 0.7, 0.1, 0.1]).log().expand(3, 4)
    lags = replace(lags, edge_probability=probability, driven=torch.full((3,), 0.8), lead=posterior)
    found = objective.leads(lags, torch.tensor([1, -1, 1]), mask)
    known = -np.log(0.8) - np.log(0.7)
    assert known - 1e-6 < found[0] < known + 0.01
    np.testing.assert_allclose(found[1:], [-np.log(0.2), known + np.log(4)], rtol=1e-5)
    silent = replace(lags, lead=torch.full((3, 4), -torch.inf))
    assert objective.leads(silent, torch.tensor([1, -1, 1]), mask).isfinite().all()


def test_log_determinant_is_that_of_the_system():
    rng = np.random.default_rng(0)
    weight, lag = 0.4 * rng.standard_normal((3, 3)), rng.uniform(0, 5, (3, 3))
    np.fill_diagonal(weight, 0)
    own = 0.3 * rng.standard_normal((3, 2))
    fine = []
    for f in (np.arange(4096) + 0.5) / 8192:
        turn = np.exp(-2j * np.pi * f * np.arange(1, 3))
        matrix = np.diag(1 - own @ turn) - weight * np.exp(-2j * np.pi * f * lag)
        fine.append(math.log(abs(np.linalg.det(matrix))))
    found = objective._log_determinant(*(torch.tensor(v)[None] for v in (weight, lag, own)))
    assert abs(float(found) - np.mean(fine)) < 1e-3


def test_dependent_channels_are_left_out_of_the_likelihood():
    x = torch.randn(2, 8, 2000, dtype=torch.float64)
    leads = torch.cat([x, x[:, :1] - x[:, 1:2], -(x[:, :1] + x[:, 1:2]) / 2, x[:, 2:3] + x[:, 3:4]], 1)
    leads = leads / leads.std(-1, keepdim=True)
    mask = torch.ones(2, 11, dtype=torch.bool)
    assert objective.independent_channels(leads, mask).sum(1).tolist() == [8, 8]
    assert not objective.independent_channels(leads, mask)[:, 8:].any()
    model = make_model(torch.float64)
    with torch.no_grad():
        encoding = model.encode(leads, 500.0, mask, "ecg")
        value = objective.ldsem(encoding.x, encoding.mask, encoding.lags, "ecg", 0.1)
    assert (value > -1).all(), "white channels cannot be predicted, and no scale falls to zero"


@pytest.mark.parametrize("modality", ["eeg", "ecg"])
def test_worlds_are_known_by_number_and_have_their_edges(modality):
    tau_max_s = SETTINGS["tau_max_s"][modality]
    corpus = WorldCorpus(modality, tau_max_s, seed=0)
    a = corpus.load(np.array([7, 3]), np.random.default_rng(2))
    b = corpus.load(np.array([3]), np.random.default_rng(2))
    for key in a:
        assert np.array_equal(a[key][1], b[key][0])
    assert np.isfinite(a["x"]).all()
    for make in (network_world, spread_world):
        world = make(np.random.default_rng(4), 8, 1000, corpus.rate_hz, tau_max_s, modality)
        assert not world.edge.diagonal().any() and world.edge.any()
        assert (world.lag_s[world.edge] > 0).all() and world.lag_s.max() <= tau_max_s
        assert (world.lag_s[~world.edge] == 0).all()


def test_some_batches_bring_windows_without_the_discharge():
    """Those of a system are as loud as it is, those of a discharge less."""
    corpus = WorldCorpus("eeg", 0.3, seed=0)
    steps = [corpus.load(np.arange(4), np.random.default_rng(seed)) for seed in range(12)]
    assert {"background" in arrays for arrays in steps} == {False, True}
    louder = []
    for arrays in steps:
        if "background" in arrays:
            x, quiet = arrays["x"], arrays["background"]
            assert quiet.shape == (4, QUIET, *x.shape[1:]) and np.isfinite(quiet).all()
            ratio = x.var(-1).mean(1) / quiet.var(-1).mean((1, 2))
            louder += list(zip(ratio, arrays["lead"] >= 0, strict=True))
    ratio, driven = np.array(louder).T
    assert np.median(ratio[driven == 1]) > 1.3 and 0.8 < np.median(ratio[driven == 0]) < 1.25


def test_the_background_of_a_real_window_is_the_rest_of_its_recording(tmp_path):
    """Windows are told apart by their size, 1 to 12: four recordings of three windows."""
    rng, size = np.random.default_rng(0), np.arange(1.0, 13.0)
    index = pd.DataFrame({"subject": "s", "recording": np.repeat(list("abcd"), 3)})
    x = size[:, None, None] * np.sign(rng.standard_normal((12, 5, 480)))
    write_shards(
        tmp_path / "own", x, index, channels=tuple("vwxyz"), sample_rate=160.0, task=None, modality="eeg"
    )
    corpus = WorldCorpus("eeg", 0.3, 0, ShardCorpus("own", ShardSet(tmp_path / "own"), np.arange(12)))
    found = [corpus._real(np.random.default_rng(seed), 4, 320, 2) for seed in range(40)]
    some = [np.abs(windows).mean((1, 2)).round() - 1 for windows in found if windows is not None]
    assert 10 < len(some) < 30, "half of them are real"
    for numbers in some:
        assert len(numbers) == 3 and len(set(numbers // 3)) == 1, "of one recording"
        assert numbers[0] not in numbers[1:], "other windows than the one with the discharge"
    alone = corpus._real(np.random.default_rng(int(np.argmax([w is not None for w in found]))), 4, 320, 0)
    assert alone is not None and alone.shape == (1, 4, 320)


def test_channel_counts_on_which_lags_are_judged_are_never_trained():
    corpus = WorldCorpus("eeg", 0.3, seed=0)
    counts = {corpus.load(np.array([0]), np.random.default_rng(seed))["x"].shape[1] for seed in range(150)}
    assert min(counts) == 4 and max(counts) > 24 and not counts & {6, 12, 24}


def test_every_later_channel_of_a_discharge_follows_every_earlier_one():
    world = spread_world(np.random.default_rng(4), 8, 1000, 160.0, 0.3, "eeg")
    i, j, k = np.nonzero(world.edge[:, :, None] & world.edge[None])
    direct = world.lag_s[i, j] + world.lag_s[j, k]
    assert len(i) and world.edge[i, k][direct <= 0.3].all()
    np.testing.assert_allclose(world.lag_s[i, k][direct <= 0.3], direct[direct <= 0.3])


def test_a_discharge_reaches_its_targets_after_its_lead():
    """The signed lag of the strongest cross-correlation agrees with the tree's hops."""
    right = total = 0
    for seed in range(6):
        world = spread_world(np.random.default_rng(seed), 8, 1600, 160.0, 0.3, "eeg")
        x = (world.x - world.x.mean(1, keepdims=True)) / world.x.std(1, keepdims=True)
        for target, source in zip(*np.nonzero(world.edge), strict=True):
            hop = world.lag_s[target, source] * 160
            full = np.abs(np.correlate(x[target], x[source], "full"))
            middle = len(full) // 2
            near = full[middle - 24 : middle + 25]
            right += int(abs(np.argmax(near) - 24 - hop) < 3)
            total += 1
    assert right > 0.5 * total


def test_some_windows_have_a_background_alone():
    rngs = [np.random.default_rng(seed) for seed in range(60)]
    found = [spread_world(rng, 4, 320, 160.0, 0.3, "eeg") for rng in rngs]
    quiet = [world for world in found if world.lead < 0]
    assert 3 <= len(quiet) <= 20 and not any(world.edge.any() for world in quiet)
    assert all(world.x.std(1).min() > 0 for world in quiet)


def test_every_part_learns():
    model = make_model().train()
    loss = Objective(STAGE1)
    for batch in (
        batch_of(torch.randn(2, 5, 800)),
        batch_of(torch.randn(2, 12, 2000), "ecg"),
        world_batch(),
    ):
        terms = loss(model, batch)
        assert torch.isfinite(terms["loss"])
        terms["loss"].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    behind_zero = tuple(
        f"lag_inference.{name}"
        for name in (
            "score.embed",
            "gate.embed",
            "shares.embed",
            "network.embed",
            "network.mix",
            "network.norm",
        )
    )  # until the last layers move
    of_labels = ("readout.events",)  # fine-tuning moves them
    assert all(name.startswith(behind_zero + of_labels) for name in without), without
    model.update_codebooks()
    assert all(book.updates == 1 for book in model.codebooks.values())


def test_a_loss_is_the_mean_of_its_parts():
    model = make_model(torch.float64).train()
    for network in (model.lag_inference.score, model.lag_inference.gate, model.lag_inference.network):
        torch.nn.init.normal_(network.out.weight, std=0.1)
    loss = Objective(STAGE1)
    for whole in (batch_of(torch.randn(4, 5, 800, dtype=torch.float64)), world_batch()):
        whole = whole.to(torch.device("cpu"), torch.float64)
        together = loss(model, whole)["loss"]
        apart = sum(loss(model, part)["loss"] for part in whole.split(2)) / 2
        torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_hidden_spans_are_the_share_asked_for_and_half_of_them_in_all_channels(fraction):
    cpu = torch.device("cpu")
    spans = torch.stack([objective.hidden_spans((12, 250), fraction, step, cpu) for step in range(200)])
    assert torch.equal(spans[3], objective.hidden_spans((12, 250), fraction, 3, cpu))
    assert spans.float().mean() == pytest.approx(fraction, abs=0.02)
    everywhere = spans.all(1).float().mean()  # twelve channels by chance at once: next to never
    assert everywhere == pytest.approx(1 - (1 - fraction) ** 0.5, abs=0.02)
    alone = objective.hidden_spans((400, 250), 0.01, 0, cpu).int()
    edges = torch.diff(alone, prepend=alone[:, :1] * 0, append=alone[:, :1] * 0)
    lengths = (edges == -1).nonzero()[:, 1] - (edges == 1).nonzero()[:, 1]
    assert lengths[lengths > 0].median() in range(objective.SPANS[0], objective.SPANS[1] + 1)


def test_hidden_steps_are_bridged_by_time_or_graph():
    hide = objective.hidden_steps((10, 80), 0.5, 3, torch.device("cpu"))
    assert torch.equal(hide, objective.hidden_steps((10, 80), 0.5, 3, torch.device("cpu")))
    assert 0.3 < hide.float().mean() < 0.65
    assert not objective.hidden_steps((10, 80), 0.0, 3, torch.device("cpu")).any()


def test_training_writes_a_model_that_loads(tmp_path, monkeypatch):
    monkeypatch.setattr("cldtrans.training.stage1.VALIDATION_WORLDS", 2)
    write_corpora(tmp_path / "shards")
    config = small_config()
    arguments = (config, "cldtrans", 7, tmp_path / "shards", tmp_path / "out", tmp_path / "work")
    result = train_stage1(*arguments)
    assert result and result.steps == 4 and result.best_step is not None
    record = json.loads((tmp_path / "out/training.json").read_text())
    assert {"loss", "grad_norm"} <= set(record["history"][0])
    assert "ldsem/eegmmidb" in record["validations"][-1] and "edge/worlds-eeg" in record["validations"][-1]
    model = CLDTrans.from_pretrained(tmp_path / "out")
    assert model.config == ModelConfig.model_validate(SETTINGS)
    first = {k: v.clone() for k, v in model.state_dict().items()}
    again = train_stage1(*arguments[:4], tmp_path / "out2", tmp_path / "work2")
    assert again and again.history == result.history, "a second run gives the same numbers"
    second = CLDTrans.from_pretrained(tmp_path / "out2").state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_corpora_that_are_not_there(tmp_path):
    write_corpora(tmp_path, n_subjects=1)
    network = ModelConfig.model_validate(SETTINGS)
    found = open_corpora(
        STAGE1.model_copy(update={"datasets": ["eegmmidb", "mimic_ecg"]}), network, tmp_path, 0
    )
    assert [corpus.name for corpus in found.train] == ["eegmmidb", "worlds-eeg"] and not found.validation
    assert any("one subject" in note for note in found.notes)
    assert any("mimic_ecg: left out" in note for note in found.notes)
    with pytest.raises(DataError, match="no corpus to train on"):
        open_corpora(STAGE1, network, tmp_path / "nothing", 0)


def test_ptbxl_keeps_its_test_folds(tmp_path):
    write_corpora(tmp_path)
    network = ModelConfig.model_validate(SETTINGS)
    found = open_corpora(STAGE1.model_copy(update={"datasets": ["ptbxl"]}), network, tmp_path, 0)
    parts = [corpus for corpus in (found.train[0], *found.validation) if isinstance(corpus, ShardCorpus)]
    rows = np.concatenate([corpus.rows for corpus in parts])
    assert sorted(rows) == [k for k in range(20) if 1 + k % 10 <= 8]
    assert len(parts) == 2 and not set(parts[0].rows) & set(parts[1].rows)


def test_epochs_count_real_windows_and_the_steps_that_are_of_them(tmp_path):
    write_corpora(tmp_path)
    network = ModelConfig.model_validate(SETTINGS)
    loop = small_config().loop.model_copy(update={"steps": None, "epochs": 10.0, "batch_size": 4})
    settings = STAGE1.model_copy(update={"simulator_fraction": 0.25})
    found = open_corpora(settings, network, tmp_path, 0)
    real = sum(len(corpus) for corpus in found.train if not isinstance(corpus, WorldCorpus))
    assert found.loop(loop).steps == math.ceil(10 * real / (4 * 0.75))
    assert found.loop(loop.model_copy(update={"steps": 7})).steps == 7
