"""AdamW as training uses it: what decays, the learning rate of a step, the state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from cldtrans.config import LoopConfig

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """AdamW (Loshchilov and Hutter, 2019) over the trainable parameters of a module.

    Vectors and scalars (biases, norms, gains) do not decay. The arithmetic is `torch.optim`'s own function;
    its Optimizer class is not used: it imports the compiler on first use, 2 s in every short job, and it
    numbers the parameters, where a checkpoint wants names.
    """

    def __init__(self, module: nn.Module, weight_decay: float):
        self.params = {name: param for name, param in module.named_parameters() if param.requires_grad}
        if not self.params:
            raise ValueError("the module has no trainable parameters")
        self.weight_decay = weight_decay
        self.state: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # mean, square, number of updates
        self.fused = all(param.is_cuda for param in self.params.values())

    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient, at learning rate `rate`."""
        moved = [name for name, param in self.params.items() if param.grad is not None]
        self._update([name for name in moved if self.params[name].ndim >= 2], rate, self.weight_decay)
        self._update([name for name in moved if self.params[name].ndim < 2], rate, 0.0)

    @torch.no_grad()
    def _update(self, names: list[str], rate: float, weight_decay: float) -> None:
        if not names:
            return
        for name in names:
            if name not in self.state:
                param = self.params[name]
                updates = torch.zeros((), device=self._counter_device(param))
                self.state[name] = (torch.zeros_like(param), torch.zeros_like(param), updates)
        adamw(
            [self.params[name] for name in names],
            [grad for name in names if (grad := self.params[name].grad) is not None],
            [self.state[name][0] for name in names],
            [self.state[name][1] for name in names],
            [],
            [self.state[name][2] for name in names],
            fused=self.fused,
            foreach=not self.fused,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=weight_decay,
            eps=EPSILON,
            maximize=False,
        )

    def _counter_device(self, param: Tensor) -> torch.device:
        return param.device if self.fused else torch.device("cpu")

    def tensors(self) -> dict[str, Tensor]:
        """Return the state for the checkpoint: `<parameter>/mean`, `/square` and `/updates`."""
        return {
            f"{name}/{key}": value
            for name, values in self.state.items()
            for key, value in zip(("mean", "square", "updates"), values, strict=True)
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        self.state = {}
        for name, param in self.params.items():
            if f"{name}/mean" in tensors:
                self.state[name] = (
                    tensors[f"{name}/mean"].to(param.device, copy=True),
                    tensors[f"{name}/square"].to(param.device, copy=True),
                    tensors[f"{name}/updates"].to(self._counter_device(param), copy=True),
                )


def learning_rate(step: int, loop: LoopConfig) -> float:
    """Return the learning rate of a step.

    It rises linearly to the peak, then falls as half a cosine to zero at the last step.

    Parameters
    ----------
    step : int
        From 0.
    loop : LoopConfig
        Peak, warm-up and steps.
    """
    if step < loop.warmup_steps:
        return loop.learning_rate * (step + 1) / loop.warmup_steps
    done = (step - loop.warmup_steps) / max(1, loop.n_steps() - loop.warmup_steps)
    return loop.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


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
        """Return the averages for the checkpoint."""
        return self.values | {"/updates": torch.tensor(self.updates)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for name, value in self.values.items():
            value.copy_(tensors[name])
        self.updates = int(tensors["/updates"])

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Give the module the averaged weights in place of its own, while the block runs."""
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
