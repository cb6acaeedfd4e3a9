"""The gradient of a batch from a few rows at a time: exact, and no more memory than those rows need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

Loss = Callable[..., Tensor]


def accumulate(
    loss: Loss, batch: Sequence[Shaped[Tensor, "N ..."]], parameters: Sequence[nn.Parameter], rows: int
) -> tuple[Float[Tensor, ""], list[Float[Tensor, ...]]]:
    """Compute the gradient of a batch's mean loss, `rows` rows at a time.

    It is the whole batch's where a row's loss does not depend on the other rows: batch normalisation has to
    be in its evaluation mode (`fusion.frozen_statistics`).

    Parameters
    ----------
    loss : callable
        `loss(*rows)`, the mean over rows.
    batch : sequence of tensors [N, ...]
        Its arguments, of N rows.
    parameters : sequence of Parameter
        With respect to which.
    rows : int
        How many at a time; the last time, those that are left.

    Returns
    -------
    value : tensor []
        The batch's mean loss, without a graph.
    gradient : list of tensors
        One a parameter; zero where the loss does not depend on it. `grad` of the parameters stays as it is.
    """
    value: Tensor | None = None
    gradient: list[Tensor] = []
    for part, share in _parts(batch, rows):
        weighted = share * loss(*part)
        found = torch.autograd.grad(weighted, parameters, allow_unused=True, materialize_grads=True)
        value = weighted.detach() if value is None else value + weighted.detach()
        if gradient:
            for total, more in zip(gradient, found, strict=True):
                total.add_(more)
        else:
            gradient = [more.clone() for more in found]  # autograd may give two parameters one tensor
    assert value is not None
    return value, gradient


@torch.no_grad()
def mean_loss(loss: Loss, batch: Sequence[Shaped[Tensor, "N ..."]], rows: int) -> Float[Tensor, ""]:
    """Compute a batch's mean loss as `accumulate` does, without a gradient."""
    return torch.stack([share * loss(*part) for part, share in _parts(batch, rows)]).sum()


def _parts(batch: Sequence[Tensor], rows: int) -> Iterator[tuple[list[Tensor], float]]:
    """Yield `rows` rows of the batch and their share of all."""
    n = len(batch[0])
    if n == 0 or rows < 1 or any(len(tensor) != n for tensor in batch):
        raise ValueError(
            f"expected tensors of one number of rows, taken one or more at a time; found "
            f"{', '.join(str(len(tensor)) for tensor in batch)} rows, {rows} at a time"
        )
    for first in range(0, n, rows):
        part = [tensor[first : first + rows] for tensor in batch]
        yield part, len(part[0]) / n
