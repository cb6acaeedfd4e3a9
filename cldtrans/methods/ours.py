"""Our own model as a method: what a checkpoint says of windows, without training it."""

from __future__ import annotations

import numpy as np

from cldtrans.methods.probes import probe_of
from cldtrans.methods.windows import LabelledWindows, NoTwin


class ProbedFeatures:
    """A linear probe as a classifier of windows that carry features."""

    def __init__(self, kind: str, classes: tuple[str, ...]) -> None:
        self._kind, self._classes = kind, classes
        self.parameters: int | None = None
        self.notes: list[str] = []

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit the probe on the windows' features, block by block."""
        self._probe = probe_of(self._kind, self._classes, train.blocks)
        self._probe.fit(train.features, train.y, val.features, val.y)
        self.parameters, self.notes = self._probe.parameters, self._probe.notes

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K] from the windows' features."""
        return self._probe.predict_proba(windows.features)

    def twin(self) -> ProbedTwin:
        """Return the random twin, not fitted."""
        return ProbedTwin(self._kind, self._classes)


class ProbedTwin:
    """The same probe on the features that fresh weights give."""

    parameters: int | None = None

    def __init__(self, kind: str, classes: tuple[str, ...]) -> None:
        self._kind, self._classes = kind, classes

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit the probe on the windows' features, block by block.

        Raises
        ------
        NoTwin
            Where the file of features holds none of a twin.
        """
        x, x_val = train.twin_features, val.twin_features
        if x is None or x_val is None:
            raise NoTwin("the features hold no twin; delete them and run again")
        self._probe = probe_of(self._kind, self._classes, train.blocks)
        self._probe.fit(x, train.y, x_val, val.y)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]."""
        assert windows.twin_features is not None
        return self._probe.predict_proba(windows.twin_features)
