"""One number of threads for BLAS and torch: it is part of a CPU result's last bits."""

from __future__ import annotations

import sys

from threadpoolctl import threadpool_limits


def limit_threads(threads: int) -> None:
    """Set the threads of every numerical library loaded so far."""
    threadpool_limits(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
