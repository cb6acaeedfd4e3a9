"""ECG-FM: its size and its tensors by the paper and its repository, checkpoints in that layout, segments."""

import numpy as np
import pytest
import torch
from toys.networks import labelled, steps_and_survives

from cldtrans.baselines.ecg_fm import EcgFm
from cldtrans.data.base import Task
from cldtrans.data.montages.ecg_leads import LEADS
from cldtrans.errors import ConfigError, DataError

TASK = Task("toy", "binary", ("no", "yes"))
BESIDE = {  # what pretraining alone uses, by the names and shapes of the original's checkpoints
    "mask_emb": (768,),
    "quantizer.vars": (1, 640, 128),
    "quantizer.weight_proj.weight": (640, 256),
    "quantizer.weight_proj.bias": (640,),
    "project_q.weight": (256, 256),
    "project_q.bias": (256,),
    "final_proj.weight": (256, 768),
    "final_proj.bias": (256,),
}


class Small(EcgFm):
    width, layers, heads = 32, 2, 2


def adapter(kind=Small, channels=LEADS, **settings):
    settings = {"steps": 2, "batch_size": 4, "validate_every": 2} | settings
    return kind(TASK, channels, 500.0, "ecg", 0, 1, **settings)


def layout(layers):
    """Names of the original's checkpoints, written down from its modules."""
    both = ("weight", "bias")
    of_layer = [f"self_attn.{one}_proj" for one in "qkv"] + [
        "self_attn.out_proj",
        "self_attn_layer_norm",
        "fc1",
        "fc2",
        "final_layer_norm",
    ]
    modules = ["layer_norm", "post_extract_proj", "encoder.layer_norm", "feature_extractor.conv_layers.0.2"]
    modules += [f"encoder.layers.{k}.{name}" for k in range(layers) for name in of_layer]
    places = ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]
    return {
        *(f"{module}.{end}" for module in modules for end in both),
        *(f"feature_extractor.conv_layers.{k}.0.weight" for k in range(4)),
        *(f"conv_pos.pos_conv.0.{name}" for name in places),
    }


def test_size_and_tensors_are_the_originals():
    with torch.device("meta"):
        inner = adapter(EcgFm).make(5000).get_submodule("inner")
    head = {"final_layer.weight", "final_layer.bias"}
    assert set(inner.state_dict()) - head == layout(12)
    encoder = sum(tensor.numel() for name, tensor in inner.state_dict().items() if name not in head)
    beside = sum(int(np.prod(shape)) for shape in BESIDE.values())
    assert encoder + beside == pytest.approx(EcgFm.card.parameters, rel=1e-3)
    assert encoder == pytest.approx(EcgFm.card.parameters, rel=0.01)


def test_a_training_step_a_save_and_a_load():
    model = steps_and_survives(adapter(), labelled(12, 5000))
    assert model.start == "from scratch"
    assert model.saw_test_data == "no"
    assert model.trainable_parameters == model.parameters


def test_a_checkpoint_in_the_originals_layout_loads_tensor_for_tensor(tmp_path):
    inner = adapter().make(5000).get_submodule("inner")
    values = {name: torch.randn_like(inner.state_dict()[name]) for name in layout(2)}
    content = {
        # torch before 2.1 named the factors of a normalised weight otherwise
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in values.items()
    } | {name: torch.zeros(shape) for name, shape in BESIDE.items()}
    path = tmp_path / "weights.pt"
    torch.save({"model": content, "cfg": {"model": {"_name": "wav2vec2_cmsc"}}}, path)
    model = adapter(weights=str(path), saw_test_data={"ptbxl": "yes"})
    network = model.started(5000, 0)
    found = network.get_submodule("inner").state_dict()
    for name, value in values.items():
        torch.testing.assert_close(found[name], value, msg=name)
    assert model.notes == [f"{len(values)} tensors from the checkpoint, 2 fresh, {len(BESIDE)} not used"]
    learned = {name for name, p in network.named_parameters() if p.requires_grad}
    assert not any("feature_extractor" in name for name in learned)
    assert len(learned) == len(values) + 2 - 6
    assert model.saw_test_data == {"ptbxl": "yes"}
    del content["encoder.layers.1.fc1.weight"]
    torch.save({"model": content}, path)
    with pytest.raises(DataError, match=r"encoder\.layers\.1\.fc1\.weight is missing"):
        model.started(5000, 0)


def test_a_window_is_the_mean_of_its_segments_and_a_part_of_one_is_cut():
    model = adapter()
    network = model.started(5000, 0).eval()
    x = torch.randn(2, 12, 5600)
    with torch.no_grad():
        whole = network(x)
        halves = network(x[..., :2500]) / 2 + network(x[..., 2500:5000]) / 2
    torch.testing.assert_close(whole, halves)


def test_leads_go_to_their_places_and_are_standardised():
    model = adapter(channels=("v1", "I"))
    x = torch.stack([torch.randn(700) * 3 + 1, torch.full((700,), 5.0)])[None]
    found = model.prepared(x)[0]
    torch.testing.assert_close(
        found[LEADS.index("V1")], (x[0, 0] - x[0, 0].mean()) / x[0, 0].std(correction=0)
    )
    assert not found[np.arange(12) != LEADS.index("V1")].any()
    with pytest.raises(ConfigError, match="no place for any of Cz"):
        adapter(channels=("Cz",))
    with pytest.raises(ConfigError, match="reads ECG, not EEG"):
        EcgFm(TASK, LEADS, 500.0, "eeg", 0, 1)
