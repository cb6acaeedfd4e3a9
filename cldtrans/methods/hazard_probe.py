"""A linear probe for times to an event: one logit of the hazard an interval, moved by the features alike.

logit h_k(x) = a_k + w x, a proportional-odds model of hazards (Cox 1972, J. R. Stat. Soc. B 34:187, section
6), by lbfgs from Kaplan-Meier's hazards; the ridge penalty on w is chosen by the likelihood of validation
subjects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from cldtrans.methods.linear_probe import DEFAULT_PENALTY, PENALTIES, Blocks
from cldtrans.scoring.discrete_time import at_risk, log_likelihood, probabilities_of, times_of

MAX_ITERATIONS = 300


class HazardProbe:
    """Ridge-penalised discrete-time logistic hazards on given features.

    Parameters
    ----------
    classes : sequence of str
        Ends of the K intervals in seconds, as a task of kind `time_to_event` names its classes.
    blocks : sequence of (int, float), optional
        Width and share of each block of features, by which they are scaled; default: one block.
    """

    def __init__(self, classes: Sequence[str], blocks: Blocks | None = None) -> None:
        self.classes, self.times, self.blocks = tuple(classes), times_of(classes), blocks
        self.parameters: int | None = None
        self.penalty = DEFAULT_PENALTY
        self.notes: list[str] = []

    def fit(self, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> None:
        """Fit the probe; validation windows choose the penalty only.

        Parameters
        ----------
        x, x_val : array [n, F]
            Features of training and validation windows.
        y, y_val : array [n, 2]
            Time in seconds, and 1 for an event or 0 for the end of follow-up.
        """
        x = np.asarray(x, dtype=np.float64)
        deviation = x.std(axis=0)
        self.mean = x.mean(axis=0)
        self.scale = np.where(deviation > 1e-5 * np.abs(self.mean) + 1e-12, deviation, np.inf)
        self._factor = self._factors()
        x, x_val = self._scaled(x), self._scaled(x_val)
        exposed, failed = at_risk(y, self.times)
        seen = exposed.sum(0)
        share = (failed.sum(0) + 0.5) / (seen + 1.0)
        start = np.concatenate([np.log(share / (1 - share)), np.zeros(x.shape[1])])
        path = []
        for penalty in PENALTIES:
            start = self._minimum(start, x, exposed, failed, penalty)
            path.append(start)
        best = PENALTIES.index(DEFAULT_PENALTY)
        if len(x_val) and (np.asarray(y_val)[:, 1] == 1).any():
            quality = [log_likelihood(y_val, self._predict(one, x_val), self.times) for one in path]
            best = int(np.argmax(np.round(quality, 9)))  # ties: the stronger penalty
        else:
            self.notes.append(f"no event in the validation windows: penalty {DEFAULT_PENALTY:g} by default")
        self.penalty, self._fitted = PENALTIES[best], path[best]
        self.parameters = len(self._fitted)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Predict probabilities [n, K] of an event until each time, from features [n, F]."""
        return self._predict(self._fitted, self._scaled(x))

    def linear(self) -> tuple[np.ndarray, np.ndarray]:
        """Return weights [K, F], all rows alike, and biases [K], as a `TaskHead` takes them."""
        k = len(self.times)
        return np.tile(self._fitted[k:] * self._factor, (k, 1)), self._fitted[:k]

    def _factors(self) -> np.ndarray:
        if self.blocks is None:
            return np.ones(len(self.scale))
        widths = [width for width, _ in self.blocks]
        varies = np.isfinite(self.scale)
        alive = [max(int(part.sum()), 1) for part in np.split(varies, np.cumsum(widths)[:-1])]
        share = np.array([share for _, share in self.blocks])
        size = share / max(share.sum(), 1e-12) * max(int(varies.sum()), 1) / np.array(alive)
        return np.repeat(np.sqrt(size), widths)

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return np.clip((np.asarray(x, dtype=np.float64) - self.mean) / self.scale, -10, 10) * self._factor

    def _predict(self, fitted: np.ndarray, x: np.ndarray) -> np.ndarray:
        k = len(self.times)
        return probabilities_of(expit(fitted[:k] + (x @ fitted[k:])[:, None]))

    def _minimum(
        self, start: np.ndarray, x: np.ndarray, exposed: np.ndarray, failed: np.ndarray, penalty: float
    ) -> np.ndarray:
        k, n = exposed.shape[1], len(x)

        def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
            logits = values[:k] + (x @ values[k:])[:, None]
            cross = exposed * (np.logaddexp(0, logits) - failed * logits)
            error = exposed * (expit(logits) - failed)
            slope = np.concatenate([error.sum(0), x.T @ error.sum(1)]) / n
            slope[k:] += penalty * values[k:]
            return float(cross.sum() / n + 0.5 * penalty * values[k:] @ values[k:]), slope

        return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS}).x
