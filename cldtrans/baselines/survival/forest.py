"""A random forest of hazards on hand-made features: a row for each window and interval it lived through.

References
----------
Bou-Hamad, Larocque and Ben-Ameur 2011, Stat. Modelling 11:429; Schmid et al. 2020, Stat. Med. 39:3896.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from cldtrans.baselines.survival.features import HandMade
from cldtrans.baselines.survival.times import only_times
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring.discrete_time import at_risk, probabilities_of

MOST_ROWS = 200_000


class HazardForest:
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    trees : int
        Of the forest.
    leaf : float
        Least share of the rows in a leaf, whose share of events is the hazard.
    """

    card = Card(
        title="Random forest (hazards)",
        source="Schmid et al. 2020, Stat. Med. 39:3896",
        licence="MIT (ours); scikit-learn: BSD-3",
        reproduced="",
        differs="on hand-made features; Gini splits, the interval is a feature",
    )
    parameters = None

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        trees: int = 200,
        leaf: float = 0.002,
    ) -> None:
        self._times, self._features = only_times(task, type(self).__name__), HandMade(modality, sample_rate)
        self._forest = RandomForestClassifier(
            trees, min_samples_leaf=leaf, max_features="sqrt", n_jobs=threads, random_state=seed
        )
        self._seed = seed

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit on training windows; validation windows are not looked at."""
        x = self._features.fitted(train)
        exposed, failed = at_risk(train.y, self._times)
        row, interval = np.nonzero(exposed)
        if len(row) > MOST_ROWS:
            some = np.random.default_rng(self._seed).choice(len(row), MOST_ROWS, replace=False)
            row, interval = row[some], interval[some]
        self._forest.fit(np.column_stack([x[row], interval]), failed[row, interval])

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K] of an event until each time."""
        x, k = self._features(windows), len(self._times)
        if not len(x):
            return np.zeros((0, k))
        rows = np.column_stack([np.repeat(x, k, axis=0), np.tile(np.arange(k), len(x))])
        if True not in self._forest.classes_:
            return np.zeros((len(x), k))
        column = int(np.flatnonzero(self._forest.classes_ == True)[0])  # noqa: E712
        return probabilities_of(self._forest.predict_proba(rows)[:, column].reshape(len(x), k))
