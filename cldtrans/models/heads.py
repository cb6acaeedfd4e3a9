"""Task heads on the pooled vector of a window."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

Kind = Literal["binary", "multiclass", "multilabel", "regression", "time_to_event"]
CLIP = 10.0  # of standardised inputs of a head


@dataclass(frozen=True)
class HeadSpec:
    """What a head predicts.

    Attributes
    ----------
    kind : one of "binary", "multiclass", "multilabel", "regression", "time_to_event"
        Of the task.
    classes : tuple of str
        Names of the classes; of regression, the targets; of a time to an event, ends of the intervals, whose
        hazards the logits are.
    modality : one of "eeg", "ecg"
        Of the windows.
    """

    kind: Kind
    classes: tuple[str, ...]
    modality: Literal["eeg", "ecg"]

    @property
    def outputs(self) -> int:
        """K, how many numbers are predicted: one a class (binary: the positive one)."""
        return 1 if self.kind == "binary" else len(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the checkpoint's config."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, values: Any) -> HeadSpec:
        """Take the values that `to_json` gave; pydantic's ValidationError, a ValueError, for any other."""
        return TypeAdapter(cls).validate_python(values)


class TaskHead(nn.Module):
    """Maps a standardised pooled vector to logits (regression: predictions).

    Parameters
    ----------
    features : int
        F, length of the pooled vector.
    spec : HeadSpec
        What the head predicts.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, spec: HeadSpec):
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.linear = nn.Linear(features, spec.outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map pooled vectors [B, F] to [B, K]."""
        return self.linear(((pooled - self.mean) / self.scale).clamp(-CLIP, CLIP))

    @torch.no_grad()
    def set_linear(self, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor) -> None:
        """Take over a fitted probe: weight [K, F] acts on `(pooled - mean) / scale`."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
