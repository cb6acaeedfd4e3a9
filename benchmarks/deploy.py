"""What one window costs an exported network: benchmarks/deploy.py [--write].

Fresh weights: what they are does not change the time. 129 channels, 10 s at 100 Hz, batch 1, one thread
(`THREADS`, which is also in the files' metadata). The machine's load at the end is printed beside the table:
read the rows against each other.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from report import DOCS, add_write_option, publish

from cldtrans.baselines.networks import Answering
from cldtrans.baselines.patch_transformer import PatchTransformer
from cldtrans.evaluation.deploy import THREADS, export, latency, open_session

PAGE = DOCS / "hbn.md"
CHANNELS, SAMPLES = 129, 1000
PATCHES = (1, 10)


def rows_of(patch: int) -> list[dict[str, str]]:
    """Return a row a variant of a network whose tokens are so many samples."""
    torch.manual_seed(0)
    network = PatchTransformer(CHANNELS, 1, 128, 2, 4, (patch,))
    module = Answering(network, "regression", (torch.zeros(1), torch.ones(1))).eval()
    example = np.random.default_rng(0).standard_normal((1, CHANNELS, SAMPLES)).astype(np.float32)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in export(module, example, Path(folder), {"threads": THREADS}).items():
            found = latency(open_session(path), example)
            rows.append(
                {
                    "tokens": str(SAMPLES // patch),
                    "variant": name,
                    "parameters": f"{sum(p.numel() for p in network.parameters()) / 1e3:.0f} k",
                    "file, MB": f"{path.stat().st_size / 1e6:.2f}",
                    "p50, ms": f"{found['p50_ms']:.1f}",
                    "p95, ms": f"{found['p95_ms']:.1f}",
                }
            )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_write_option(parser, PAGE)
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    table = pd.DataFrame([row for patch in PATCHES for row in rows_of(patch)])
    publish("hbn-deploy", table, args.write, f"{THREADS} thread, batch 1.", PAGE)


if __name__ == "__main__":
    main()
