"""What an `estimator` of lags and edges returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class NoEstimate(Exception):
    """A method has nothing to say of this world; the message is the reason that the tables give."""


@dataclass(frozen=True)
class LagEstimate:
    """Rows are targets, columns sources: tau_ij > 0 means that j leads i.

    tau         [C, C] seconds, NaN off the support
    support     [C, C] bool, False on the diagonal
    tau_stderr  [C, C] seconds, or None where the method has no standard errors
    """

    tau: np.ndarray
    support: np.ndarray
    tau_stderr: np.ndarray | None
