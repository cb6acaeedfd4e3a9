"""`lagged_mix` against the dense pairwise FFT operator, side by side in one run.

    .venv/bin/python benchmarks/lagged_mix.py [--threads 2] [--write]

Prints agreement of outputs and gradients, times of forward + backward (in turns, medians), and at the
largest shape peak memory above the inputs, each side in its own process. For timing, the dense operator takes
as many windows at once as fit 1 GB of pairs, which is faster for it than all at once; its peak memory is that
of the whole batch (several GB). Exits with 1 where a bar is missed. Takes some minutes; Linux only (/proc).
"""

import argparse
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from report import add_write_option, publish
from torch import Tensor
from tqdm import tqdm

from cldtrans.lag import lagged_mix

RATE_HZ = 160.0
MAX_LAG_S = 0.1
DENSE_BYTES_AT_ONCE = 1e9
LARGEST = (32, 64, 1600, 1)
SHAPES = [
    (1, 12, 5000, 1),
    (1, 4, 256, 1),
    (2, 64, 1600, 1),
    (1, 23, 2560, 4),
    (1, 64, 100, 64),
    (8, 64, 100, 128),
]
SPEED_BAR, MEMORY_BAR = 20.0, 12.0
AGREEMENT = {torch.float32: 1e-4, torch.float64: 1e-9}
Operator = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def dense_mix(x: Tensor, weight: Tensor, tau: Tensor, sample_rate: float) -> Tensor:
    """Compute the same with all C x C delayed signals materialised, differentiated by autograd."""
    n_samples = x.shape[2]
    n = n_samples + 2 * (math.ceil(float(tau.detach().abs().max()) * sample_rate) + 64)
    spectrum = torch.fft.rfft(x, n, dim=2)[:, None]
    frequency = torch.fft.rfftfreq(n, 1 / sample_rate, dtype=tau.dtype)
    phase = torch.exp(-2j * math.pi * frequency * tau[..., None])[..., None]  # [(B,) C, C, bins, 1]
    pairs = torch.fft.irfft(phase * spectrum, n, dim=3)[:, :, :, :n_samples]  # [B, C, C, T, D]
    return (weight[..., None, None] * pairs).sum(2)


def make_inputs(
    shape: tuple[int, int, int, int], per_window: bool, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw x [B, C, T, D], weight, tau, and a cotangent."""
    generator = torch.Generator().manual_seed(0)
    b, c = shape[:2]
    matrix = (b, c, c) if per_window else (c, c)
    x, cotangent = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
    weight = torch.randn(matrix, generator=generator, dtype=dtype)
    tau = torch.rand(matrix, generator=generator, dtype=dtype) * MAX_LAG_S
    return x.requires_grad_(), weight.requires_grad_(), tau.requires_grad_(), cotangent


def forward_backward(
    operator: Operator, x: Tensor, weight: Tensor, tau: Tensor, cotangent: Tensor
) -> list[Tensor]:
    """Return the output and the gradients of x, weight and tau."""
    output = operator(x, weight, tau, RATE_HZ)
    return [output.detach(), *torch.autograd.grad(output, (x, weight, tau), cotangent)]


def dense_in_chunks(x: Tensor, weight: Tensor, tau: Tensor, cotangent: Tensor) -> None:
    """Run the dense operator forward and backward, some windows at a time."""
    b, c, t, d = x.shape
    at_once = max(1, int(DENSE_BYTES_AT_ONCE / (c * c * d * (t + 160) * 4)))
    for start in range(0, b, at_once):
        part = slice(start, start + at_once)
        some_weight, some_tau = (v if v.ndim == 2 else v[part] for v in (weight, tau))
        forward_backward(dense_mix, x[part], some_weight, some_tau, cotangent[part])


def disagreement(shape: tuple[int, int, int, int], per_window: bool, dtype: torch.dtype) -> float:
    """Return the largest relative error (2-norm) among the output and the three gradients."""
    inputs = make_inputs(shape, per_window, dtype)
    pairs = zip(forward_backward(lagged_mix, *inputs), forward_backward(dense_mix, *inputs), strict=True)
    return max(float(torch.linalg.norm(a - b) / torch.linalg.norm(b)) for a, b in pairs)


def time_both(shape: tuple[int, int, int, int], per_window: bool, budget_s: float) -> tuple[float, float]:
    """Return median seconds of lagged_mix and of the dense operator, called in turns for about `budget_s`."""
    inputs = make_inputs(shape, per_window)
    calls = [lambda: forward_backward(lagged_mix, *inputs), lambda: dense_in_chunks(*inputs)]
    calls[0]()  # first calls make plans and tables
    if math.prod(shape) * shape[1] < 1e7:
        calls[1]()
    seconds: list[list[float]] = [[], []]
    begin = time.perf_counter()
    while not seconds[0] or (time.perf_counter() - begin < budget_s and len(seconds[0]) < 1000):
        for call, times in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def peak_memory(name: str, shape: tuple[int, int, int, int], threads: int) -> float:
    """Return the bytes above the inputs that one forward + backward needs; in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_peak, (name, shape, threads))


