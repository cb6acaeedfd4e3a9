"""Lags of a simulated system by `fit_ldsem`, beside the truth and the best that any estimator can do.

python examples/fit_and_bound.py
"""

import numpy as np

from cldtrans.lag import fit_ldsem, lag_bounds, simulate_ldsem


def main() -> None:
    """Print every edge with its lag as it is, as fitted, and as well as it can be fitted."""
    system = simulate_ldsem(
        n_channels=5, duration_s=60, lag_range_s=(0.003, 0.1), self_dynamics="ar2", seed=1
    )
    fit = fit_ldsem(system.x, system.sample_rate, tau_max=0.15)
    bound = lag_bounds(
        system.x,
        system.weight,
        system.tau,
        system.sample_rate,
        system.self_dynamics,
        system.innovation,
        system.scale,
    )
    print("source  target  truth/ms  fitted/ms  standard error  Cramér-Rao bound")
    for target, source in np.argwhere(system.support | fit.support):
        pair = (target, source)
        values = (system.tau[pair], fit.tau[pair], fit.tau_stderr[pair], bound[pair])
        truth, tau, error, best = (f"{1e3 * value:.3f}" for value in values)
        print(f"{source:6d}  {target:6d}  {truth:>8}  {tau:>9}  {error:>14}  {best:>16}")

    both = system.support & fit.support
    ratio = (fit.tau - system.tau)[both] / bound[both]
    print(
        f"\n{both.sum()} of {system.support.sum()} edges found, {(fit.support & ~system.support).sum()} false"
    )
    print(f"root-mean-square error over bound: {np.sqrt(np.mean(ratio**2)):.2f}  (1: as good as it gets)")


if __name__ == "__main__":
    main()
