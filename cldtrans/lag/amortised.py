"""What a pretrained network says of lags and edges at once, without a fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from cldtrans.lag.views.pairs import Pairs, PairViews, edge_table, named

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class AmortisedLags(PairViews):
    """Lags and edges read by a pretrained network; rows are targets, columns sources.

    No likelihood of this recording was maximised: probabilities and standard errors are what the network
    learned on other recordings and simulated systems.

    Attributes
    ----------
    tau, tau_stderr : array [C, C]
        Lags and the network's estimate of their errors, seconds; NaN off the support.
    weight : array [C, C]
        Weights in the input's units; 0 off the support.
    support : array [C, C] of bool
        Edges that are likelier than not, with a lag up to `tau_max`.
    probability : array [C, C]
        Of an edge, of every ordered pair; 0 for channels left out.
    sample_rate : float
        Hertz.
    tau_max : float
        Largest lag that is looked at, seconds.
    model : str
        Name or folder of the network.
    left_out : list of int
        Channels that are constant or linear combinations of others.
    warnings : list of str
        One line each.
    channels : list of str or None
        Names, where they were given.
    """

    tau: Float[np.ndarray, "C C"]
    tau_stderr: Float[np.ndarray, "C C"]
    weight: Float[np.ndarray, "C C"]
    support: Bool[np.ndarray, "C C"]
    probability: Float[np.ndarray, "C C"]
    sample_rate: float
    tau_max: float
    model: str
    left_out: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    channels: list[str] | None = None

    def headline(self) -> str:
        """Say in a line what was read."""
        return (
            f"AmortisedLags: {int(self.support.sum())} edges between {len(self.tau)} channels by the "
            f"pretrained model {self.model}, not fitted; {len(self.warnings)} warnings"
        )

    def pairs(self) -> Pairs:
        """Return names, edges and matrices."""
        names = named(self.channels, len(self.tau))
        matrices = ("tau", "tau_stderr", "weight", "support", "probability")
        return Pairs(
            channels=names,
            table=self.summary(names),
            matrices={name: getattr(self, name) for name in matrices},
            attributes={name: getattr(self, name) for name in ("sample_rate", "tau_max", "model")},
            left_out=self.left_out,
            warnings=self.warnings,
        )

    def summary(self, channels: list[str] | None = None) -> pd.DataFrame:
        """Make one row an edge, likeliest first: source leads target by tau, with the network's intervals.

        Parameters
        ----------
        channels : list of str, optional
            Names of the C channels; default: those known, else their numbers.
        """
        known = self.channels if channels is None else channels
        table = edge_table(self.tau, self.tau_stderr, self.weight, self.support, known)
        target, source = np.nonzero(self.support)
        table["probability"] = self.probability[target, source]
        return table.sort_values("probability", ascending=False, ignore_index=True)
