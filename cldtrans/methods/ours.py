"""Our own model as a method: what a checkpoint says of windows, without training it."""

from __future__ import annotations

import numpy as np

from cldtrans.methods.linear_probe import LinearProbe
from cldtrans.methods.windows import LabelledWindows


class ProbedFeatures:
    """A linear probe as a classifier of windows that carry features."""

    def __init__(self, kind: str, classes: tuple[str, ...]) -> None:
        self._probe = LinearProbe(kind, classes)

    @property
    def parameters(self) -> int | None:
        """Number of fitted parameters; None before the fit."""
        return self._probe.parameters

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit, for the result file."""
        return self._probe.notes

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit the probe on the windows' features."""
        self._probe.fit(train.features, train.y, val.features, val.y)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K] from the windows' features."""
        return self._probe.predict_proba(windows.features)
