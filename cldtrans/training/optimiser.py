"""AdamW as training uses it: what decays, the learning rate of a step, the state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cldtrans.config import LoopConfig


def build_optimiser(module: nn.Module, loop: LoopConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; vectors and scalars (biases, norms, gains) do not decay."""
    trainable = [param for param in module.parameters() if param.requires_grad]
    groups = [
        {"params": [param for param in trainable if param.ndim >= 2], "weight_decay": loop.weight_decay},
        {"params": [param for param in trainable if param.ndim < 2], "weight_decay": 0.0},
    ]
    fused = bool(trainable) and trainable[0].is_cuda
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=loop.learning_rate, fused=fused)


def learning_rate(step: int, loop: LoopConfig) -> float:
    """Linear warm-up to the peak, then half a cosine down to zero at the last step (0-based `step`)."""
    if step < loop.warmup_steps:
        return loop.learning_rate * (step + 1) / loop.warmup_steps
    done = (step - loop.warmup_steps) / max(1, loop.steps - loop.warmup_steps)
    return loop.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def optimiser_tensors(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by parameter name: `<parameter>/<quantity>`."""
    return {
        f"{name}/{key}": torch.as_tensor(value)
        for name, param in module.named_parameters()
        for key, value in optimiser.state.get(param, {}).items()
    }


def load_optimiser(module: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` gave."""
    numbers: dict[Tensor, int] = {}
    for group in optimiser.param_groups:
        for param in group["params"]:
            numbers[param] = len(numbers)
    state: dict[int, dict[str, Tensor]] = {}
    params = dict(module.named_parameters())
    for key, value in tensors.items():
        name, quantity = key.rsplit("/", 1)
        state.setdefault(numbers[params[name]], {})[quantity] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


class AveragedWeights:
    """Exponential moving average of the parameters, with a shorter memory in the first steps.

    `average <- d * average + (1 - d) * parameter`, d = min(decay, (1 + n) / (10 + n)) after n updates.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.values = {name: param.detach().clone() for name, param in module.named_parameters()}
        self.updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the parameters as they are now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, param in module.named_parameters():
            self.values[name].lerp_(param, 1 - decay)
        self.updates += 1

    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return self.values | {"/updates": torch.tensor(self.updates)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for name, value in self.values.items():
            value.copy_(tensors[name])
        self.updates = int(tensors["/updates"])

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The module with the averaged weights in place of its own."""
        own = {name: param.detach().clone() for name, param in module.named_parameters()}
        self.copy_to(module)
        try:
            yield
        finally:
            _copy(own, module)

    def copy_to(self, module: nn.Module) -> None:
        """Replace the module's weights by the averaged ones for good."""
        _copy(self.values, module)


@torch.no_grad()
def _copy(values: dict[str, Tensor], module: nn.Module) -> None:
    for name, param in module.named_parameters():
        param.copy_(values[name])
