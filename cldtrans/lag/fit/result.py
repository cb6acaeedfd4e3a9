"""What a fit returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from cldtrans.lag.views.pairs import Pairs, PairViews, edge_table, named

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class LagFit(PairViews):
    """A fitted LD-SEM; rows are targets, columns sources; lags in seconds, weights in the input's units.

    `plot`, `to_frame`, `to_networkx`, `to_xarray` and `to_mne_connectivity` show its edges elsewhere.

    Attributes
    ----------
    tau, tau_stderr : array [C, C]
        Lags and their standard errors, seconds; NaN off the support.
    weight, weight_stderr : array [C, C]
        Weights and their standard errors; 0 and NaN off the support.
    support : array [C, C] of bool
        Significant, and the lag identified (else a warning names both lags).
    p_value : array [C, C]
        For "this pair has no edge", over all lags and pairs searched (family-wise, or the false-discovery
        rate's q-value); NaN on the diagonal and for channels left out.
    sigma : array [C]
        Standard deviation of the innovations; NaN for channels left out.
    self_dynamics : array [C, P]
        Coefficients of the channel's own past at lags 1..P samples, P the longest.
    kurtosis : array [C]
        Excess kurtosis of the residuals (Gaussian 0, Laplace 3).
    degrees_of_freedom : array [C] or None
        Of Student-t innovations, else None.
    log_likelihood : float
        Of the scored samples, in the input's units.
    n_scored : int
        Number of scored samples a channel, all windows together.
    sample_rate : float
        Hertz.
    tau_max : float
        Largest lag searched, seconds.
    innovation : str
        Density of the innovations.
    left_out : list of int
        Channels that are constant or linear combinations of others.
    warnings : list of str
        One line each.
    interrupted : bool
        True for what an interrupted fit had found by then.
    channels : list of str or None
        Names, where the input had them or they were given.
    autocorrelation : array [C] or None
        Largest one of the residuals, by amount: where they are not white, standard errors and p-values of
        edges to the channel are too small. NaN for channels left out.
    """

    tau: Float[np.ndarray, "C C"]
    tau_stderr: Float[np.ndarray, "C C"]
    weight: Float[np.ndarray, "C C"]
    weight_stderr: Float[np.ndarray, "C C"]
    support: Bool[np.ndarray, "C C"]
    p_value: Float[np.ndarray, "C C"]
    sigma: Float[np.ndarray, " C"]
    self_dynamics: Float[np.ndarray, "C P"]
    kurtosis: Float[np.ndarray, " C"]
    degrees_of_freedom: Float[np.ndarray, " C"] | None
    log_likelihood: float
    n_scored: int
    sample_rate: float
    tau_max: float
    innovation: str
    left_out: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    channels: list[str] | None = None
    interrupted: bool = False
    autocorrelation: Float[np.ndarray, " C"] | None = None

    def headline(self) -> str:
        """Say in a line what was fitted."""
        count, edges, lines = len(self.sigma), int(self.support.sum()), len(self.warnings)
        return (
            f"LagFit: {edges} edges between {count} channels, {self.n_scored} samples at "
            f"{self.sample_rate:g} Hz, lags up to {1e3 * self.tau_max:g} ms, {self.innovation}; "
            f"{lines} warnings"
        )

    def pairs(self) -> Pairs:
        """Return names, edges and matrices."""
        names = named(self.channels, len(self.sigma))
        matrices = ("tau", "tau_stderr", "weight", "weight_stderr", "support", "p_value")
        about = ("sample_rate", "tau_max", "innovation", "log_likelihood", "n_scored")
        return Pairs(
            channels=names,
            table=self.summary(names),
            matrices={name: getattr(self, name) for name in matrices},
            attributes={name: getattr(self, name) for name in about},
            left_out=self.left_out,
            warnings=self.warnings,
        )

    def summary(self, channels: list[str] | None = None) -> pd.DataFrame:
        """Make one row an edge, strongest evidence first: source leads target by tau, with 95 % intervals.

        Parameters
        ----------
        channels : list of str, optional
            Names of the C channels; default: those known, else their numbers.
        """
        known = self.channels if channels is None else channels
        table = edge_table(self.tau, self.tau_stderr, self.weight, self.support, known)
        edge = np.nonzero(self.support)
        table["weight_stderr"] = self.weight_stderr[edge]
        table["z"] = np.abs(self.weight[edge]) / self.weight_stderr[edge]
        table["p_value"] = self.p_value[edge]
        return table.sort_values("z", ascending=False, ignore_index=True)
