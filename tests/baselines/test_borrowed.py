"""Published networks by braindecode: sizes, checkpoints in the originals' layout, a training step."""

import numpy as np
import pytest
import torch
from torch import nn
from toys.networks import labelled, steps_and_survives

from cldtrans.baselines.borrowed import library
from cldtrans.baselines.borrowed.adapter import ELECTRODES_19, TCP_16, GradientLead, Network, by_electrode
from cldtrans.baselines.borrowed.attn_sleep import AttnSleep
from cldtrans.baselines.borrowed.bendr import Bendr
from cldtrans.baselines.borrowed.biot import Biot
from cldtrans.baselines.borrowed.cbramod import CBraMod
from cldtrans.baselines.borrowed.eeg_conformer import EegConformer
from cldtrans.baselines.borrowed.eegnet import EegNet
from cldtrans.baselines.borrowed.eegpt import Eegpt
from cldtrans.baselines.borrowed.labram import Labram
from cldtrans.baselines.borrowed.usleep import USleep
from cldtrans.data.base import Task
from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.errors import ConfigError, DataError

pytest.importorskip("linear_attention_transformer", reason="the extra baselines is not installed")

TASK = Task("toy", "binary", ("no", "yes"))
SLEEP = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal")
FEW = ("FP1-F7", "F7-T7", "T7-P7")


def adapter(kind, channels=FEW, rate_hz=200.0, **settings):
    settings = {"steps": 2, "batch_size": 4, "validate_every": 2} | settings
    return kind(TASK, channels, rate_hz, "eeg", 0, 1, **settings)


def size(kind, channels, rate_hz, seconds):
    inner = adapter(kind, channels, rate_hz).make(round(seconds * rate_hz)).get_submodule("inner")
    return inner, sum(p.numel() for p in inner.parameters())


@pytest.mark.parametrize(
    ("kind", "published", "seconds"),
    [
        (Biot, 3.2e6, 10),
        pytest.param(Bendr, 157.0e6, 10, marks=pytest.mark.slow),
        (Labram, 5.8e6, 16),
        (USleep, 3.1e6, 30),
    ],
)
def test_sizes_are_the_papers_within_one_per_cent(kind, published, seconds):
    channels = SLEEP if kind is USleep else DOUBLE_BANANA
    found = size(kind, channels, 160.0, seconds)[1]
    assert found == pytest.approx(published, rel=0.01)


