"""What an `estimator` of lags and edges returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class NoEstimate(Exception):
    """A method has nothing to say of this world; the message is the reason that the tables give."""


@dataclass(frozen=True)
class LagEstimate:
    """Lags and edges; rows are targets, columns sources: tau_ij > 0 means that j leads i.

    Attributes
    ----------
    tau : array [C, C]
        Seconds, NaN off the support.
    support : array [C, C] of bool
        False on the diagonal.
    tau_stderr : array [C, C] or None
        Seconds; None where the method has no standard errors.
    score : array [C, C] or None
        Higher for likelier edges, of every ordered pair; None where the method has the support alone.
    delay, delay_stderr : array [C, C] or None
        How much later the row is than the column, of every pair and with no claim of an edge; None where the
        method has lags of edges alone, or no standard errors.
    """

    tau: np.ndarray
    support: np.ndarray
    tau_stderr: np.ndarray | None
    score: np.ndarray | None = None
    delay: np.ndarray | None = None
    delay_stderr: np.ndarray | None = None
