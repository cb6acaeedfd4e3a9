"""Gradients of fine-tuning strategies against the full batch's: benchmarks/finetuning.py [--write].

The ECG student (64 wide, one layer) on simulated twelve-lead ECGs of five classes, 128 a batch, after some
steps of training. Beside the cosine with the gradient of the whole batch stand the bytes that autograd holds
and the time of a step, as a multiple of that of `full`.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from report import DOCS, add_write_option, publish
from torch import Tensor

from cldtrans.baselines.patch_transformer import PatchTransformer
from cldtrans.config import FinetuneConfig
from cldtrans.data.miniature.ecg import CLASSES, CODES, diseased_beat, normal_beat, record, to_leads
from cldtrans.training.strategies.spsa import Perturbation, projected_gradient
from cldtrans.training.strategies.tuning import FineTuning

PAGE = DOCS / "finetuning.md"
BATCH, FEW, STEPS, BATCHES, KEPT = 128, 8, 20, 6, 1000  # of 5000 samples, to be quick
STRATEGIES = {
    "full": FinetuneConfig(strategy="full"),
    "accumulate, 8 windows": FinetuneConfig(strategy="accumulate", micro_batch=FEW),
    "fusion, 8 of 128, share 1": FinetuneConfig(strategy="fusion", micro_batch=FEW, share=1.0),
    "fusion, 8 of 128, share 0.5": FinetuneConfig(strategy="fusion", micro_batch=FEW, share=0.5),
}


def windows(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return standardised windows [n, 12, KEPT] and one label of five each, [n, 5]."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, len(CLASSES), n)
    leads = []
    for k in kind:
        beat = diseased_beat(rng, normal_beat(rng), [str(rng.choice(CODES[CLASSES[k]]))])
        leads.append(to_leads(record(rng, beat), 1000.0)[:, :KEPT])
    x = np.stack(leads).astype(np.float32)
    x = (x - x.mean(-1, keepdims=True)) / np.maximum(x.std(-1, keepdims=True), 1e-6)
    return torch.from_numpy(x), torch.eye(len(CLASSES))[kind]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = PatchTransformer(12, len(CLASSES), 64, 1, 4, (5, 4, 2), overlap=3, dropout=0.0)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(network(x), y)

    pool = windows(BATCH * BATCHES, 1)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    for step in range(STEPS):
        rows = slice(32 * step % (BATCH * BATCHES), 32 * step % (BATCH * BATCHES) + 32)
        optimiser.zero_grad()
        loss(pool[0][rows], pool[1][rows]).backward()
        optimiser.step()
    optimiser.zero_grad()
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in STRATEGIES}
    slopes = []
    for batch in range(BATCHES):
        part = slice(BATCH * batch, BATCH * (batch + 1))
        x, y = pool[0][part], pool[1][part]
        whole: Tensor | None = None
        for name, settings in STRATEGIES.items():
            tuning = FineTuning(settings, seed=batch)
            tuning.prepare(network, ["head"])
            tuning.backward(network, loss, (x, y), 0, 0.0)
            begin = time.perf_counter()
            tuning.backward(network, loss, (x, y), 0, 0.0)
            seconds = time.perf_counter() - begin
            gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
            whole = gradient.clone() if whole is None else whole
            cosine = float(F.cosine_similarity(gradient, whole, dim=0))
            found[name].append((cosine, tuning.costs()["step_saved_bytes"], seconds))
        learned = list(network.parameters())
        direction = Perturbation(batch)
        slope = projected_gradient(partial(loss, x, y), learned, direction, 1e-3).slope
        z = torch.cat([part.flatten() for part in direction.directions(learned)])
        assert whole is not None
        slopes.append(float(F.cosine_similarity(slope * z, whole, dim=0)))
    base = np.median([seconds for _, _, seconds in found["full"]])
    table = pd.DataFrame(
        [
            {
                "strategy": name,
                "cosine with the gradient of 128": f"{np.mean([c for c, _, _ in rows]):.3f}",
                "held by autograd, MiB": f"{rows[0][1] / 2**20:.1f}",
                "time of a step": f"{np.median([s for _, _, s in rows]) / base:.2f} ×",
            }
            for name, rows in found.items()
        ]
    )
    count = sum(p.numel() for p in network.parameters())
    expected = np.sqrt(2 / (np.pi * count))
    remark = (
        f"One thread; means over {BATCHES} batches of {BATCH} simulated ECGs, {count} weights. The cosine of "
        f"a slope alone (MeZO) is {np.mean(slopes):.4f}; that of a random direction is expected to be "
        f"{expected:.4f}."
    )
    publish("finetuning-gradients", table, args.write, remark, PAGE)


if __name__ == "__main__":
    main()
