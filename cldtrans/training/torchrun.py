"""Start a command several times under torchrun: once a GPU, or once a core where there is none."""

from __future__ import annotations

import os
import sys


def relaunch(procs: int) -> None:
    """Become torchrun, which runs this very command in `procs` processes; do nothing inside them or for one.

    Where there are GPUs, at most one process each.

    The process is replaced, not kept waiting: a signal (Slurm's SIGTERM before it takes the node away)
    reaches torchrun, which hands it to the workers.
    """
    if procs <= 1 or "LOCAL_RANK" in os.environ:
        return
    import torch

    procs = min(procs, torch.cuda.device_count() or procs)
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={procs}"]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", "cldtrans", *sys.argv[1:]])
