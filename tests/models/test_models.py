"""The network's contract: shapes, masks, permutations, saving, ablations."""

import json
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toys.model import SETTINGS, make_model

from cldtrans.config import ModelConfig
from cldtrans.errors import DataError
from cldtrans.models import CLDTrans
from cldtrans.models.heads import HeadSpec, Kind
from cldtrans.models.readouts import READOUTS, focal_scores

MONTAGES: dict[
    str, tuple[tuple[int, int, int], float, Literal["eeg", "ecg"]]
] = {  # windows, rate, modality of each kind of recording
    "eegmmidb": ((2, 64, 640), 160.0, "eeg"),
    "chbmit": ((2, 18, 1024), 256.0, "eeg"),
    "sleepedf": ((2, 2, 3000), 100.0, "eeg"),
    "ptbxl": ((2, 12, 5000), 500.0, "ecg"),
}


@pytest.mark.parametrize("name", MONTAGES)
def test_one_model_reads_every_montage(name):
    shape, rate_hz, modality = MONTAGES[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(shape[:2], dtype=torch.bool)
    mask[0, -1] = False
    x[0, -1] = torch.nan  # what is masked may hold anything
    with torch.no_grad():
        out = make_model()(x, rate_hz, mask, modality)
    b, c = shape[:2]
    assert out.tau.shape == out.edge_probability.shape == (b, c, c)
    assert out.focal_scores.shape == (b, c) and out.logits is None
    assert out.tau.isfinite().all() and out.pooled.isfinite().all()
    for value in (out.tau, out.edge_probability):
        assert value.diagonal(dim1=1, dim2=2).abs().max() == 0
        assert value[0, -1].abs().max() == 0 and value[0, :, -1].abs().max() == 0
    assert (out.tau >= 0).all() and (out.edge_probability >= 0).all() and (out.edge_probability <= 1).all()
    assert torch.isneginf(out.focal_scores[0, -1]) and out.focal_scores[1].isfinite().all()
    assert out.nfe > 0


def test_modality_is_guessed_with_a_warning():
    model = make_model()
    with pytest.warns(UserWarning, match="ecg"):
        model(torch.randn(1, 12, 1000), 500.0)
    with pytest.warns(UserWarning, match="eeg"):
        model(torch.randn(1, 16, 1000), 500.0)


def as_after_training(model):
    """Lag networks that say something: fresh ones add nothing."""
    for network in (model.lag_inference.gate, model.lag_inference.network):
        torch.nn.init.normal_(network.out.weight, std=0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["chbmit", "ptbxl"])
def test_permuted_channels_permute_lags_and_keep_logits(name, dtype):
    shape, rate_hz, modality = MONTAGES[name]
    model = make_model(dtype)
    as_after_training(model)
    model.attach_head("task", HeadSpec("multilabel", ("a", "b", "c"), modality))
    x = torch.randn(shape, dtype=dtype).cumsum(-1)
    order = torch.randperm(shape[1])
    with torch.no_grad():
        a, b = (model(value, rate_hz, modality=modality) for value in (x, x[:, order]))
    assert (a.tau[:, order][:, :, order] - b.tau).abs().max() < 1e-4
    assert (a.focal_scores[:, order] - b.focal_scores).abs().max() < 1e-3
    assert (a.logits - b.logits).abs().max() < (1e-4 if dtype == torch.float64 else 1e-3)


def test_one_stage2_checkpoint_serves_every_montage_in_any_order_of_channels(tmp_path):
    """All of the file's tensors are used; float64 and rk4, so that only the arithmetic's order differs."""
    model = make_model()
    as_after_training(model)
    kinds: dict[str, Kind] = {"chbmit": "binary", "sleepedf": "multiclass", "ptbxl": "multilabel"}
    for name, kind in kinds.items():
        head = model.attach_head(name, HeadSpec(kind, ("a", "b", "c"), MONTAGES[name][2]))
        head.mean.normal_()
        head.scale.uniform_(0.5, 2.0)
    model.save_pretrained(tmp_path)
    loaded = CLDTrans.from_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == loaded.state_dict().keys()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())
    loaded.double().eval()
    for name, (shape, rate_hz, modality) in MONTAGES.items():
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).cumsum(-1)
        order = torch.randperm(shape[1], generator=torch.Generator().manual_seed(2))
        task = name if name in loaded.heads else "chbmit"
        with torch.no_grad():
            a, b = (loaded(value, rate_hz, modality=modality, task=task) for value in (x, x[:, order]))
        assert (a.tau[:, order][:, :, order] - b.tau).abs().max() < 1e-4, name
        assert a.logits.isfinite().all() and (a.logits - b.logits).abs().max() < 1e-4, name


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_a_checkpoint_whose_tensors_do_not_fit_is_refused(tmp_path, change):
    make_model().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    if change == "missing":
        del weights["decoder.block.mix.bias"]
    else:
        name = "fill.bias" if change == "shape" else "something.else"
        weights[name] = torch.zeros(3)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors: expected the content that SHA256SUMS"):
        CLDTrans.from_pretrained(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match=r"decoder\.block\.mix\.bias|fill\.bias|something\.else"):
        CLDTrans.from_pretrained(tmp_path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_weights_that_are_no_fractions_are_refused(tmp_path, dtype):
    make_model().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["fill.bias"] = torch.zeros(weights["fill.bias"].shape, dtype=dtype)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match=r"of another shape or type: fill\.bias; fetch") as caught:
        CLDTrans.from_pretrained(tmp_path)
    assert str(tmp_path / "model.safetensors") in str(caught.value) and str(caught.value).isprintable()


