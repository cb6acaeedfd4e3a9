"""A forward pass with one thread and with torch's default, on an idle machine and beside other work.

    python benchmarks/threads.py [--load 4]

Prints medians in seconds. Load: so many processes that multiply matrices.
"""

import argparse
import multiprocessing
import os
import statistics
import time

import numpy as np


def busy() -> None:
    """Multiply matrices until ended."""
    x = np.random.default_rng(0).standard_normal((800, 800))
    while True:
        x = np.tanh(x @ x.T)


def seconds(threads: int, repeats: int) -> float:
    """Time forward passes of one 10-s window of 18 channels."""
    import torch

    from cldtrans import CLDTrans
    from cldtrans.config import load_any
    from cldtrans.machine import threads_of

    torch.manual_seed(0)
    model, x = CLDTrans(load_any([]).model).eval(), torch.randn(1, 18, 1600)
    taken = []
    with threads_of(threads), torch.inference_mode():
        for _ in range(repeats + 1):
            began = time.perf_counter()
            model(x, 160.0, modality="eeg")
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])  # the first one warms up


def main() -> None:
    """Measure the four cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--load", type=int, default=2 * (os.cpu_count() or 1), help="busy processes")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print("other work  threads  seconds")
    for load in (0, args.load):
        others = [multiprocessing.Process(target=busy, daemon=True) for _ in range(load)]
        for process in others:
            process.start()
        for threads in (1, os.cpu_count() or 1):
            print(f"{load:10d}  {threads:7d}  {seconds(threads, args.repeats):7.2f}", flush=True)
        for process in others:
            process.terminate()


if __name__ == "__main__":
    main()
