"""How much each block of a feature vector weighs, chosen on validation windows by coordinate search.

A ridge penalty of its own for each block is one penalty for all and a factor on each block's features. The
search asks least squares, of which only the windows' inner products are needed. With a few dozen validation
windows a free choice loses more than it finds, so a weight moves from what it was given only where the error
falls by `ERRORS` standard errors of the difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FACTORS = (0.03, 0.3, 3.0)  # on a block's variance
PENALTIES = tuple(np.logspace(1, -5, 7))  # beside inner products that average to about one
ERRORS = 2.0
ROUNDS = 2
MOST = 2000  # windows of either part that the search looks at: inner products are of all pairs


def block_weights(
    blocks: Sequence[np.ndarray], y: np.ndarray, blocks_val: Sequence[np.ndarray], y_val: np.ndarray
) -> np.ndarray:
    """Choose factors on the blocks' variance.

    Parameters
    ----------
    blocks, blocks_val : sequences of arrays [n, F_b]
        Each block's features of training and validation windows, standardised and scaled as first guessed.
    y, y_val : array [n, K] of float
        0 or 1; rows with any other value are left out.

    Returns
    -------
    array [blocks]
        1 where the first guess stays.
    """
    weights = np.ones(len(blocks))
    some, some_val = _known(y), _known(y_val)
    if len(blocks) < 2 or len(some) < 2 or len(some_val) < 2:
        return weights
    grams = np.stack([block[some] @ block[some].T for block in blocks])
    across = np.stack([val[some_val] @ block[some].T for block, val in zip(blocks, blocks_val, strict=True)])
    size = max(float(np.trace(grams.sum(0))) / len(some), 1e-12)
    truth, truth_val = y[some].astype(float), y_val[some_val].astype(float)

    def errors(weights: np.ndarray) -> np.ndarray:
        gram, onto = (np.tensordot(weights, g, 1) / size for g in (grams, across))
        return _errors(gram, onto, truth, truth_val)

    best = errors(weights)
    for _ in range(ROUNDS):
        before = weights.copy()
        for block in range(len(blocks)):
            for factor in FACTORS:
                trial = weights.copy()
                trial[block] = factor
                found = errors(trial)
                gain = best - found
                if gain.mean() > ERRORS * gain.std() / np.sqrt(len(gain)):
                    weights, best = trial, found
        if (weights == before).all():
            break
    return weights


def _known(y: np.ndarray) -> np.ndarray:
    """Return rows whose labels are all known, at most `MOST`, evenly spread."""
    rows = np.flatnonzero(np.isin(y, (0, 1)).all(1))
    return rows[np.linspace(0, len(rows) - 1, MOST).round().astype(int)] if len(rows) > MOST else rows


def _errors(gram: np.ndarray, across: np.ndarray, y: np.ndarray, y_val: np.ndarray) -> np.ndarray:
    """Squared errors [n_val] of ridge regression at its best penalty, a question's answers equally heavy."""
    mean = gram.mean(0)
    centred = gram - mean - mean[:, None] + mean.mean()
    values, vectors = np.linalg.eigh(centred)
    along = vectors.T @ (y - y.mean(0))
    onto = (across - across.mean(1, keepdims=True) - mean + mean.mean()) @ vectors
    share = y.mean(0).clip(1 / len(y), 1 - 1 / len(y))
    weight = np.where(y_val == 1, 0.5 / share, 0.5 / (1 - share))
    target = y_val - y.mean(0)
    found = []
    for penalty in PENALTIES:
        predicted = onto @ (along / (values.clip(0) + penalty * len(y))[:, None])
        found.append((weight * (predicted - target) ** 2).mean(1))
    return min(found, key=np.mean)
