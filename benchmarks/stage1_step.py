"""Time and memory of a stage-1 step, beside a dense formulation of the same model.

    python benchmarks/stage1_step.py                 # ours and dense, 64 x 1600, four windows a step
    python benchmarks/stage1_step.py --batch 1 --steps 16    # one window a step
    python benchmarks/stage1_step.py --processes 2   # on two cores as training uses them, a process a core
    python benchmarks/stage1_step.py --ways ours --batch 256 --micro 32 --precision bf16   # on a GPU

The dense formulation is what public code for this model does: every pair's delayed signal is materialised
(C x C x T), and a small network scores every pair at every patch from both latents (C x C x L x 2D). Encoder,
codebook, decoder and reconstruction loss have the sizes of ours. Each way runs in a process of its own, or in
several at the same time, each with its own windows; memory is the peak above what a process held before its
first step, time that of the slowest. Processor time is printed beside the clock's, because the clock means
little on a machine that does other work. `cldtrans estimate --step-ms` takes the time of a step.

Of one window in sixteen training also looks at the later half by itself: steps differ, and sixteen windows
are the least to measure.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from report import add_write_option, publish
from torch import Tensor, nn

from cldtrans.config import load_any, resized
from cldtrans.models.cldtrans import CLDTrans
from cldtrans.training.loop import run_training
from cldtrans.training.stage1 import Objective

PATCH = 10  # samples of a motif, as in our model for EEG
RATE_HZ, TAU_MAX_S = 160.0, 0.3
BASE = Path(__file__).resolve().parent.parent / "config" / "config.yaml"


class Noise:
    """A corpus of coloured noise: a step's cost does not depend on the signal."""

    name, modality, rate_hz = "noise", "eeg", RATE_HZ

    def __init__(self, channels: int, samples: int):
        self.shape = (channels, samples)

    def __len__(self) -> int:
        return 1 << 20

    def load(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw windows `x` [B, C, T] and `mask` [B, C]."""
        x = np.cumsum(rng.standard_normal((len(rows), *self.shape), dtype=np.float32), axis=2)
        return {"x": x - x.mean(2, keepdims=True), "mask": np.ones((len(rows), self.shape[0]), dtype=bool)}


class Clock:
    """Time between steps; the first two warm up."""

    def __init__(self, device: torch.device):
        self.device = device
        self.wall: list[float] = []
        self.processor: list[float] = []

    def tick(self) -> None:
        """Note that a step has ended."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.wall.append(1e3 * time.perf_counter())
        self.processor.append(1e3 * time.process_time())

    def result(self) -> dict[str, float]:
        """Return means in milliseconds: not all steps cost the same."""
        wall, processor = (float(np.diff(times[2:]).mean()) for times in (self.wall, self.processor))
        return {"step_ms": wall, "processor_ms": processor}


class Dense(nn.Module):
    """Every delayed pair and every pair's patches, all at once."""

    def __init__(self, channels: int, width: int, codes: int):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, width, PATCH, PATCH), nn.GELU(), nn.Conv1d(width, width, 1))
        self.codebook = nn.Parameter(torch.randn(codes, width))
        self.decoder = nn.ConvTranspose1d(width, 1, PATCH, PATCH)
        self.score = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))
        self.weight = nn.Parameter(0.01 * torch.randn(channels, channels))
        self.tau = nn.Parameter(TAU_MAX_S * torch.rand(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the loss of windows [B, C, T]."""
        n_windows, n_channels, n_samples = x.shape
        latent = self.encoder(x.reshape(-1, 1, n_samples)).transpose(1, 2)  # [BC, L, D]
        nearest = torch.cdist(latent.reshape(-1, latent.shape[-1]), self.codebook).argmin(1)
        code = self.codebook[nearest].view_as(latent)
        quantised = latent + (code - latent).detach()
        y = self.decoder(quantised.transpose(1, 2)).view(n_windows, n_channels, -1)[..., :n_samples]
        z = latent.view(n_windows, n_channels, -1, latent.shape[-1])
        pairs = (n_windows, n_channels, n_channels, *z.shape[2:])
        both = torch.cat([z[:, :, None].expand(pairs), z[:, None].expand(pairs)], -1)  # [B, C, C, L, 2D]
        edge = torch.sigmoid(self.score(both)).mean((3, 4))  # [B, C, C]
        spectrum = torch.fft.rfft(x)
        frequency = torch.fft.rfftfreq(n_samples, 1 / RATE_HZ, device=x.device)
        phase = torch.exp(-2j * torch.pi * frequency * self.tau[..., None])
        delayed = torch.fft.irfft(spectrum[:, None] * phase, n=n_samples)  # [B, C, C, T]
        mixed = ((edge * self.weight)[..., None] * delayed).sum(2)
        terms = [(y - x[..., : y.shape[-1]]).square(), (x - mixed).abs(), (latent - code.detach()).square()]
        return torch.stack([term.mean() for term in terms]).sum() + edge.mean()


def ours(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Time the step that training takes, by the training loop itself."""
    config = resized(load_any([BASE]), args.size)
    changes = {"width": args.width, "codebook_size": args.codes} if args.size == "S" else {}
    torch.manual_seed(0)
    model = CLDTrans(config.model.model_copy(update=changes))
    loop = config.loop.model_copy(
        update={
            "steps": args.steps + 3,
            "batch_size": args.batch,
            "micro_batch": min(args.micro or args.batch, args.batch),
            "precision": args.precision,
            "checkpoint_every": 10**9,
            "compile": args.compile,
            "num_workers": 2 if device.type == "cuda" else 0,
        }
    )
    clock = Clock(device)

    def step_end(module: nn.Module) -> None:
        module.update_codebooks()  # type: ignore[operator]
        clock.tick()

    result = run_training(
        model,
        Objective(config.stage1),
        [Noise(args.channels, args.samples)],
        loop,
        seed=0,
        device=device,
        step_end=step_end,
        name="ours",
    )
    return clock.result() | {"parameters": result.parameters}


def dense(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Time a plain loop around the dense formulation."""
    torch.manual_seed(0)
    model = Dense(args.channels, args.width, args.codes).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    corpus, rng, clock = Noise(args.channels, args.samples), np.random.default_rng(0), Clock(device)
    for _ in range(args.steps + 3):
        x = torch.from_numpy(corpus.load(np.arange(args.batch), rng)["x"]).to(device)
        optimiser.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16"):
            loss = model(x)
        loss.backward()
        optimiser.step()
        clock.tick()
    return clock.result() | {"parameters": sum(param.numel() for param in model.parameters())}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure one way, in this process."""
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {"ours": ours, "dense": dense}[args.measure](args, device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    name = (
        torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    )
    return result | {"peak_bytes": peak, "device": name}


def main() -> None:
    """Measure every way, each in processes of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", nargs="+", choices=("ours", "dense"), default=["ours", "dense"])
    parser.add_argument("--measure", choices=("ours", "dense"), help=argparse.SUPPRESS)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--samples", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=4, help="windows a step")
    parser.add_argument("--micro", type=int, help="windows in memory at once (default: the batch)")
    parser.add_argument("--size", default="S", help="of our network, one of the config's `sizes`")
    parser.add_argument("--width", type=int, default=128, help="of dense, and of ours of size S")
    parser.add_argument("--codes", type=int, default=512)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of a process")
    parser.add_argument("--processes", type=int, default=1, help="side by side, each with --batch windows")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    add_write_option(parser)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    rows = []
    found: dict[str, dict[str, Any]] = {}
    for way in args.ways:
        child = [sys.executable, __file__, *sys.argv[1:], "--measure", way]
        running = [subprocess.Popen(child, stdout=subprocess.PIPE, text=True) for _ in range(args.processes)]
        printed = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise SystemExit(f"{way}: failed, see above")
        results = [json.loads(text.splitlines()[-1]) for text in printed]
        found[way] = r = max(results, key=lambda result: result["step_ms"])
        pace = 1e3 * args.batch * args.processes / r["step_ms"]
        memory = r["peak_bytes"] / args.batch / 1e6
        rows.append(
            {
                "way": way,
                "ms a step": f"{r['step_ms']:.1f}",
                "of CPU": f"{r['processor_ms']:.1f}",
                "windows/s": f"{pace:.1f}",
                "MB a window": f"{memory:.1f}",
                "parameters": f"{r['parameters']:,}",
                "device": r["device"],
            }
        )
    remark = (
        f"Windows a step, channels, samples: {args.batch} x {args.channels} x {args.samples}, codebook "
        f"{args.codes} x {args.width}, {args.precision}, "
        f"{args.processes} process(es) of {args.threads} thread(s)."
    )
    if len(found) == 2:
        keys = ("step_ms", "processor_ms", "peak_bytes")
        clock, processor, memory = (found["dense"][key] / found["ours"][key] for key in keys)
        remark += f" Dense / ours: time {clock:.1f}, processor time {processor:.1f}, memory {memory:.1f}."
    publish("stage1-step", pd.DataFrame(rows), args.write, remark)


if __name__ == "__main__":
    main()
