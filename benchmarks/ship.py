"""Put a checkpoint into the package, with what it says of stored windows: benchmarks/ship.py CHECKPOINT.

`make ship` trains it (`make standard`) and calls this. The package then holds weights, settings, sums and
card in `cldtrans/models/pretrained/standard`, which `CLDTrans.from_pretrained("standard")` loads without a
network, and the tests hold `tests/models/standard.npz`: what the weights answered when they were put there.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cldtrans.files import SUMS, atomic_path
from cldtrans.lag.simulate import simulate_ldsem
from cldtrans.models import CLDTrans
from cldtrans.models.saved import SETTINGS, WEIGHTS, shipped_folder

ROOT = Path(__file__).resolve().parent.parent
EXPECTED = ROOT / "tests" / "models" / "standard.npz"
SHAPES = {"eeg": (6, 160.0), "ecg": (8, 500.0)}
SAID = ("tau", "tau_stderr", "edge_probability", "focal_scores", "lead", "pooled")


def stored_windows() -> dict[str, np.ndarray]:
    """Simulate a window of ten seconds a modality, [1, C, T] in float32."""
    found = {}
    for modality, (channels, rate_hz) in SHAPES.items():
        sample = simulate_ldsem(
            channels, 10.0, sample_rate=rate_hz, window_s=10.0, seed=0, self_dynamics="ar2"
        )
        found[modality] = np.asarray(sample.x[:1], dtype=np.float32)
    return found


def answers(model: CLDTrans, modality: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the model says of windows."""
    with torch.inference_mode():
        out = model(torch.from_numpy(x), SHAPES[modality][1], modality=modality)
    return {name: getattr(out, name).numpy() for name in SAID}


def main() -> None:
    """Copy the checkpoint, and write what it says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="folder of a saved model")
    folder = parser.parse_args().checkpoint
    torch.set_num_threads(1)
    model = CLDTrans.from_pretrained(folder).eval()
    with atomic_path(shipped_folder("standard")) as target:
        target.mkdir()
        for name in (WEIGHTS, SETTINGS, SUMS, "README.md"):
            shutil.copyfile(folder / name, target / name)
    windows = stored_windows()
    said = {
        f"{modality}_{name}": value
        for modality, x in windows.items()
        for name, value in answers(model, modality, x).items()
    }
    everything: dict[str, Any] = {**windows, **said}
    np.savez_compressed(EXPECTED, **everything)


if __name__ == "__main__":
    main()
