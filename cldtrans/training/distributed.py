"""Data-parallel training: the only file that touches torch.distributed.

The same command runs on one process or many; the launcher's environment decides:

    python -m cldtrans train-stage1 ...                                   # one process
    torchrun --standalone --nproc-per-node=8 -m cldtrans train-stage1 ... # one node
    torchrun --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint=HOST:29400 -m cldtrans ...

Backend: NCCL on GPUs (on ROCm torch's "nccl" is RCCL), gloo on the CPU.

Gradients are averaged by one all-reduce of a flat buffer after the last micro-batch, not by
DistributedDataParallel: the model has few parameters, so there is next to nothing to overlap with the
backward pass, while batches of one corpus leave the parts made for others without gradients, the adjoint ODE
calls autograd inside backward, and one collective a step at a fixed place cannot get out of order. All
functions are no-ops in a single process.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cldtrans.machine import rank, unflatten, world_size

TIMEOUT = datetime.timedelta(
    hours=1
)  # a rank may wait while another one writes a checkpoint or reads a cold disk


@contextmanager
def process_group() -> Iterator[torch.device]:
    """Join the ranks that the launcher's environment names (if any) and yield this rank's device."""
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield device
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT, device_id=device if backend == "nccl" else None)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


def is_main() -> bool:
    """Tell whether this is the rank that writes files and prints."""
    return rank() == 0


def barrier() -> None:
    """Wait for all ranks."""
    if _active():
        dist.barrier()


def broadcast_(*tensors: Tensor) -> None:
    """Replace the tensors of every rank by rank 0's, in place."""
    if _active():
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0)


def broadcast_module(module: nn.Module) -> None:
    """Give every rank rank 0's parameters and buffers."""
    broadcast_(*module.state_dict(keep_vars=True).values())


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks; a parameter that no rank used keeps none."""
    if not _active():
        return
    params = list(parameters)
    used = [0.0 if param.grad is None else 1.0 for param in params]
    grads = [torch.zeros_like(param) if param.grad is None else param.grad for param in params]
    flat = torch.cat([grad.reshape(-1) for grad in grads] + [grads[0].new_tensor(used)])
    dist.all_reduce(flat)
    anywhere = flat[-len(params) :].tolist()
    flat /= world_size()
    unflatten(flat, grads)
    for param, grad, count in zip(params, grads, anywhere, strict=True):
        if count and param.grad is None:
            param.grad = grad


def mean_over_ranks(values: Tensor) -> Tensor:
    """Average over the ranks, element by element; the same bits on each rank."""
    if not _active():
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values / world_size()


def from_main(values: list[float], device: torch.device) -> list[float]:
    """Return rank 0's numbers on every rank; every rank passes a list of the same length."""
    if not _active():
        return values
    packed = torch.tensor(values, dtype=torch.float64, device=device)
    dist.broadcast(packed, src=0)
    return packed.tolist()
