"""Is this machine fit to run? Each check says what it found and, where something is wrong, what to do."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tabulate import tabulate

from cldtrans.config import Config

FFT_TOLERANCE = 1e-5  # of float32 results against NumPy in float64, relative to the largest value
ADJOINT_TOLERANCE = 1e-4  # of float32 gradients against direct float64 backpropagation on the CPU
GRADIENT_TOLERANCE = 1e-4  # of float32 gradients through the FFT, likewise
BF16_TOLERANCE = 2e-2  # eight bits of mantissa
RANKS_S = 180  # for processes to start, meet and add up
DISK_MB = 64  # that are written and read back
SLOW_MB_S = 50.0
PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "mne", "wfdb", "obstore", "safetensors", "snakemake")


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    status: Literal["OK", "WARN", "FAIL"]
    found: str
    advice: str = ""


def examine(config: Config | None, source_url: str | None = None) -> list[Check]:
    """Run all checks; those of disk and source need a config. `source_url` replaces the config's."""
    checks = [*_guarded("python", python_checks)]
    device: list[Any] = []
    checks += _guarded("torch", lambda: torch_checks(device))
    if device:
        checks += _guarded("fft", lambda: fft_checks(device[0]))
        checks += _guarded("fft gradient", lambda: gradient_checks(device[0]))
        checks += _guarded("adjoint", lambda: adjoint_checks(device[0]))
        checks += _guarded("bf16", lambda: bf16_checks(device[0]))
        checks += _guarded("ranks", lambda: rank_checks(device[0]))
    if config is not None:
        from cldtrans.data.base import scratch_folder

        url = source_url or os.environ.get("CLDTRANS_MIRROR") or config.source.url
        checks += _guarded("disk", lambda: disk_checks(config, url))
        checks += _guarded("scratch", lambda: scratch_checks(scratch_folder(config)))
        checks += _guarded("source", lambda: source_checks(config, url))
    return checks


def python_checks() -> Iterator[Check]:
    """Check interpreter (pip has refused one that is too old) and packages."""
    yield Check("python", "OK", platform.python_version())
    missing = []
    for package in PACKAGES:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        yield Check("packages", "FAIL", f"missing: {', '.join(missing)}", "make setup")
    else:
        yield Check("packages", "OK", f"{len(PACKAGES)} present")


