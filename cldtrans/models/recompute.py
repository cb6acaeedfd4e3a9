"""Functions whose inner results are made again in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def recomputed(
    function: Callable[[Tensor], Tensor], x: Tensor, rows: int, weights: Iterable[nn.Parameter]
) -> Tensor:
    """Compute `function(x)` so that its inner results are made again in the backward pass.

    The function treats each row of x by itself; on a CPU, `rows` of them at a time. Inner results of few rows
    stay in a core's cache, so that making them again costs little more than reading them back, and memory
    holds no others. A GPU has the memory, and its launches are what costs.

    Parameters
    ----------
    function : callable
        From a tensor to a tensor, row by row.
    x : tensor [N, ...]
        Its argument.
    rows : int
        How many at a time.
    weights : iterable of Parameter
        Those that the function has.
    """
    if x.device.type != "cpu":
        return function(x)
    return _Recomputed.apply(function, rows, x, *weights)


class _Recomputed(torch.autograd.Function):
    """Stands in place of torch.utils.checkpoint, which imports the compiler: 2 s and 80 MB in every job."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[[Tensor], Tensor], rows: int, x: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.function, ctx.rows = function, rows
        ctx.autocast = torch.autocast(
            "cpu", torch.get_autocast_dtype("cpu"), enabled=torch.is_autocast_enabled("cpu")
        )
        ctx.save_for_backward(x, *weights)
        return torch.cat([function(part) for part in x.split(rows)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, *weights = ctx.saved_tensors
        wants_x, *wanted = ctx.needs_input_grad[2:]
        grad_x = torch.empty_like(x) if wants_x else None
        sums: list[Tensor | None] = [None] * len(weights)
        wanted = [k for k, wants in enumerate(wanted) if wants]
        for first in range(0, len(x), ctx.rows):
            part = slice(first, first + ctx.rows)
            with torch.enable_grad(), ctx.autocast:
                inner = x[part].detach().requires_grad_(wants_x)
                # A number, not y with its gradient: torch imports sympy to compare their shapes.
                y = (ctx.function(inner) * grad[part]).sum()
            inputs = [inner] * wants_x + [weights[k] for k in wanted]
            found = list(torch.autograd.grad(y, inputs, allow_unused=True))
            if grad_x is not None:
                grad_x[part] = found.pop(0)
            for k, value in zip(wanted, found, strict=True):
                before = sums[k]
                sums[k] = value if before is None else before + value
        return None, None, grad_x, *sums
