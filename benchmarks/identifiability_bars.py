"""Accuracy and cost of `fit_ldsem` where the lags should be found, against the Cramér-Rao bound.

    python benchmarks/identifiability_bars.py [--seeds 10] [--regime NAME ...] [--large] [--nulls 40]
        [--contrast]

Prints one row a regime and kind of window: root-mean-square of error over bound of found edges for lags and
weights, pooled F1, coverage of 95 % intervals, processor seconds a fit. `--large` adds C 64 with three seeds,
`--nulls` worlds without edges, `--contrast` the likelihoods side by side.
"""

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cldtrans.lag import fit_ldsem, simulate_ldsem
from cldtrans.lag.bounds import parameter_bounds

RATE_HZ = 160.0


@dataclass(frozen=True)
class Regime:
    """Settings of the simulator and the bars to reach."""

    world: dict[str, Any]
    tau_max_s: float
    error_bar: float
    f1_bar: float
    seconds_bar: float
    innovation: str = "laplace"


@dataclass
class Score:
    """Results of one regime, pooled over seeds."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    tau_ratio: list[float] = field(default_factory=list)
    weight_ratio: list[float] = field(default_factory=list)
    tau_z: list[float] = field(default_factory=list)
    weight_z: list[float] = field(default_factory=list)
    tau_error: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def f1(self) -> float:
        """F1 of the edges."""
        return 2 * self.hits / max(1, 2 * self.hits + self.false + self.missed)


_LAGS = {"lag_range_s": (1 / RATE_HZ, 40 / RATE_HZ)}
_AR2 = _LAGS | {"self_dynamics": "ar2"}
_SUB = {"lag_range_s": (0.05 / RATE_HZ, 1 / RATE_HZ)}
_LONG, _SHORT = 41 / RATE_HZ, 2 / RATE_HZ
REGIMES = {
    "white-240s": Regime({"n_channels": 8, "duration_s": 240.0} | _LAGS, _LONG, 1.15, 0.99, 5),
    "subsample-240s": Regime({"n_channels": 8, "duration_s": 240.0} | _SUB, _SHORT, 1.3, 0.97, 10),
    "ar2-240s": Regime({"n_channels": 8, "duration_s": 240.0} | _AR2, _LONG, 1.3, 0.98, 10),
    "ar2-60s": Regime({"n_channels": 8, "duration_s": 60.0} | _AR2, _LONG, 1.4, 0.97, 10),
    "ar2-19ch-120s": Regime(
        {"n_channels": 19, "duration_s": 120.0, "edges_per_node": 3} | _AR2, _LONG, 1.4, 0.97, 60
    ),
}
LARGE = {
    "ar2-64ch-300s": Regime(
        {"n_channels": 64, "duration_s": 300.0, "edges_per_node": 3, "degrees_of_freedom": 5.0} | _AR2,
        _LONG,
        1.6,
        0.95,
        600,
        "student",
    )
}


def score(regime: Regime, seeds: range, *, periodic: bool, **settings: Any) -> Score:
    """Simulate, fit and compare; `settings` go to the fit."""
    total = Score()
    for seed in seeds:
        world = simulate_ldsem(
            sample_rate=RATE_HZ,
            innovation=regime.innovation,
            periodic=periodic,
            seed=seed,
            **regime.world,
        )
        start = time.process_time()
        options = {"innovation": regime.innovation} | settings
        fit = fit_ldsem(world.x, RATE_HZ, regime.tau_max_s, periodic=periodic, **options)
        total.seconds.append(time.process_time() - start)
        bound = parameter_bounds(
            world.x,
            world.weight,
            np.nan_to_num(world.tau),
            RATE_HZ,
            world.self_dynamics,
            world.innovation,
            world.scale,
            world.degrees_of_freedom,
        )
        found = fit.support & world.support
        total.hits += int(found.sum())
        total.false += int((fit.support & ~world.support).sum())
        total.missed += int((world.support & ~fit.support).sum())
        tau_error, weight_error = (fit.tau - world.tau)[found], (fit.weight - world.weight)[found]
        total.tau_ratio += list(tau_error / bound.tau[found])
        total.weight_ratio += list(weight_error / bound.weight[found])
        total.tau_z += list(tau_error / fit.tau_stderr[found])
        total.weight_z += list(weight_error / fit.weight_stderr[found])
        total.tau_error += list(np.abs(tau_error) * RATE_HZ)
    return total


def rms(values: list[float]) -> float:
    """Return the root mean square, NaN of nothing."""
    return float(np.sqrt(np.mean(np.square(values)))) if values else float("nan")


def covered(values: list[float]) -> float:
    """Return the share of standardised errors within 95 % intervals, NaN of nothing."""
    return float(np.mean(np.abs(values) < 1.959964)) if values else float("nan")


def table(regimes: dict[str, Regime], n_seeds: int, first_seed: int) -> None:
    """Print one row a regime and kind of window."""
    print(
        f"{'regime':16s}{'windows':10s}{'err/bound':>10s}{'bar':>6s}{'weight':>8s}{'F1':>8s}{'bar':>6s}"
        f"{'false':>6s}{'missed':>7s}{'cover':>7s}{'cov w':>7s}{'cpu s':>7s}{'max':>7s}{'bar':>5s}"
    )
    for name, regime in regimes.items():
        for periodic in (False, True):
            s = score(regime, range(first_seed, first_seed + n_seeds), periodic=periodic)
            print(
                f"{name:16s}{'periodic' if periodic else 'record':10s}{rms(s.tau_ratio):10.3f}"
                f"{regime.error_bar:6.2f}{rms(s.weight_ratio):8.3f}{s.f1:8.4f}{regime.f1_bar:6.2f}{s.false:6d}"
                f"{s.missed:7d}{covered(s.tau_z):7.3f}{covered(s.weight_z):7.3f}{np.mean(s.seconds):7.2f}"
                f"{max(s.seconds):7.2f}{regime.seconds_bar:5.0f}",
                flush=True,
            )


def contrast(n_seeds: int, first_seed: int) -> None:
    """Fit the same worlds under four likelihoods: what the Jacobian and the right density are worth."""
    print(f"\n{'regime':16s}{'likelihood':24s}{'tau MAE, samples':>18s}{'err/bound':>10s}{'F1':>8s}")
    for name in ("white-240s", "subsample-240s"):
        for innovation in ("laplace", "gaussian"):
            for jacobian in (True, False):
                s = score(
                    REGIMES[name],
                    range(first_seed, first_seed + n_seeds),
                    periodic=False,
                    innovation=innovation,
                    jacobian=jacobian,
                )
                label = innovation + (" + Jacobian" if jacobian else ", no Jacobian")
                mae = np.mean(s.tau_error) if s.tau_error else float("nan")
                print(f"{name:16s}{label:24s}{mae:18.4f}{rms(s.tau_ratio):10.2f}{s.f1:8.3f}", flush=True)


def nulls(n_worlds: int, first_seed: int) -> None:
    """Fit worlds without edges, and count how many fits report any."""
    print(f"\n{'worlds without edges':24s}{'fits with edges':>16s}{'of':>5s}")
    for name, dynamics in (("white", None), ("ar2", "ar2")):
        for periodic in (False, True):
            any_edge = 0
            for seed in range(first_seed, first_seed + n_worlds):
                world = simulate_ldsem(
                    8, 60.0, RATE_HZ, edges_per_node=0, self_dynamics=dynamics, periodic=periodic, seed=seed
                )
                fit = fit_ldsem(world.x, RATE_HZ, _LONG, periodic=periodic)
                any_edge += bool(fit.support.any())
            label = f"{name}, {'periodic' if periodic else 'record'}"
            print(f"{label:24s}{any_edge:16d}{n_worlds:5d}", flush=True)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--regime", nargs="*", choices=[*REGIMES], default=[*REGIMES])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--nulls", type=int, default=0)
    parser.add_argument("--contrast", action="store_true")
    args = parser.parse_args()
    table({name: REGIMES[name] for name in args.regime}, args.seeds, args.first_seed)
    if args.large:
        table(LARGE, 3, args.first_seed)
    if args.contrast:
        contrast(min(3, args.seeds), args.first_seed)
    if args.nulls:
        nulls(args.nulls, args.first_seed)


if __name__ == "__main__":
    main()
