"""How a network's training is asked for gradients, so that a strategy of the config can take its place.

The strategies themselves stand above, in `cldtrans.training.strategies`; whoever trains gets one as an
argument, or None: the gradient of the whole batch, of every parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from jaxtyping import Float, Shaped
from torch import Tensor, nn


class Tuning(Protocol):
    """A strategy at work on one network.

    Attributes
    ----------
    notes : list of str
        Remarks for the result file.
    """

    notes: list[str]

    def prepare(self, module: nn.Module, heads: Sequence[str]) -> None:
        """Freeze what is not to learn, or add what is to; `heads` are fresh layers by name, which learn."""
        ...

    def backward(
        self,
        module: nn.Module,
        loss: Callable[..., Float[Tensor, ""]],
        rows: Sequence[Shaped[Tensor, "N ..."]],
        step: int,
        rate: float,
    ) -> Float[Tensor, ""]:
        """Set the gradients of one step, or take the step, and return the loss, without a graph.

        Parameters
        ----------
        module : Module
            As prepared.
        loss : callable
            `loss(*rows)`, the mean over rows.
        rows : sequence of tensors [N, ...]
            The step's batch.
        step : int
            Its number, from which whatever is random follows.
        rate : float
            The step's learning rate, for a strategy that steps by itself and leaves no gradient.
        """
        ...

    def finish(self, module: nn.Module) -> None:
        """Leave nothing behind that using the network would cost."""
        ...

    def costs(self) -> dict[str, float]:
        """Return what a step took: `step_saved_bytes` of autograd, `step_ms`, `trained_parameters`."""
        ...