def torch_checks(device: list[Any]) -> Iterator[Check]:
    """Check torch, and the GPUs that it sees; append the device to use to `device`."""
    try:
        import torch
    except ImportError as error:
        yield Check("torch", "FAIL", str(error), "make setup")
        return
    backend = f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
    build = backend if torch.version.hip or torch.version.cuda else "CPU build"
    yield Check("torch", "OK", f"{torch.__version__}, {build}")
    device.append(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        memory = min(item.total_memory for item in names) / 1e9
        yield Check("gpu", "OK", f"{len(names)} x {names[0].name}, {memory:.0f} GB each")
        return
    tool = next((name for name in ("nvidia-smi", "rocm-smi") if shutil.which(name)), None)
    if tool is None:
        yield Check("gpu", "WARN", "none", "training runs on the CPU: enough for the demo, not for the paper")
    elif build == "CPU build":
        advice = "install the torch wheel of this GPU (docs/scale.md)"
        yield Check("gpu", "FAIL", f"{tool} is here, but torch is a CPU build", advice)
    else:
        advice = f"look at `{tool}`, the driver, and CUDA_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES"
        yield Check("gpu", "FAIL", f"{tool} is here, but torch sees no GPU", advice)


def fft_checks(device: Any) -> Iterator[Check]:
    """Compare forward and inverse real FFT on the device with NumPy in float64; then time them."""
    import torch

    rng = np.random.default_rng(0)
    worst = 0.0
    for length in (1600, 1729, 5129, 5000):  # even, odd, prime
        x = rng.standard_normal((4, length))
        spectrum = torch.fft.rfft(torch.tensor(x, dtype=torch.float32, device=device))
        back = torch.fft.irfft(spectrum, n=length).cpu().numpy()
        expected = np.fft.rfft(x)
        forward = np.abs(spectrum.cpu().numpy() - expected).max() / np.abs(expected).max()
        error = float(np.maximum(forward, np.abs(back - x).max() / np.abs(x).max()))
        if not error <= FFT_TOLERANCE:  # also when it is not a number
            advice = "set fft: cpu until the driver or the torch build is replaced"
            yield Check("fft", "FAIL", f"error {error:.1e} at length {length} on {device.type}", advice)
            return
        worst = max(worst, error)
    windows = torch.randn(32, 64, 1600, device=device)
    seconds = _median_s(lambda: torch.fft.irfft(torch.fft.rfft(windows), n=1600), device)
    yield Check("fft", "OK", f"error {worst:.1e}; {32 / seconds:,.0f} windows/s of 64 x 1600, there and back")


def adjoint_checks(device: Any) -> Iterator[Check]:
    """Compare the gradient of a small ODE by the adjoint method on the device with float64 on the CPU."""
    import torch
    from torchdiffeq import odeint, odeint_adjoint

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            self.weight = torch.nn.Parameter(torch.randn(8, 8, generator=generator) / 4)

        def forward(self, t: Any, h: Any) -> Any:
            return torch.tanh(h @ self.weight) - 0.1 * h

    def gradient(solve: Any, where: Any, dtype: Any, method: str) -> np.ndarray:
        field = Field().to(where, dtype)
        start = torch.linspace(-1, 1, 8, dtype=dtype, device=where).expand(4, 8)
        times = torch.linspace(0, 1, 21, dtype=dtype, device=where)
        solve(field, start, times, method=method, rtol=1e-6, atol=1e-6)[-1].square().sum().backward()
        assert field.weight.grad is not None
        return field.weight.grad.double().cpu().numpy()

    reference = gradient(odeint, torch.device("cpu"), torch.float64, "dopri5")
    for method in ("rk4", "dopri5"):
        found = gradient(odeint_adjoint, device, torch.float32, method)
        error = float(np.abs(found - reference).max() / np.abs(reference).max())
        if error <= ADJOINT_TOLERANCE:
            yield Check(f"adjoint {method}", "OK", f"gradient error {error:.1e} on {device.type}")
        else:
            advice = "set model.adjoint to false" + ("" if method == "rk4" else " or model.solver to rk4")
            yield Check(f"adjoint {method}", "FAIL", f"gradient error {error:.1e} on {device.type}", advice)


def gradient_checks(device: Any) -> Iterator[Check]:
    """Compare the gradient of a delayed mixture, through FFT and back, with float64 on the CPU."""
    import torch

    from cldtrans.lag.operator import lagged_mix

    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, 4, 1729)), rng.standard_normal((4, 4)) / 4
    tau = rng.uniform(0.01, 0.2, (4, 4))

    def gradients(where: Any, dtype: Any) -> list[np.ndarray]:
        signals, weights, lags = (
            torch.tensor(value, dtype=dtype, device=where, requires_grad=True) for value in (x, weight, tau)
        )
        lagged_mix(signals, weights, lags, 160.0).square().mean().backward()
        grads = (signals.grad, weights.grad, lags.grad)
        return [grad.double().cpu().numpy() for grad in grads if grad is not None]

    pairs = zip(gradients(device, torch.float32), gradients(torch.device("cpu"), torch.float64), strict=True)
    error = max(float(np.abs(found - right).max() / np.abs(right).max()) for found, right in pairs)
    if error <= GRADIENT_TOLERANCE:
        yield Check("fft gradient", "OK", f"error {error:.1e} on {device.type}, of signals, weights and lags")
    else:
        advice = "set fft: cpu until the driver or the torch build is replaced"
        yield Check("fft gradient", "FAIL", f"error {error:.1e} on {device.type}", advice)


def bf16_checks(device: Any) -> Iterator[Check]:
    """Multiply matrices in bfloat16, as training does, and compare with float64."""
    import torch

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    with torch.autocast(device.type, torch.bfloat16):
        product = a.to(device) @ b.to(device)
    right = a.double() @ b.double()
    error = float((product.double().cpu() - right).abs().max() / right.abs().max())
    if product.dtype == torch.bfloat16 and error <= BF16_TOLERANCE:
        yield Check("bf16", "OK", f"error {error:.1e} of a product of 256 x 256 on {device.type}")
    else:
        found = f"{product.dtype} with error {error:.1e} on {device.type}"
        yield Check("bf16", "FAIL", found, "set loop.precision: float32 until the torch build is replaced")


def rank_checks(device: Any) -> Iterator[Check]:
    """Let one process a GPU (two on a CPU) add up numbers together, as training does."""
    import torch

    on_gpu = device.type == "cuda"
    wanted, procs = ("nccl", torch.cuda.device_count()) if on_gpu else ("gloo", 2)
    if procs < 2:
        yield Check("ranks", "OK", "one GPU: nothing to add up")
        return
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={procs}"]
    command = [sys.executable, *torchrun, "-m", "cldtrans.training.ranks"]
    clean = {
        key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    }
    advice = "see NCCL_DEBUG=INFO; until then train on one device (procs: 1 in the profile)"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RANKS_S, env=clean | {"OMP_NUM_THREADS": "1"}
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        yield Check("ranks", "FAIL", f"{procs} processes with {wanted} did not end in {RANKS_S} s", advice)
        return
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield Check("ranks", "FAIL", f"{procs} processes with {wanted}: {last[:80]}", advice)
        return
    if found["right"] and found["ranks"] == procs:
        yield Check("ranks", "OK", f"all-reduce over {procs} with {wanted}: {found['gb_s']:.1f} GB/s")
    else:
        yield Check("ranks", "FAIL", f"a wrong mean over {found['ranks']} with {wanted}", advice)


