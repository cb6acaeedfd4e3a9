"""Do several processes add up numbers right, and how fast? Run under torchrun, one process a GPU or a core.

    torchrun --standalone --nproc-per-node=8 -m cldtrans.training.ranks

prints one line of JSON: `ranks`, `right`, `gb_s` (bytes of the buffer by the time of an all-reduce).
"""

from __future__ import annotations

import json
import time

import torch

from cldtrans.machine import rank, world_size
from cldtrans.training import distributed

REPEATS = 5


def main() -> None:
    """Average a buffer over all ranks, check it and time it."""
    with distributed.process_group() as device:
        n = 1 << (25 if device.type == "cuda" else 18)
        expected = (world_size() + 1) / 2
        right, times = True, []
        for _ in range(REPEATS):
            buffer = torch.full((n,), float(rank() + 1), device=device)
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            buffer = distributed.mean_over_ranks(buffer)
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
            right = right and bool((buffer == expected).all())
        if distributed.is_main():
            gb_s = buffer.numel() * buffer.element_size() / min(times) / 1e9
            found = {"ranks": world_size(), "right": right, "gb_s": gb_s}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
