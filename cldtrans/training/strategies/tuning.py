"""The strategies by which the config says that a network is fine-tuned, on any module and in any loop.

full         the gradient of the whole batch, of every parameter
head         of the fresh layers alone
lora         of the fresh layers, and of low-rank additions to all others (`lora`)
accumulate   of the whole batch, `micro_batch` windows at a time (`accumulate`)
fusion       of `micro_batch` windows, joined with a slope of the whole batch (`fusion`)
mezo         none: a step along a random direction (`spsa.mezo`)

Each of those with a gradient may prune it (`prune`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from cldtrans.config import FinetuneConfig
from cldtrans.errors import ConfigError
from cldtrans.training.strategies.accumulate import accumulate
from cldtrans.training.strategies.fusion import frozen_statistics, fusion
from cldtrans.training.strategies.lora import add_adapters, merge_adapters
from cldtrans.training.strategies.memory import saved_bytes
from cldtrans.training.strategies.prune import prune
from cldtrans.training.strategies.spsa import Perturbation, mezo

FEW_ROWS = ("accumulate", "fusion")
FROZEN = ("head", "lora")


class FineTuning:
    """A strategy at work on one network; satisfies `cldtrans.methods.tuning.Tuning`.

    Parameters
    ----------
    settings : FinetuneConfig
        Of the method.
    seed : int
        Of directions and masks.
    """

    def __init__(self, settings: FinetuneConfig, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.notes: list[str] = []
        self._seconds: list[float] = []
        self._saved: int | None = None
        self._trained = 0

    def prepare(self, module: nn.Module, heads: Sequence[str]) -> None:
        """Freeze all but the fresh layers for `head` and `lora`, and add the latter's adapters."""
        strategy = self.settings.strategy
        if strategy in FROZEN:
            module.requires_grad_(False)
            if strategy == "lora":
                add_adapters(module, self.settings.rank, heads)
            for head in heads:
                module.get_submodule(head).requires_grad_(True)
        if strategy in FEW_ROWS and any(isinstance(layer, _NormBase) for layer in module.modules()):
            self.notes.append(
                f"batch normalisation takes its statistics of {self.settings.micro_batch} windows at a time: "
                "the gradient is not exactly the batch's"
            )
        self._trained = sum(p.numel() for p in module.parameters() if p.requires_grad)

    def backward(
        self,
        module: nn.Module,
        loss: Callable[..., Tensor],
        rows: Sequence[Tensor],
        step: int,
        rate: float,
    ) -> Tensor:
        """Set the gradients of one step, or take the step (`mezo`); return the loss.

        Raises
        ------
        ConfigError
            For a network that reads something else than tensors of a row each.
        """
        if not all(isinstance(tensor, Tensor) for tensor in rows):
            raise ConfigError(
                f"finetune.strategy {self.settings.strategy}: expected a network that reads windows, found "
                "one that reads sequences of them; leave finetune out"
            )
        begin = time.perf_counter()
        if self._saved is None:
            with saved_bytes([*module.parameters(), *module.buffers(), *rows]) as counted:
                value = self._backward(module, loss, rows, step, rate)
            self._saved = counted.peak
        else:
            value = self._backward(module, loss, rows, step, rate)
            if value.device.type == "cuda":
                torch.cuda.synchronize(value.device)
            self._seconds.append(time.perf_counter() - begin)  # the first step counts bytes, too
        return value

    def finish(self, module: nn.Module) -> None:
        """Add the adapters of `lora` to the weights."""
        if self.settings.strategy == "lora":
            merge_adapters(module)

    def costs(self) -> dict[str, float]:
        """Return bytes that autograd held at most in a step, the median time of its gradient, and so on."""
        found: dict[str, float] = {"trained_parameters": self._trained}
        if self._saved is not None:
            found["step_saved_bytes"] = self._saved
        if self._seconds:
            found["step_ms"] = 1e3 * float(np.median(self._seconds))
        return found

    def _backward(
        self, module: nn.Module, loss: Callable[..., Tensor], rows: Sequence[Tensor], step: int, rate: float
    ) -> Tensor:
        settings = self.settings
        learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
        direction = Perturbation(int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0]))
        if settings.strategy in ("fusion", "mezo"):
            direction = Perturbation(direction.seed, settings.sparsity)
        if settings.strategy == "mezo":
            for parameter in learned:
                parameter.grad = None  # so that the loop's optimiser leaves them where they are
            with frozen_statistics(module):
                found = mezo(lambda: loss(*rows), learned, direction, settings.scale, rate)
            return torch.tensor(found.loss, device=learned[0].device)
        size = settings.micro_batch if settings.strategy in FEW_ROWS else len(rows[0])
        if settings.strategy == "fusion":
            few = [tensor[:size] for tensor in rows]
            value, gradient = fusion(
                loss,
                module,
                few,
                rows,
                share=settings.share,
                perturbation=direction,
                scale=settings.scale,
                rows=size,
            )
        elif settings.strategy in FROZEN:
            with frozen_statistics(module):
                value, gradient = accumulate(loss, rows, learned, size)
        else:
            value, gradient = accumulate(loss, rows, learned, size)
        if settings.prune is not None:
            prune(gradient, settings.prune.keep, settings.prune.by, direction.seed)
        for parameter, found_gradient in zip(learned, gradient, strict=True):
            parameter.grad = found_gradient
        return value