def scratch_checks(folder: Path) -> Iterator[Check]:
    """Write and read a file where rolling checkpoints go, and tell how fast that is."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    path = existing / f".doctor-{os.getpid()}.part"
    block = np.random.default_rng(0).bytes(1 << 20)
    try:
        start = time.perf_counter()
        with path.open("wb") as file:
            for _ in range(DISK_MB):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        written = time.perf_counter() - start
        start = time.perf_counter()
        with path.open("rb") as file:
            same = all(file.read(len(block)) == block for _ in range(DISK_MB))
        read = time.perf_counter() - start
    except OSError as error:
        yield Check("scratch", "FAIL", f"{existing}: {error.strerror}", "make room, or choose another folder")
        return
    finally:
        path.unlink(missing_ok=True)
    free = shutil.disk_usage(existing).free / 1e9
    speed = DISK_MB / written
    told = (
        f"{speed:,.0f} MB/s written, {DISK_MB / read:,.0f} MB/s read back, {free:,.1f} GB free at {existing}"
    )
    if not same:
        yield Check("scratch", "FAIL", f"{existing}: read back is not what was written", "replace this disk")
    elif speed < SLOW_MB_S:
        yield Check("scratch", "WARN", told, "checkpoints will hold training up: use a local disk")
    else:
        yield Check("scratch", "OK", told)


def disk_checks(config: Config, url: str) -> Iterator[Check]:
    """Compare the room where recordings, shards and results go with what is still to come."""
    from cldtrans.planning.cost import dataset_cost

    root = Path()
    linked = Path(url).is_dir()  # files of a mirror are linked, not copied
    from cldtrans.data.base import raw_folder

    raw = shards = 0
    for name in config.datasets:
        cost = dataset_cost(config, name, root)
        raw += (
            0
            if linked or (root / f"data/{config.run}/download/{name}.json").exists()
            else cost.download_bytes
        )
        shards += 0 if cost.measured else cost.shard_bytes
    for name, folder, needed in (
        ("raw", raw_folder(config), raw),
        ("shards", root / "data", shards),
        ("results", root / "results", 10**9),
    ):
        existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        found = f"{free / 1e9:,.1f} GB free at {folder}, {needed / 1e9:,.1f} GB to come"
        if not os.access(existing, os.W_OK):
            yield Check(
                f"disk {name}",
                "FAIL",
                f"{existing} is not writable",
                "choose another folder or ask for access",
            )
        elif free < needed:
            yield Check(f"disk {name}", "FAIL", found, f"make room, or put {folder} on a larger disk")
        else:
            yield Check(f"disk {name}", "OK" if free > 1.5 * needed else "WARN", found)


def source_checks(config: Config, url: str) -> Iterator[Check]:
    """Check whether the source answers, and which datasets it has."""
    from cldtrans.data import chosen_dataset
    from cldtrans.data.fetch.sources import Retry, open_source
    from cldtrans.errors import SourceError

    if config.source.miniature is not None and url == config.source.url:
        yield Check("source", "OK", f"embedded miniature ({config.source.miniature}) at {url}")
        return
    try:
        source = open_source(url, config.source.endpoint, Retry(attempts=2, first_s=0.2, longest_s=1.0))
    except SourceError as error:
        yield Check("source", "FAIL", str(error), "set source.url, or CLDTRANS_MIRROR for one call")
        return
    yield Check("source", "OK", url)
    for name in config.datasets:
        dataset = chosen_dataset(name, config.dataset_classes)
        prefix = f"{dataset.slug}/{dataset.version}"
        try:
            size = int(source.sizes(prefix, ["SHA256SUMS.txt"], 1)[0])
        except SourceError as error:
            yield Check("source", "FAIL", str(error), "check the network, a proxy, or source.endpoint")
            return
        if size >= 0:
            yield Check(f"  {name}", "OK", prefix)
        elif config.source.allow_absent:
            yield Check(f"  {name}", "WARN", f"no {prefix}/SHA256SUMS.txt", "the report will say: absent")
        else:
            yield Check(
                f"  {name}",
                "FAIL",
                f"no {prefix}/SHA256SUMS.txt",
                "remove it from datasets, or set source.allow_absent",
            )


def render(checks: list[Check]) -> str:
    """Write the table for a terminal."""
    rows = [(check.status, check.name, check.found, check.advice) for check in checks]
    return tabulate(rows, tablefmt="plain", disable_numparse=True, preserve_whitespace=True) + "\n"


def _guarded(name: str, run: Callable[[], Iterator[Check]]) -> list[Check]:
    """Run a check: one that breaks is a finding, not the end of the report."""
    done: list[Check] = []
    try:
        for check in run():
            done.append(check)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else ""
        done.append(
            Check(name, "FAIL", f"{type(error).__name__}: {first}"[:100], "see the message; report it")
        )
    return done


def _median_s(call: Callable[[], Any], device: Any) -> float:
    import torch

    times = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times)[2]