def edited(**changes):
    return lambda content: json.dumps({**json.loads(content), **changes}).encode()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", edited(config={**SETTINGS, "width": 10**12}), "no network has these settings"),
        ("config.json", edited(config={**SETTINGS, "width": 32}), "weights are not those of config.json"),
        ("config.json", edited(config={**SETTINGS, "blocks": 10**9}), "tensors for 1000000000 blocks"),
        ("config.json", edited(config={**SETTINGS, "lag": "odd"}), "not the settings of a model: lag: Input"),
        ("config.json", edited(tasks={"ptbxl": {"kind": "odd"}}), "not the settings of a model: kind: Input"),
        ("config.json", lambda content: b"\xff" + content, "not the settings of a model"),
        ("config.json", lambda content: content[:50], "not the settings of a model"),
        ("model.safetensors", lambda content: content[:1000], "cannot be read as weights"),
        ("model.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1]), ""),
    ],
)
def test_a_changed_file_is_one_line_with_and_without_sums(tmp_path, name, change, message):
    make_model().save_pretrained(tmp_path)
    (tmp_path / "foreign").write_bytes(b"\xff")
    CLDTrans.from_pretrained(tmp_path)
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    with pytest.raises(DataError, match=f"{name}: expected the content that SHA256SUMS was made of"):
        CLDTrans.from_pretrained(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    if message:
        with pytest.raises(DataError, match=message) as caught:
            CLDTrans.from_pretrained(tmp_path)
        assert str(tmp_path) in str(caught.value) and str(caught.value).isprintable()
    else:  # nothing else can tell
        CLDTrans.from_pretrained(tmp_path)


def test_a_folder_that_is_none_or_empty_is_named(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such folder"):
        CLDTrans.from_pretrained(tmp_path / "none")
    (tmp_path / "results").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: pytest.fail("asked the hub"))
    for name in ("none", "results/none", "./a/none", "a/b/none", str(tmp_path / "none")):
        with pytest.raises(DataError, match=f"{name}: no such folder"):
            CLDTrans.from_pretrained(name)
    with pytest.raises(DataError, match="found a file"):
        CLDTrans.from_pretrained("file")
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        CLDTrans.from_pretrained(tmp_path)


def test_the_order_of_dependent_leads_does_not_decide_lags():
    x = torch.randn(4, 8, 2500).cumsum(-1)
    first, second = x[:, :1], x[:, 1:2]
    derived = first - second, -(first + second) / 2, first - second / 2, second - first / 2
    leads = torch.cat([x, *derived], 1)
    model, order = make_model(), torch.randperm(12)
    with torch.no_grad():
        a, b = (model.lags(value, 500.0, modality="ecg").tau for value in (leads, leads[:, order]))
    assert (a[:, order][:, :, order] - b).abs().max() < 1e-4


def test_masked_channels_change_nothing():
    model = make_model(torch.float64)
    x = torch.randn(2, 7, 1600, dtype=torch.float64)
    mask = torch.tensor([True] * 5 + [False] * 2).expand(2, 7)
    with torch.no_grad():
        a, b = model(x[:, :5], 160.0, modality="eeg"), model(x, 160.0, mask, "eeg")
    torch.testing.assert_close(a.tau, b.tau[:, :5, :5])
    torch.testing.assert_close(a.edge_probability, b.edge_probability[:, :5, :5])
    torch.testing.assert_close(a.pooled, b.pooled)


def test_saved_models_load_equal(tmp_path):
    model = make_model()
    model.attach_head("ptbxl", HeadSpec("multilabel", ("NORM", "MI"), "ecg"))
    model.describe(seed=3)
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
        "SHA256SUMS",
    }
    assert "ptbxl" in (tmp_path / "README.md").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["config"]["width"] == 16
    again = CLDTrans.from_pretrained(tmp_path).eval()
    assert again.config == ModelConfig.model_validate(SETTINGS)
    x = torch.randn(2, 12, 2000)
    with torch.no_grad():
        a, b = (m(x, 500.0, modality="ecg") for m in (model, again))
    assert torch.equal(a.tau, b.tau) and torch.equal(a.logits, b.logits) and a.task == "ptbxl"


def test_scale_units_and_extremes_do_not_matter():
    model = make_model()
    x = torch.randn(1, 6, 1600).cumsum(-1)
    scale = torch.logspace(-6, 3, 6)[:, None]
    with torch.no_grad():
        a, b = model(x, 160.0, modality="eeg"), model(x * scale + 5 * scale, 160.0, modality="eeg")
        flat = model(torch.zeros(1, 4, 1600), 160.0, modality="eeg")
    torch.testing.assert_close(a.tau, b.tau, atol=2e-4, rtol=0)
    assert flat.tau.abs().max() == 0 and flat.focal_scores.isfinite().all() and flat.pooled.isfinite().all()


