"""Gradient-boosted trees on the features of `feature_linear`: no network, strong where features are good.

Histogram-based boosting (Ke et al. 2017, NeurIPS) as scikit-learn has it; missing channels stay missing.
Exclusive classes are weighted to balance, and the number of trees is the one with the best validation
metric.
"""

from __future__ import annotations

import copy
from itertools import islice
from typing import Any, Self

import numpy as np

from cldtrans.baselines.feature_linear import hand_made
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring.metrics import PRIMARY, classification

LOOK_EVERY = 10  # rounds of boosting


class BoostedFeatures:
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    rounds : int
        Rounds of boosting, at most.
    learning_rate : float
        Shrinkage.
    """

    card = Card(
        title="Boosted features",
        source="Ke et al. 2017, NeurIPS 30 (LightGBM), as scikit-learn's HistGradientBoosting",
        licence="BSD-3-Clause (scikit-learn)",
        reproduced="the library's own",
        differs="hand-made features are ours; published rows use others",
        published=(("sleepedf", "macro F1", "0.772 (CatBoost, SC78, EEG + EOG)", "secondary transcription"),),
    )

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        rounds: int = 200,
        learning_rate: float = 0.1,
    ) -> None:
        self.kind, self.classes = task.kind, tuple(task.classes)
        self._rate_hz, self._modality, self._seed = sample_rate, modality, seed
        self._rounds, self._learning_rate = rounds, learning_rate
        self.parameters: int | None = None
        self.notes: list[str] = []

    @property
    def has_rate(self) -> bool:
        """Tell whether it learns at a rate: its shrinkage."""
        return True

    def at_rate(self, factor: float) -> Self:
        """Return another, not fitted, at its shrinkage times a factor."""
        other = copy.copy(self)
        other._learning_rate, other.notes = factor * self._learning_rate, []
        return other

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Grow the trees; validation windows choose how many are used."""
        x = hand_made(train, self._modality, self._rate_hz)
        questions = list(train.y.T) if self.kind == "multilabel" else [train.y]
        self._models = [self._grown(x, truth) for truth in questions]
        self._used = self._best_round(val) if len(val) else self._rounds
        self.parameters = sum(
            len(tree.nodes)
            for model in self._models
            if not isinstance(model, int)
            for trees in model._predictors[: self._used]
            for tree in trees
        )

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]."""
        if not len(windows):
            return np.zeros((0, len(self.classes)))
        return next(islice(self._stages(windows), self._used - 1, None))

    def _grown(self, x: np.ndarray, truth: np.ndarray) -> Any:
        """Return the trees of one question; its only answer where training has no other."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        known = truth >= 0
        values = np.unique(truth[known]).astype(int)
        if len(values) < 2:
            return int(values[0]) if len(values) else 0
        model = HistGradientBoostingClassifier(
            max_iter=self._rounds,
            learning_rate=self._learning_rate,
            class_weight=None if self.kind == "multilabel" else "balanced",
            early_stopping=False,
            random_state=self._seed,
        )
        return model.fit(x[known], truth[known].astype(int))

    def _stages(self, windows: LabelledWindows) -> Any:
        """Yield the probabilities [n, K] after each round."""
        x = hand_made(windows, self._modality, self._rate_hz)
        each = [None if isinstance(model, int) else model.staged_predict_proba(x) for model in self._models]
        for _ in range(self._rounds):
            columns = []
            for model, stages in zip(self._models, each, strict=True):
                found = np.zeros((len(x), len(self.classes) if self.kind == "multiclass" else 2))
                if stages is None:
                    found[:, model] = 1
                else:
                    found[:, model.classes_] = next(stages)
                columns.append(found)
            if self.kind == "multilabel":
                yield np.stack([found[:, 1] for found in columns], axis=1)
            else:
                yield columns[0]

    def _best_round(self, val: LabelledWindows) -> int:
        together, best, used = np.zeros(len(val), dtype=int), -np.inf, self._rounds
        for done, proba in enumerate(self._stages(val), start=1):
            if done % LOOK_EVERY and done != self._rounds:
                continue
            found = classification(self.kind, self.classes, val.y, proba, together)
            quality = found.metrics[PRIMARY[self.kind]]
            if quality is None:
                self.notes.append(f"validation does not define {PRIMARY[self.kind]}: every round is used")
                return self._rounds
            if quality > best:
                best, used = quality, done
        return used
