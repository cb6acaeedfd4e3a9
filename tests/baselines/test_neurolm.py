"""NeuroLM: size and tensors by the paper and its repository, checkpoints in that layout, who sees whom."""

import numpy as np
import pytest
import torch
from toys.networks import labelled, steps_and_survives

from cldtrans.baselines.borrowed import library
from cldtrans.baselines.borrowed.adapter import GradientLead
from cldtrans.baselines.neurolm import EEG_VOCABULARY, PLACES, TEXT_VOCABULARY, NeuroLm
from cldtrans.data.base import Task
from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.errors import ConfigError, DataError

TASK = Task("toy", "binary", ("no", "yes"))
FEW = ("FP1-F7", "F7-T7", "FZ-CZ")
WIDTH = 768
TEXT = {  # what reads and writes text, by the names and shapes of the original's checkpoints
    "GPT2.transformer.wte.weight": (TEXT_VOCABULARY, WIDTH),
    "GPT2.lm_head.weight": (TEXT_VOCABULARY + EEG_VOCABULARY, WIDTH),
}


class Small(NeuroLm):
    width, layers, heads = 24, 2, 2


def adapter(kind=Small, channels=FEW, **settings):
    settings = {"steps": 2, "batch_size": 4, "validate_every": 2} | settings
    return kind(TASK, channels, 200.0, "eeg", 0, 1, **settings)


def layout(layers):
    """Names of the original's checkpoints, written down from its modules."""
    both, patch = ("weight", "bias"), "tokenizer.patch_embed"
    linear = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    of_block = ("ln_1", "ln_2", *linear)
    with_bias = [
        *(f"{patch}.{name}{k}" for name in ("conv", "norm") for k in (1, 2, 3)),
        f"{patch}.l.0",
        "tokenizer.fc_norm",
        "GPT2.transformer.ln_f",
        *(f"GPT2.transformer.h.{k}.{name}" for k in range(layers) for name in of_block),
    ]
    embeddings = ["tokenizer.pos_embed", "tokenizer.time_embed", "pos_embed", "GPT2.transformer.wpe"]
    blocks = [f"tokenizer.blocks.{k}.{name}" for k in range(layers) for name in of_block]
    return {
        *(f"{module}.{end}" for module in with_bias for end in both),
        *(f"{module}.weight" for module in (*embeddings, *blocks)),
    }


def test_size_and_tensors_are_the_originals():
    with torch.device("meta"):
        inner = adapter(NeuroLm, DOUBLE_BANANA).make(2000).get_submodule("inner")
    head = {"final_layer.weight", "final_layer.bias"}
    assert set(inner.state_dict()) - head == layout(12)
    here = sum(tensor.numel() for name, tensor in inner.state_dict().items() if name not in head)
    text = sum(int(np.prod(shape)) for shape in TEXT.values())
    seconds = inner.state_dict()["GPT2.transformer.wpe.weight"].numel()  # which the original does not count
    assert here + text - seconds == pytest.approx(NeuroLm.card.parameters, rel=1e-3)


def test_a_training_step_a_save_and_a_load():
    model = steps_and_survives(adapter(), labelled(3, 400))
    assert model.start == "from scratch"
    assert model.trainable_parameters == model.parameters


def test_a_checkpoint_in_the_originals_layout_loads_tensor_for_tensor(tmp_path):
    inner = adapter().make(400).get_submodule("inner")
    values = {name: torch.randn_like(inner.state_dict()[name]) for name in layout(2)}
    content = {f"_orig_mod.{name}": value for name, value in values.items()}
    content |= {name: torch.zeros(3) for name in TEXT}
    path = tmp_path / "weights.pt"
    torch.save({"model": content, "model_args": {"n_layer": 2}, "epoch": 1}, path)
    model = adapter(weights=str(path))
    network = model.started(400, 0)
    found = network.get_submodule("inner").state_dict()
    for name, value in values.items():
        torch.testing.assert_close(found[name], value, msg=name)
    assert model.notes == [f"{len(values)} tensors from the checkpoint, 2 fresh, 2 not used"]
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {f"inner.{name}" for name in layout(2) if name.startswith("tokenizer.")}
    del content["_orig_mod.pos_embed.weight"]
    torch.save({"model": content}, path)
    with pytest.raises(DataError, match=r"pos_embed\.weight is missing"):
        model.started(400, 0)


def test_gpt_sees_all_channels_of_a_second_and_no_later_second():
    network = adapter().started(600, 0).eval()
    gpt = network.get_submodule("inner.GPT2")["transformer"]
    second = torch.arange(3).repeat_interleave(2)
    tokens = torch.randn(1, 6, 24, requires_grad=True)
    (gradient,) = torch.autograd.grad(gpt(tokens, second)[0, 2].square().sum(), tokens)
    assert (gradient[0].abs().sum(-1) > 0).tolist() == [True] * 4 + [False] * 2


def test_places_are_those_of_the_field_in_their_order():
    pytest.importorskip("linear_attention_transformer", reason="the extra baselines is not installed")
    library.models()
    from braindecode.models.labram import LABRAM_CHANNEL_ORDER

    assert list(PLACES[: len(LABRAM_CHANNEL_ORDER)]) == list(LABRAM_CHANNEL_ORDER)
    assert PLACES[120:136:5] == ("FP1-F7", "F8-T8", "C3-P3", "P4-O2")
    assert adapter(channels=("EEG Cz", "FP1-F7", "F3-C3", "X1")).names == ["CZ", "FP1-F7", "F3-C3"]


def test_what_it_cannot_read_says_so():
    with pytest.raises(ConfigError, match="no place for any of X1"):
        adapter(channels=("X1",))
    with pytest.raises(ConfigError, match="at most 64 s and 1024 patches"):
        adapter().make(65 * 200)
    with pytest.raises(ConfigError, match="hold no patch"):
        adapter().make(199)


def test_the_gradient_readout_scores_valid_channels(monkeypatch):
    monkeypatch.setattr("cldtrans.baselines.neurolm.NeuroLm", Small)
    lead = GradientLead("cldtrans.baselines.neurolm:NeuroLm")
    x = np.random.default_rng(0).standard_normal((2, 3, 400)) * 30
    found = lead(x, np.array([[True] * 3, [True, True, False]]), 200.0, FEW)
    assert (found[0] > 0).all()
    assert found[1, 2] == -np.inf