def test_linearly_dependent_channels_are_survived():
    x = torch.randn(2, 8, 5000).cumsum(-1)
    leads = torch.cat([x, x[:, :1] - x[:, 1:2], -(x[:, :1] + x[:, 1:2]) / 2, x[:, :1], x[:, :1]], 1)
    with torch.no_grad():
        out = make_model()(leads, 500.0, modality="ecg")
    assert out.tau.isfinite().all() and out.edge_probability.isfinite().all()


def test_user_errors_name_the_problem():
    model = make_model()
    with pytest.raises(ValueError, match="batch, channels, samples"):
        model(torch.randn(3, 1600), 160.0)
    with pytest.raises(ValueError, match="too short"):
        model(torch.randn(1, 3, 20), 160.0, modality="eeg")
    with pytest.raises(ValueError, match="no heads"):
        model(torch.randn(1, 3, 800), 160.0, modality="eeg", task="x")
    with pytest.raises(ValueError, match="channel_mask"):
        model(torch.randn(1, 3, 800), 160.0, torch.ones(1, 4), "eeg")


def test_an_open_gate_reads_out_the_leading_channel():
    """A discharge of 3 spikes a second spreads from one channel to all others: it must win."""
    rng = np.random.default_rng(0)
    model = make_model()
    model.lag_inference.gate.out.bias.data.fill_(1.0)
    hits = {name: 0 for name in READOUTS}
    for _ in range(8):
        lead = rng.integers(8)
        delay_s = rng.uniform(0.02, 0.12, 8) * (np.arange(8) != lead)
        t = np.arange(1600) / 160 - delay_s[:, None]
        spikes = np.cumsum(rng.uniform(0.25, 0.4, 40))
        wave = np.exp(-(((t[..., None] - spikes) / 0.02) ** 2)).sum(-1) * 4
        x = torch.tensor(wave + 0.3 * rng.standard_normal((8, 1600)), dtype=torch.float32)[None]
        with torch.no_grad():
            out = model(x, 160.0, modality="eeg")
        for name in hits:
            scores = focal_scores(out.tau, out.edge_probability, torch.ones(1, 8, dtype=torch.bool), name)
            hits[name] += int(scores.argmax()) == lead
    assert hits["net_lead"] >= 7 and hits["arrival"] >= 7, hits


def parameters(model):
    return {name: value.numel() for name, value in model.named_parameters()}


@pytest.mark.parametrize(
    ("changes", "without", "new"),
    [
        ({"quantize": False}, None, None),
        ({"lag": "none"}, "lag_inference.", None),
        ({"lag": "integer"}, None, None),
        ({"dynamics": "none"}, "dynamics.field.", "dynamics.map."),
    ],
)
def test_an_ablation_changes_what_it_says(changes, without, new):
    full, ablated = make_model(), make_model(**changes)
    a, b = parameters(full), parameters(ablated)
    removed, added = set(a) - set(b), set(b) - set(a)
    assert all(name.startswith(without or "nothing") for name in removed)
    assert bool(removed) == (without is not None)
    assert all(name.startswith(new or "nothing") for name in added)
    assert all(a[name] == b[name] for name in set(a) & set(b))
    buffers = {name for name, _ in full.named_buffers()} - {name for name, _ in ablated.named_buffers()}
    assert all(name.startswith("codebooks.") for name in buffers) and bool(buffers) == ("quantize" in changes)

    ablated.load_state_dict(full.state_dict(), strict=False)
    x = torch.randn(1, 5, 1600)
    with torch.no_grad():
        one, two = full(x, 160.0, modality="eeg"), ablated(x, 160.0, modality="eeg")
    samples = two.tau * 160
    if changes.get("lag") == "none":
        assert two.tau.abs().max() == 0 and two.edge_probability.max() > 0
        assert torch.equal(one.tokens, two.tokens)
    elif changes.get("lag") == "integer":
        torch.testing.assert_close(samples, samples.round())
        torch.testing.assert_close(samples, (one.tau * 160).round())
        offered = ablated.lags(x, 160.0, torch.ones(1, 5, dtype=torch.bool), "eeg").candidates * 160
        torch.testing.assert_close(offered, offered.round())
        assert torch.equal(one.edge_probability, two.edge_probability)
    else:
        assert torch.equal(one.tau, two.tau) and torch.equal(one.edge_probability, two.edge_probability)
    if "dynamics" in changes:
        assert two.nfe == 0 and torch.equal(one.tokens, two.tokens)
    if "quantize" in changes:
        assert two.tokens is None


def test_one_channel_has_nobody_to_follow():
    out = make_model()(torch.randn(2, 1, 1600), 160.0, None, "eeg")
    assert out.pooled.isfinite().all() and not out.tau.any() and not out.edge_probability.any()
    torch.testing.assert_close(out.lead, torch.zeros(2, 1), atol=1e-6, rtol=0)
