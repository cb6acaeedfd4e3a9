"""What `pairwise_delays` returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pandas as pd

NORMAL95 = 1.959964
"""Standard errors on either side of a 95 % interval."""


@dataclass(frozen=True)
class PairwiseDelays:
    """Delays between all channels, with no claim that one causes the other.

    Attributes
    ----------
    tau : array [C, C]
        Seconds; positive where the row's channel is later than the column's. `tau_ji = -tau_ij`; NaN for
        channels that do not vary.
    tau_stderr : array [C, C]
        Standard error, seconds; 0 on the diagonal. Where nothing is coherent, that of any delay searched.
    coherence : array [C, C]
        Squared coherence after the delay, less what chance gives, averaged over the frequencies used.
    correlation : array [C, C]
        Correlation of the whitened channels at the delay; negative where one is upside down.
    stray : array [C, C]
        Standard deviation, radians, of phases about the delay's line beyond what noise explains: echoes,
        several paths, dispersion.
    sample_rate : float
        Hertz.
    tau_max : float
        Largest delay searched, seconds.
    """

    tau: Float[np.ndarray, "C C"]
    tau_stderr: Float[np.ndarray, "C C"]
    coherence: Float[np.ndarray, "C C"]
    correlation: Float[np.ndarray, "C C"]
    stray: Float[np.ndarray, "C C"]
    sample_rate: float
    tau_max: float

    @property
    def stderr(self) -> Float[np.ndarray, "C C"]:
        """The same as `tau_stderr`."""
        return self.tau_stderr

    def to_frame(self, channels: Sequence[str] | None = None) -> pd.DataFrame:
        """Make one row a pair, the earlier channel first, in the order of channels.

        Parameters
        ----------
        channels : sequence of str, optional
            Names of the C channels; default: their numbers.
        """
        import pandas as pd

        count = len(self.tau)
        names: list[Any] = list(range(count)) if channels is None else list(channels)
        if len(names) != count:
            raise ValueError(f"{len(names)} channel names for {count} channels")
        later, earlier = np.tril_indices(count, -1)
        known = np.isfinite(self.tau[later, earlier])
        later, earlier = later[known], earlier[known]
        turned = self.tau[later, earlier] < 0
        later, earlier = np.where(turned, earlier, later), np.where(turned, later, earlier)
        pair = (later, earlier)
        half = NORMAL95 * self.tau_stderr[pair]
        return pd.DataFrame(
            {
                "earlier": [names[j] for j in earlier],
                "later": [names[i] for i in later],
                "tau_ms": 1e3 * self.tau[pair],
                "tau_stderr_ms": 1e3 * self.tau_stderr[pair],
                "tau_low_ms": 1e3 * (self.tau[pair] - half),
                "tau_high_ms": 1e3 * (self.tau[pair] + half),
                "coherence": self.coherence[pair],
                "correlation": self.correlation[pair],
                "stray_rad": self.stray[pair],
            }
        )

    def summary(self, channels: Sequence[str] | None = None) -> pd.DataFrame:
        """Make the table of `to_frame`, the most coherent pair first."""
        table = self.to_frame(channels)
        return table.sort_values("coherence", ascending=False, ignore_index=True, kind="stable")
