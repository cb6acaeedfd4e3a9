"""The model card that is saved beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCard

from cldtrans.config import ModelConfig
from cldtrans.models.heads import HeadSpec

HEADER = """\
---
library_name: cldtrans
license: mit
tags: [eeg, ecg, time-series, causal-discovery]
---
"""


def model_card(
    config: ModelConfig, parameters: int, heads: Mapping[str, HeadSpec], facts: Mapping[str, Any]
) -> ModelCard:
    """Say what a model is, how it was trained, how to call it, what it must not be used for.

    Parameters
    ----------
    config : ModelConfig
        Settings of the network.
    parameters : int
        How many the network has.
    heads : mapping of str to HeadSpec
        Its task heads.
    facts : mapping
        About the training; plain values.
    """
    tasks = [
        f"- `{name}` ({spec.kind}, {spec.modality}): {', '.join(spec.classes)}"
        for name, spec in heads.items()
    ]
    training = [f"- {name.replace('_', ' ')}: {_plain(value)}" for name, value in facts.items()]
    text = f"""{HEADER}
# CLD-Trans

Lags, edges and motifs of multichannel EEG and ECG windows: {parameters:,} parameters, codebook
{config.codebook_size} x {config.width}{"" if config.quantize else " (not in use)"}, lags {config.lag},
dynamics {config.dynamics}. Any number of channels.

```python
from cldtrans.models import CLDTrans

model = CLDTrans.from_pretrained("path/to/this/folder").eval()
# x [windows, channels, samples] in microvolts (ECG: millivolts); positions: the channels' names
out = model(x, sample_rate, modality="eeg", positions=["C3", "Cz", "C4"])
out.tau  # seconds; tau[b, i, j] is the delay from source j to target i
out.edge_probability, out.focal_scores, out.logits
```

## Training
{chr(10).join(training) or "- fresh weights: not trained"}

## Task heads
{chr(10).join(tasks) or "None: a pretrained model without labels."}

## Limits
Research software, not a medical device: no output may guide the care of a patient. A lag between channels is
a statement about the recorded signals; hidden common sources and volume conduction produce lags without a
causal path. Lags beyond {config.tau_max_s["eeg"]:g} s (EEG) or {config.tau_max_s["ecg"]:g} s (ECG) are not
seen.
"""
    return ModelCard(text)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
