"""Optimiser, codebook and training loop against their library counterparts, side by side.

    python benchmarks/training_parts.py [--rounds 20] [--write]

The optimiser has the parameters of the model in config/config.yaml and random gradients; its first step is
taken in a process of its own, which every short job is. The codebook looks up, backpropagates through and
follows four windows' latents (64 channels, 10 s); beside it the same of cdist, argmin and autograd, and
`vector_quantize_pytorch.VectorQuantize`, where that package is installed (it is needed for nothing else). The
loop trains a small network on windows in memory: what a step costs beside the network itself, against a plain
loop over torch's DataLoader.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from report import publish, seconds_in_turns, timing_options
from torch import Tensor, nn

from cldtrans.config import load_any
from cldtrans.models.cldtrans import CLDTrans
from cldtrans.models.motifs import Codebook
from cldtrans.training.loader import Batch
from cldtrans.training.loop import run_training
from cldtrans.training.optimiser import AdamW

CONFIG = load_any([Path(__file__).resolve().parent.parent / "config" / "config.yaml"])
RATE, DECAY = 1e-4, 0.01
WIDTH, CODES, SEQUENCES, LATENTS = 128, 512, 4 * 64, 160
STEPS, BATCH, SHAPE = 200, 8, (4, 64)  # of the loop
FIRST_STEP = """
import time, torch
weight = torch.nn.Linear(64, 64)
weight(torch.ones(1, 64)).sum().backward()
{imported}
began = time.perf_counter()
{step}
print(time.perf_counter() - began)
"""
FIRST = {
    "ours": ("from cldtrans.training.optimiser import AdamW", "AdamW(weight, 0.01).step(1e-4)"),
    "torch.optim.AdamW": ("", "torch.optim.AdamW(weight.parameters(), lr=1e-4, weight_decay=0.01).step()"),
}

Ways = dict[str, Callable[[], object]]


def optimisers() -> Ways:
    """Make one step of each, over parameters of their own."""
    models = [CLDTrans(CONFIG.model) for _ in range(2)]
    for model in models:
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
    ours = AdamW(models[0], DECAY)
    groups = [
        {"params": [p for p in models[1].parameters() if (p.ndim >= 2) == decays], "weight_decay": decay}
        for decays, decay in ((True, DECAY), (False, 0.0))
    ]
    theirs = torch.optim.AdamW(groups, lr=RATE, foreach=True)
    return {"ours": lambda: ours.step(RATE), "torch.optim.AdamW": theirs.step}


def first_step_s(way: str, times: int = 3) -> float:
    """Return the seconds in which the first optimiser of a process is made and steps, the least of some."""
    imported, step = FIRST[way]
    command = [sys.executable, "-c", FIRST_STEP.format(imported=imported, step=step)]
    return min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(times))


def codebooks() -> Ways:
    """Make one pass of training of each: look-up, gradient, moving averages."""
    latents = torch.randn(SEQUENCES, LATENTS, WIDTH)
    valid = torch.ones(SEQUENCES, LATENTS, dtype=torch.bool)
    cotangent = torch.randn_like(latents)

    def passed(look_up: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        z = latents.clone().requires_grad_()
        code, distance = look_up(z)
        torch.autograd.backward((code, distance.mean()), (cotangent, None))

    book, plain = Codebook(CODES, WIDTH), Codebook(CODES, WIDTH)

    def ours(z: Tensor) -> tuple[Tensor, Tensor]:
        codes = book(z, valid)
        book.update()
        return codes.latents, codes.distance

    def composed(z: Tensor) -> tuple[Tensor, Tensor]:
        flat = z.detach().flatten(0, 1)
        index = torch.cdist(flat, plain.entries).argmin(1)
        hits = nn.functional.one_hot(index, CODES).to(z.dtype)
        plain.counts.lerp_(hits.sum(0), 1 - plain.DECAY)
        plain.sums.lerp_(hits.T @ flat, 1 - plain.DECAY)
        code = plain.entries[index].view_as(z)
        plain.entries.copy_(plain.sums / plain.counts.clamp_min(1e-5)[:, None])
        return z + (code - z).detach(), (z - code).square().mean(-1)

    ways: Ways = {"ours": lambda: passed(ours), "cdist, argmin, autograd": lambda: passed(composed)}
    if importlib.util.find_spec("vector_quantize_pytorch"):
        from vector_quantize_pytorch import VectorQuantize

        library = VectorQuantize(WIDTH, CODES, decay=Codebook.DECAY, threshold_ema_dead_code=2)
        ways["VectorQuantize"] = lambda: passed(lambda z: library(z)[::2])
    return ways


class Windows(torch.utils.data.Dataset[np.ndarray]):
    """Noise in memory, as a corpus and as a torch data set."""

    name, modality, rate_hz = "noise", "eeg", 160.0

    def __init__(self) -> None:
        self.x = np.random.default_rng(0).standard_normal((STEPS * BATCH, *SHAPE), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.x[row]

    def load(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Gather windows `x` [B, C, T] and `mask` [B, C]."""
        return {"x": self.x[rows], "mask": np.ones((len(rows), SHAPE[0]), dtype=bool)}


def loops() -> Ways:
    """Make `STEPS` steps of each, on the same network."""
    windows = Windows()
    settings = {"steps": STEPS, "batch_size": BATCH, "micro_batch": BATCH, "num_workers": 0}
    loop = CONFIG.loop.model_copy(
        update=settings | {"checkpoint_every": 10**9, "precision": "float32", "warmup_steps": 1}
    )

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(SHAPE[1], 64), nn.GELU(), nn.Linear(64, SHAPE[1]))

    def loss(module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": (module(batch.x) - batch.x).square().mean()}

    def plain() -> None:
        module = network()
        optimiser = torch.optim.AdamW(module.parameters(), lr=RATE)
        for x in torch.utils.data.DataLoader(windows, BATCH, shuffle=True):
            optimiser.zero_grad()
            (module(x) - x).square().mean().backward()
            nn.utils.clip_grad_norm_(module.parameters(), loop.clip_norm)
            optimiser.step()

    return {
        "ours": lambda: run_training(network(), loss, [windows], loop, seed=0),
        "plain loop, DataLoader": plain,
    }


def main() -> None:
    """Time all parts and publish the table."""
    args = timing_options(__doc__, rounds=20)
    torch.set_num_threads(1)
    found = {
        "optimiser, a step": seconds_in_turns(optimisers(), args.rounds),
        "optimiser, the first step of a process": {way: first_step_s(way) for way in FIRST},
        "codebook, a pass of training": seconds_in_turns(codebooks(), args.rounds),
        "loop, a step of a small network": {
            way: seconds / STEPS for way, seconds in seconds_in_turns(loops(), 3).items()
        },
    }
    rows = [
        {
            "part": part,
            "against": way,
            "its ms": f"{1e3 * seconds:.2f}",
            "ours": f"{1e3 * times['ours']:.2f}",
            "ratio": f"{seconds / times['ours']:.2f}",
        }
        for part, times in found.items()
        for way, seconds in times.items()
        if way != "ours"
    ]
    publish("training-parts", pd.DataFrame(rows), args.write, "One thread; medians of rounds in turns.")


if __name__ == "__main__":
    main()
