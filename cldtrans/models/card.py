"""The model card that is saved beside the weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from huggingface_hub import ModelCard

if TYPE_CHECKING:
    from cldtrans.models.cldtrans import CLDTrans

HEADER = """\
---
library_name: cldtrans
license: mit
tags: [eeg, ecg, time-series, causal-discovery]
---
"""


def model_card(model: CLDTrans) -> ModelCard:
    """What it is, how it was trained, how to call it, what it must not be used for."""
    parameters = sum(p.numel() for p in model.parameters())
    config = model.config
    heads = [
        f"- `{name}` ({head.spec.kind}, {head.spec.modality}): {', '.join(head.spec.classes)}"  # type: ignore
        for name, head in model.heads.items()
    ]
    facts = [f"- {name.replace('_', ' ')}: {_plain(value)}" for name, value in model.provenance.items()]
    text = f"""{HEADER}
# CLD-Trans

Lags, edges and motifs of multichannel EEG and ECG windows: {parameters:,} parameters, codebook
{config.codebook_size} x {config.width}{"" if config.quantize else " (not in use)"}, lags {config.lag},
dynamics {config.dynamics}. Any number of channels.

```python
from cldtrans.models import CLDTrans

model = CLDTrans.from_pretrained("path/to/this/folder").eval()
out = model(x, sample_rate, modality="eeg")  # x [windows, channels, samples]
out.tau  # seconds; tau[b, i, j] is the delay from source j to target i
out.edge_probability, out.focal_scores, out.logits
```

## Training
{chr(10).join(facts) or "- fresh weights: not trained"}

## Task heads
{chr(10).join(heads) or "None: a pretrained model without labels."}

## Limits
Research software, not a medical device: no output may guide the care of a patient. A lag between channels is
a statement about the recorded signals; hidden common sources and volume conduction produce lags without a
causal path. Lags beyond {config.tau_max_s["eeg"]:g} s (EEG) or {config.tau_max_s["ecg"]:g} s (ECG) are not
seen.
"""
    return ModelCard(text)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
