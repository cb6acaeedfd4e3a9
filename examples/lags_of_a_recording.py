"""Who leads whom in a recording: an EDF file with known lags is written, read, and asked.

    python examples/lags_of_a_recording.py [folder]

The same for a file of your own, without Python: cldtrans lags recording.edf
"""

import sys
from pathlib import Path

import numpy as np

from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.lag import simulate_ldsem
from cldtrans.lag.recording import lags_of_recording
from cldtrans.lag.recording.figures import draw
from cldtrans.lag.recording.report import render

NAMES = ("A", "B", "C", "D")


def main(folder: Path) -> None:
    """Write the recording into `folder` and print its lags."""
    folder.mkdir(parents=True, exist_ok=True)
    system = simulate_ldsem(
        n_channels=len(NAMES), duration_s=60, window_s=60, edges_per_node=0.75,
        cyclic=False, lag_range_s=(0.02, 0.08), self_dynamics="ar2", seed=3,
    )  # fmt: skip
    microvolts = 20 * system.x[0] / system.x[0].std(axis=1, keepdims=True)
    signals = [
        EdfSignal(name, x, rate_hz=160, physical=(-200, 200))
        for name, x in zip(NAMES, microvolts, strict=True)
    ]
    write_edf(folder / "recording.edf", signals)

    lags = lags_of_recording(folder / "recording.edf", stop_s=60)
    print(render(lags))
    draw(lags, "heat_map").savefig(folder / "lags.png", dpi=160)

    print("What was simulated:")
    for target, source in np.argwhere(system.support):
        tau_ms = 1e3 * system.tau[target, source]
        print(f"  {NAMES[source]} leads {NAMES[target]} by {tau_ms:.1f} ms")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "lags-example"))
