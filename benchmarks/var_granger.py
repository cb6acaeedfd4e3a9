"""VAR with Granger tests against statsmodels.

    pip install statsmodels && python benchmarks/var_granger.py [--rounds 3] [--write]

One window of C channels, as statsmodels takes no more, at lags as the identifiability runs ask for. "fit"
is `VAR.fit` alone, "with tests" also `test_causality` of every pair. statsmodels is needed for nothing else.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from report import publish, seconds_in_turns, timing_options
from statsmodels.tsa.api import VAR

from cldtrans.baselines.var_granger import var_f_tests

SIZES = ((4, 1600, 16), (8, 1600, 16), (8, 4800, 48))  # channels, samples, lags


def tested(x: np.ndarray, order: int) -> np.ndarray:
    """Return F of every pair [target, source], NaN on the diagonal."""
    fitted = VAR(x[0].T).fit(order)
    n_channels = x.shape[1]
    f_values = np.full((n_channels, n_channels), np.nan)
    for i, j in zip(*np.nonzero(~np.eye(n_channels, dtype=bool)), strict=True):
        f_values[i, j] = fitted.test_causality(int(i), [int(j)], kind="f").test_statistic
    return f_values


def main() -> None:
    """Time both at every size."""
    args = timing_options(__doc__, rounds=3)
    rows = []
    for n_channels, n_samples, order in SIZES:
        x = np.random.default_rng(0).standard_normal((1, n_channels, n_samples))
        ways = {
            "ours": partial(var_f_tests, x, order),
            "fit": partial(VAR(x[0].T).fit, order),
            "with tests": partial(tested, x, order),
        }
        seconds = seconds_in_turns(ways, args.rounds)
        ours, theirs = var_f_tests(x, order)[1], tested(x, order)
        rows.append(
            {
                "channels x samples, lags": f"{n_channels} x {n_samples}, {order}",
                "ours, ms": f"{1e3 * seconds['ours']:.1f}",
                "fit": f"{1e3 * seconds['fit']:.1f}",
                "ratio": f"{seconds['fit'] / seconds['ours']:.1f}",
                "with tests": f"{1e3 * seconds['with tests']:.0f}",
                "ratio of both": f"{seconds['with tests'] / seconds['ours']:.0f}",
                "largest difference of F, relative": f"{np.nanmax(np.abs(theirs / ours - 1)):.0e}",
            }
        )
    publish("var-granger", pd.DataFrame(rows), args.write)


if __name__ == "__main__":
    main()
