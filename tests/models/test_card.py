"""The model card: facts that are the model's, and an example that runs."""

import re
from typing import Any

import torch
from toys.model import make_model

from cldtrans.models.heads import HeadSpec


def test_the_card_tells_the_model_and_its_example_runs(tmp_path):
    model = make_model()
    model.attach_head("sleepedf", HeadSpec("multiclass", ("W", "N1"), "eeg"))
    model.describe(step=12, trained_on=["eegmmidb", "ptbxl"])
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    n_parameters = sum(p.numel() for p in model.parameters())
    for fact in (
        f"{n_parameters:,} parameters",
        "- `sleepedf` (multiclass, eeg): W, N1",
        "- step: 12",
        "0.3 s (EEG)",
    ):
        assert fact in card
    (example,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict[str, Any] = {"x": torch.randn(1, 3, 640), "sample_rate": 160.0}
    exec(example.replace("path/to/this/folder", str(tmp_path)), names)
    assert names["out"].tau.shape == (1, 3, 3) and names["out"].logits.shape == (1, 2)


def test_fresh_weights_say_so():
    card = str(make_model(quantize=False).generate_model_card())
    assert "fresh weights: not trained" in card and "(not in use)" in card and "None: a pretrained" in card
