"""Estimators that cannot live in this environment, each in a process of its own.

`make setup-rivals` puts them into `.venv-rivals`: lingam pins an older scipy, tigramite is GPL-3 and is never
imported here. The other modules of this package are scripts that read windows and write edges and lags.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.errors import ConfigError, DataError
from cldtrans.methods.cards import Card
from cldtrans.methods.estimators import LagEstimate, NoEstimate

CARDS = {
    "varlingam": Card(
        title="VARLiNGAM",
        source="Hyvärinen et al. 2010, JMLR 11:1709",
        licence="MIT (the package lingam, in an environment of its own)",
        reproduced="the package's own, pruned by the adaptive lasso",
        differs="an edge is a pair with any coefficient left, its lag that of the largest",
    ),
    "pcmci_plus": Card(
        title="PCMCI+",
        source="Runge 2020, UAI",
        licence="GPL-3 (the package tigramite, in an environment and a process of its own)",
        reproduced="the package's own, partial correlations",
        differs="corrected over all pairs and lags; the lag is that of the strongest link",
    ),
}
PYTHON = Path(".venv-rivals/bin/python")  # from the folder of the workflow


class Rival:
    """The `estimator` factory.

    Parameters
    ----------
    script : str
        Name of the module that the other environment runs.
    alpha : float
        Family-wise error rate over all pairs, where the method tests.
    timeout_s : float
        Wall-clock time after which there is no estimate.

    Raises
    ------
    ConfigError
        Where there is no such module.
    """

    @staticmethod
    def card_for(script: str, **settings: Any) -> Card | None:
        """Return the card of the tool that a script runs."""
        return CARDS.get(script.rpartition(".")[2])

    def __init__(self, script: str, alpha: float = 0.01, timeout_s: float = 600.0) -> None:
        try:
            found = importlib.util.find_spec(script)
        except ModuleNotFoundError:
            found = None
        if found is None or found.origin is None:
            raise ConfigError(f"no rival {script!r}; known: the modules of {__name__}")
        self.tool, self.script = script.rpartition(".")[2], found.origin
        self.alpha, self.timeout_s = alpha, timeout_s

    def __call__(self, x: np.ndarray, sample_rate: float, tau_max_s: float, seed: int = 0) -> LagEstimate:
        """Estimate edges and lags of consecutive windows x [N, C, T] of one system.

        Raises
        ------
        NoEstimate
            Says why there is none.
        DataError
            Where the tool fails; its last line is quoted.
        """
        if not PYTHON.exists():
            raise NoEstimate(f"{self.tool} is not installed: run make setup-rivals")
        order = max(1, int(np.ceil(tau_max_s * sample_rate)))
        with tempfile.TemporaryDirectory() as folder:
            windows, estimate = Path(folder, "windows.npz"), Path(folder, "estimate.npz")
            np.savez(windows, x=x, order=order, alpha=self.alpha)
            command = [str(PYTHON), self.script, str(windows), str(estimate)]
            threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
            try:
                done = subprocess.run(
                    command,
                    env=os.environ | threads,
                    timeout=self.timeout_s,
                    capture_output=True,
                    text=True,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise NoEstimate(f"timed out after {self.timeout_s:g} s") from None
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise DataError(f"{self.tool} failed with code {done.returncode}: {last}")
            with np.load(estimate) as found:
                support = found["support"]
                return LagEstimate(
                    np.where(support, found["lag_samples"] / sample_rate, np.nan), support, None
                )
