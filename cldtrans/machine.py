"""What a process computes on: device, threads, freed memory, ranks that train together."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def best_device() -> torch.device:
    """Return the GPU, where there is one: for a model used outside training with several processes."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def limit_threads(threads: int) -> None:
    """Set the threads of every numerical library loaded so far: they are part of a CPU result's last bits."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


@contextlib.contextmanager
def threads_of(threads: int) -> Iterator[None]:
    """Let numerical libraries use so many threads while the block runs, and as many as before afterwards.

    Beside other work many threads are slower than one, often by far: each waits for the slowest.
    """
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    try:
        if torch is not None:
            torch.set_num_threads(threads)
        with threadpool_limits(threads):
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)


@cache
def keep_freed_memory() -> None:
    """Let this process hold on to large arrays' memory (glibc; elsewhere nothing happens).

    glibc returns every array above 32 MB to the system and takes fresh pages for the next: in a step that
    treats one recording after another, of one size, that costs an eighth of the time. The peak stays.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def rank() -> int:
    """Return the number of this process among those that train together, 0 in a single one."""
    import torch.distributed as dist

    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """Return how many processes train together."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_reduce_sum_(*tensors: torch.Tensor) -> None:
    """Add the tensors of all ranks, in place, in one collective; same shapes on every rank, no gradient.

    For codebook statistics: `all_reduce_sum_(counts, sums)` before they enter the moving average makes the
    codebook that of the joint batch, identical on all ranks.
    """
    import torch
    import torch.distributed as dist

    if world_size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.detach().reshape(-1).to(tensors[0].dtype) for tensor in tensors])
    dist.all_reduce(flat)
    unflatten(flat, tensors)


def unflatten(flat: torch.Tensor, tensors: Iterable[torch.Tensor]) -> None:
    """Copy the parts of a flat buffer into the tensors that it was made of.

    Parameters
    ----------
    flat : tensor [n]
        The tensors' elements, one tensor after another.
    tensors : iterable of tensors
        Written in place; n elements together.
    """
    start = 0
    for tensor in tensors:
        tensor.detach().copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()
