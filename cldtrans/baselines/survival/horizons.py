"""Logistic regression on hand-made features, one for each time by which the event may have happened.

Who is no longer followed up at a time is left out for it; the others are weighted by the inverse probability
of being followed up (Zheng, Cai and Feng 2006, Biometrics 62:279).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from cldtrans.baselines.survival.features import HandMade
from cldtrans.baselines.survival.times import only_times
from cldtrans.methods.cards import Card
from cldtrans.methods.linear_probe import DEFAULT_PENALTY, PENALTIES
from cldtrans.methods.windows import LabelledWindows
from cldtrans.scoring.discrete_time import log_likelihood
from cldtrans.scoring.survival import kaplan_meier, left_at


class HorizonLogistic:
    """The `classifier` factory of the config; probabilities that fall with time are lifted.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    """

    card = Card(
        title="Logistic per horizon",
        source="Zheng, Cai and Feng 2006, Biometrics 62:279",
        licence="MIT (ours)",
        reproduced="",
        differs="on hand-made features; one penalty for all times, chosen on validation subjects",
    )

    def __init__(
        self, task: Any, channels: tuple[str, ...], sample_rate: float, modality: str, seed: int, threads: int
    ) -> None:
        self._times, self._features = only_times(task, type(self).__name__), HandMade(modality, sample_rate)
        self.parameters: int | None = None

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit on training windows; validation windows choose the penalty."""
        x, x_val, y = self._features.fitted(train), self._features(val), train.y
        time, event = y[:, 0], y[:, 1] == 1
        curve = kaplan_meier(time, event, censoring=True)
        paths: list[list[tuple[np.ndarray, float]]] = [[] for _ in PENALTIES]
        for t in self._times:
            had, beyond = event & (time <= t), time > t
            weight = np.divide(had, left_at(curve, time), out=np.zeros(len(y)), where=had)
            weight = np.where(beyond, 1 / max(left_at(curve, np.array([t]))[0], 1e-12), weight)
            known = weight > 0
            for path, penalty in zip(paths, PENALTIES, strict=True):
                path.append(_regression(x[known], had[known], weight[known], penalty))
        best = PENALTIES.index(DEFAULT_PENALTY)
        if len(val) and (val.y[:, 1] == 1).any():
            quality = [log_likelihood(val.y, _rising(path, x_val), self._times) for path in paths]
            best = int(np.argmax(np.round(quality, 9)))
        self._models = paths[best]
        self.parameters = sum(len(w) + 1 for w, _ in self._models)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K] of an event until each time."""
        return _rising(self._models, self._features(windows))


def _regression(
    x: np.ndarray, had: np.ndarray, weight: np.ndarray, penalty: float
) -> tuple[np.ndarray, float]:
    """Weights [F] and bias; a constant where training shows one answer alone."""
    share = float(np.average(had, weights=weight)) if len(had) else 0.5
    if share in (0.0, 1.0) or not len(had):
        share = min(max(share, 0.5 / (len(had) + 1)), 1 - 0.5 / (len(had) + 1))
        return np.zeros(x.shape[1]), float(np.log(share / (1 - share)))
    model = LogisticRegression(C=1 / (penalty * weight.sum()), max_iter=300)
    model.fit(x, had, sample_weight=weight)
    return model.coef_[0], float(model.intercept_[0])


def _rising(models: list[tuple[np.ndarray, float]], x: np.ndarray) -> np.ndarray:
    logits = np.column_stack([x @ w + b for w, b in models]) if len(x) else np.zeros((0, len(models)))
    return np.maximum.accumulate(1 / (1 + np.exp(-logits)), axis=1)
