"""How exactly the graph ODE is solved, at what cost: rk4, and dopri5 at several tolerances.

    python benchmarks/solver.py CHECKPOINT SHARDS/eegmmidb [--windows 4]

Prints, for windows of a corpus, the error of the states against dopri5 at 1e-9 in float64 (root mean square,
and largest, over the states' own root mean square), evaluations of the right-hand side, milliseconds a window
forward, and forward with gradients by backpropagation and by the adjoint method.
"""

import argparse
import copy
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from cldtrans.data.shards import ShardSet
from cldtrans.models import CLDTrans
from cldtrans.models.graph_ode import GraphODE, Trajectory
from cldtrans.models.output import Encoding

Way = tuple[Literal["rk4", "dopri5"], float]  # solver, tolerance
WAYS: list[Way] = [("rk4", 0.0), *(("dopri5", 10.0**-k) for k in range(1, 7))]
REFERENCE: Way = ("dopri5", 1e-9)


def solved(ode: GraphODE, encoding: Encoding, way: Way, adjoint: bool) -> Trajectory:
    """Solve for the states of a batch in one way: solver, tolerance, method of gradients."""
    ode.solver, ode.tolerance, ode.adjoint = *way, adjoint
    return ode(encoding.path, encoding.adjacency, encoding.mask)


def with_gradient(ode: GraphODE, encoding: Encoding, way: Way, adjoint: bool) -> float:
    """Return the seconds of a pass forward and back."""
    start = time.perf_counter()
    solved(ode, encoding, way, adjoint).states.square().mean().backward()
    ode.zero_grad()
    return time.perf_counter() - start


def main() -> None:
    """Print one row a solver and tolerance."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--windows", type=int, default=4)
    options = parser.parse_args()
    model = CLDTrans.from_pretrained(str(options.checkpoint)).double().eval()
    windows = ShardSet(options.shards)
    rows = np.linspace(0, len(windows) - 1, options.windows).astype(int)
    x, mask = torch.from_numpy(windows.windows(rows)).double(), torch.from_numpy(windows.mask(rows))
    with torch.no_grad():
        encoding = model.encode(x, windows.rate_hz, mask, windows.modality)
    exact, single = model.dynamics, copy.deepcopy(model.dynamics).float()
    assert isinstance(exact, GraphODE) and isinstance(single, GraphODE)
    with torch.no_grad():
        truth = solved(exact, encoding, REFERENCE, adjoint=False)
    size = truth.states.square().mean().sqrt()
    print(
        f"{options.windows} windows of {x.shape[1]} channels, {truth.states.shape[2]} control steps, float32"
    )
    print("| solver | tolerance | error, rms | error, largest | evaluations ", end="")
    print("| ms forward | ms with gradients | ms by adjoint |\n|" + "---|" * 8)
    for way in WAYS:
        with torch.no_grad():
            start = time.perf_counter()
            found = solved(single, encoding, way, adjoint=False)
            forward = time.perf_counter() - start
        error = (found.states.double() - truth.states) / size
        spent = [with_gradient(single, encoding, way, adjoint) for adjoint in (False, True)]
        tolerance = f"{way[1]:.0e}" if way[1] else "one step a control step"
        times = " | ".join(f"{1e3 * t / options.windows:.0f}" for t in (forward, *spent))
        print(
            f"| {way[0]} | {tolerance} | {float(error.square().mean().sqrt()):.1e} "
            f"| {float(error.abs().max()):.1e} | {found.nfe} | {times} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