def _measure_peak(name: str, shape: tuple[int, int, int, int], threads: int) -> float:
    torch.set_num_threads(threads)
    operator = {"lagged_mix": lagged_mix, "dense": dense_mix}[name]
    forward_backward(
        operator, *make_inputs((1, 4, 64, 1), False)
    )  # code and workspaces are not the operator's
    inputs = make_inputs(shape, False)
    resident = _kilobytes("VmRSS")
    forward_backward(operator, *inputs)
    return (_kilobytes("VmHWM") - resident) * 1024


def _kilobytes(entry: str) -> int:
    """Read a number of this process; VmHWM, unlike ru_maxrss, starts afresh with the program."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(entry)).split()[1])


def _row(shape: tuple[int, ...], lags: str, ours: float, dense: float) -> dict[str, str]:
    return {
        "B, C, T, D": ", ".join(map(str, shape)),
        "lags": lags,
        "lagged_mix, ms": f"{ours * 1e3:.3f}",
        "dense": f"{dense * 1e3:.3f}",
        "ratio": f"{dense / ours:.1f}",
    }


def main() -> int:
    """Compare at every shape; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description="lagged_mix against the dense pairwise FFT operator")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    add_write_option(parser)
    args = parser.parse_args()
    threads = args.threads
    torch.set_num_threads(threads)
    missed = []
    rows = []
    cases = [(shape, per_window) for shape in SHAPES for per_window in (False, True)]
    for shape, per_window in tqdm(cases, disable=None):
        for dtype, bar in AGREEMENT.items():
            # The dense operator's memory limits what float64 can be compared on.
            b, c, t, d = shape
            compared = (min(b, 2), c, t, min(d, 4))
            error = disagreement(compared, per_window, dtype)
            if error > bar:
                missed.append(f"{compared} {dtype}: relative error {error:.2g}, bar {bar:g}")
        ours, dense = time_both(shape, per_window, budget_s=4.0)
        lags = "[B,C,C]" if per_window else "[C,C]"
        rows.append(_row(shape, lags, ours, dense))
        if dense < ours:
            missed.append(f"{shape} {lags}: slower than dense")
    ours, dense = time_both(LARGEST, False, budget_s=30.0)
    rows.append(_row(LARGEST, "[C,C]", ours, dense))
    if dense < SPEED_BAR * ours:
        missed.append(f"{LARGEST}: {dense / ours:.1f} x faster, bar {SPEED_BAR:g}")
    memory = {name: peak_memory(name, LARGEST, threads) for name in ("lagged_mix", "dense")}
    ratio = memory["dense"] / memory["lagged_mix"]
    if ratio < MEMORY_BAR:
        missed.append(f"{LARGEST}: {ratio:.1f} x less memory, bar {MEMORY_BAR:g}")
    agreement = (
        "outputs and gradients agree to "
        + ", ".join(f"{bar:g} ({str(dtype).removeprefix('torch.')})" for dtype, bar in AGREEMENT.items())
        if not any("relative error" in line for line in missed)
        else "outputs or gradients differ"
    )
    remark = (
        f"Peak memory above the inputs at {LARGEST}: lagged_mix {memory['lagged_mix'] / 1e6:.0f} MB, "
        f"dense {memory['dense'] / 1e6:.0f} MB, {ratio:.1f} x less; {agreement}."
    )
    publish("operator", pd.DataFrame(rows), args.write, remark)
    for line in missed:
        print("MISSED", line)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
