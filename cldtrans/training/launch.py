"""Start a command once a GPU under torchrun, where one process is not enough."""

from __future__ import annotations

import os
import subprocess
import sys


def relaunch(procs: int) -> bool:
    """Run this very command in `procs` processes and wait; False inside them and where one is enough.

    Raises
    ------
    SystemExit
        With torchrun's code, if it is not 0.
    """
    if procs <= 1 or "LOCAL_RANK" in os.environ:
        return False
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={procs}"]
    code = subprocess.run([*command, "-m", "cldtrans", *sys.argv[1:]], check=False).returncode
    if code:
        raise SystemExit(code)
    return True