def test_sizes_that_the_docstrings_explain():
    inner, found = size(CBraMod, DOUBLE_BANANA, 160.0, 10)
    assert found - 64_002 == pytest.approx(4.92e6, rel=0.01)
    assert len(inner.state_dict()) - 2 == 211
    inner, _ = size(Eegpt, DOUBLE_BANANA, 256.0, 4)
    encoder = inner.get_submodule("target_encoder")
    assert sum(p.numel() for p in encoder.parameters()) == 25_287_168
    # EEGNet-8,2 of the paper's table 2: 64 temporal taps, depth 2, 16 separable filters; norms; dense layer.
    by_hand = 8 * 64 + 16 + 18 * 16 + 32 + 16 * 16 + 16 * 16 + 32 + 16 * (1280 // 32) * 2 + 2
    assert size(EegNet, DOUBLE_BANANA, 128.0, 10)[1] == by_hand


@pytest.mark.parametrize(
    ("kind", "channels", "seconds"),
    [
        (Biot, FEW, 2.0),
        (CBraMod, FEW, 2.0),
        (Labram, FEW, 2.0),
        (EegNet, FEW, 2.0),
        (EegConformer, FEW, 2.0),
        pytest.param(Eegpt, FEW, 1.0, marks=pytest.mark.slow),
        pytest.param(Bendr, FEW, 2.0, marks=pytest.mark.slow),
        pytest.param(AttnSleep, SLEEP, 30.0, marks=pytest.mark.slow),
        pytest.param(USleep, SLEEP, 30.0, marks=pytest.mark.slow),
    ],
)
def test_a_training_step_a_save_and_a_load(kind, channels, seconds):
    model = steps_and_survives(adapter(kind, channels), labelled(3, round(200 * seconds)))
    assert model.parameters > 1000
    assert model.start == "from scratch"
    assert model.saw_test_data == "no"


ORIGINAL = {
    # What the originals' code calls their tensors, written down from it: from our names to theirs.
    Biot: lambda name: name.removeprefix("encoder."),
    CBraMod: lambda name: name,
    Eegpt: lambda name: name,
    Labram: lambda name: (
        "student."
        + name.replace("temporal_conv.", "")
        .replace("position_embedding", "pos_embed")
        .replace("temporal_embedding", "time_embed")
    ),
}
BESIDE = {  # tensors of their checkpoints that no classifier has a place for
    Biot: ["index"],
    CBraMod: [],
    Eegpt: ["predictor.mask_token", "reconstructor.time_embed"],
    Labram: ["student.norm.weight", "lm_head.weight", "student.mask_token"],
}
COUNTS = {Biot: 56, CBraMod: 211, Eegpt: 102, Labram: 219}


def written(kind, path):
    """Write a checkpoint as the original would, with random values; return them by our names."""
    inner = adapter(kind).make(800).get_submodule("inner")
    values = {
        name: torch.randn_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in inner.state_dict().items()
        if not adapter(kind).is_fresh(name)
    }
    if kind is Labram:
        values["temporal_embedding"] = torch.randn(1, 16, 200)
    content = {ORIGINAL[kind](name): tensor for name, tensor in values.items()}
    content |= dict.fromkeys(BESIDE[kind], torch.zeros(3))
    torch.save({"model": content, "epoch": 3} if kind is Labram else content, path)
    return values


@pytest.mark.parametrize("kind", [Biot, CBraMod, Labram, pytest.param(Eegpt, marks=pytest.mark.slow)])
def test_a_checkpoint_in_the_originals_layout_loads_tensor_for_tensor(kind, tmp_path):
    path = tmp_path / "weights.pt"
    values = written(kind, path)
    model = adapter(kind, weights=str(path), saw_test_data={"chbmit": "yes"})
    own = model.started(800, 0).get_submodule("inner").state_dict()
    assert model.notes[0].startswith(f"{COUNTS[kind]} tensors from the checkpoint")
    assert model.notes[0].endswith(f"{len(BESIDE[kind])} not used")
    for name, tensor in values.items():
        if name == "temporal_embedding":  # of four patches; the library's spare one is never read
            tensor, own[name] = tensor[:, :4], own[name][:, :4]
        torch.testing.assert_close(own[name], tensor, msg=name)
    assert model.saw_test_data == {"chbmit": "yes"}
    content = torch.load(path, weights_only=True)
    inner = content.get("model", content)
    del inner[next(name for name in inner if name not in BESIDE[kind])]
    torch.save(content, path)
    with pytest.raises(DataError, match=f"{COUNTS[kind] - 1} of {COUNTS[kind]} tensors match"):
        model.started(800, 0)


def test_what_is_no_checkpoint_says_so(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match="not a readable checkpoint"):
        adapter(Biot, weights=str(tmp_path / "a.pt")).started(800, 0)
    with pytest.raises(DataError, match="no such file"):
        adapter(Biot, weights=str(tmp_path / "b.pt")).started(800, 0)
    with pytest.raises(DataError, match="hf download"):
        adapter(Biot, weights="someone/biot").started(800, 0)
    with pytest.raises(ConfigError, match="a probe without weights"):
        adapter(Biot, mode="probe")
    with pytest.raises(ConfigError, match="reads EEG"):
        Biot(TASK, FEW, 200.0, "ecg", 0, 1)


def test_a_probe_leaves_the_weights_alone_and_its_twin_has_others(tmp_path):
    path = tmp_path / "weights.pt"
    values = written(Biot, path)
    model = adapter(Biot, weights=str(path), mode="probe")
    windows = labelled(3, 800)
    model.fit(windows, windows)
    assert model.predict_proba(windows).shape == (8, 2)
    kept = model._frozen._network.get_submodule("inner").state_dict()
    torch.testing.assert_close(kept["encoder.channel_tokens.weight"], values["encoder.channel_tokens.weight"])
    twin = model.twin()
    twin.fit(windows, windows)
    other = twin._network.get_submodule("inner").state_dict()
    assert not torch.allclose(other["encoder.channel_tokens.weight"], values["encoder.channel_tokens.weight"])


def test_channels_go_to_their_places():
    assert adapter(Biot, DOUBLE_BANANA).names == list(TCP_16)
    x = np.arange(18.0)
    np.testing.assert_array_equal(
        adapter(Biot, DOUBLE_BANANA)._matrix @ torch.from_numpy(x).float(),
        [DOUBLE_BANANA.index(name) for name in TCP_16],
    )
    found = by_electrode(DOUBLE_BANANA, ELECTRODES_19) @ x
    assert found[ELECTRODES_19.index("FP1")] == pytest.approx((0 + 4) / 2)  # FP1-F7 and FP1-F3
    assert found[ELECTRODES_19.index("O1")] == 0
    assert adapter(Labram, ("EEG Cz", "FP1-F7", "F3-C3", "X1")).names == ["CZ", "FP1-F7", "F3"]


def test_the_gradient_readout_points_at_the_only_channel_that_a_network_reads(monkeypatch):
    """A linear encoder with known weights: |x dq/dx| by hand; a masked channel is never first."""

    class Second(nn.Module):
        def __init__(self):
            super().__init__()
            self.final_layer = nn.Linear(1, 2)

        def forward(self, x):
            return self.final_layer(x[:, 1:2].sum(-1))

    class Toy(EegNet):
        def build(self, n_samples):
            return Network(Second())

        def scaled(self, x):
            return x

    monkeypatch.setattr("cldtrans.baselines.borrowed.eegnet.EegNet", Toy)
    lead = GradientLead("cldtrans.baselines.borrowed.eegnet:EegNet")
    x = np.random.default_rng(0).standard_normal((2, 3, 128))
    found = lead(x, np.array([[True] * 3, [True, True, False]]), 128.0, FEW)
    by_hand = np.abs(x[:, 1] * x[:, 1].sum(-1, keepdims=True)).sum(-1)
    np.testing.assert_allclose(found[:, 1], by_hand, rtol=1e-4)
    np.testing.assert_allclose(found[:, 0], 0, atol=1e-6)
    assert found[1, 2] == -np.inf


def test_the_library_imports_beside_a_cpu_build_of_torch_and_leaves_no_placeholder():
    import sys

    assert library.models().BIOT.__name__ == "BIOT"
    audio = sys.modules.get("torchaudio")
    assert audio is None or hasattr(audio, "__version__")
