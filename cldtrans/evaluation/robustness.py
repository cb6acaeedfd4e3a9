"""Scores on degraded recordings of held-out subjects.

Training, penalty and thresholds stay those of clean ones. Random parts are drawn per window from the seed and
the window's place in the index: the order of reading does not matter. Metric keys are `<metric>@<condition>`,
the clean ones plain.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.config import Config
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.evaluation.cell import NO_WINDOWS, write_cell
from cldtrans.evaluation.degradations import Condition, conditions
from cldtrans.evaluation.fewshot import labelled_parts, make_classifier, task_of, unfit
from cldtrans.evaluation.predictions import predictions_of, score_predictions
from cldtrans.machine import limit_threads
from cldtrans.methods.cells import Cell
from cldtrans.methods.factories import PROBED, spec_of
from cldtrans.methods.search import fitted
from cldtrans.methods.windows import LabelledWindows, counts, in_batches
from cldtrans.scoring.metrics import Scores, main_names

# Signals [n, C, T] in microvolts or millivolts, mask [n, C], names of the channels -> features [n, F].
Extract = Callable[[np.ndarray, np.ndarray, tuple[str, ...]], np.ndarray]


class DegradedWindows(LabelledWindows):
    """Windows as they would be under a condition.

    Parameters
    ----------
    clean : LabelledWindows
        The windows to degrade.
    condition : Condition
        What is done to them.
    seed : int
        Of the random parts.
    extract : callable or None
        Makes the features; None for classifiers that read signals.
    """

    def __init__(
        self,
        clean: LabelledWindows,
        condition: Condition,
        seed: int,
        extract: Extract | None,
    ) -> None:
        super().__init__(clean.shards, clean.rows)
        self._condition, self._seed, self._extract = condition, seed, extract
        self.channels = condition.channels or self.channels

    def x(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Read the degraded signals, float32 [n, C, T], standardised."""
        return self._degraded(which)[0]

    def signals(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Read the same in microvolts (EEG) or millivolts (ECG)."""
        x, _, scale = self._degraded(which)
        return x * scale[..., None]

    def mask(self, which: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return the channels that are left, bool [n, C]."""
        return self._degraded(which)[1]

    @property
    def features(self) -> np.ndarray:
        """Features of the degraded windows, float32 [n, F]."""
        if self._extract is None:
            raise ValueError("these windows were opened without a feature extractor")
        found = []
        for part in in_batches(len(self), 256):
            x, mask, scale = self._degraded(part)
            found.append(self._extract(x * scale[..., None], mask, self.channels))
        return np.concatenate(found)

    def _degraded(self, which: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Windows of unit scale [n, C, T], mask [n, C], scale [n, C]; of new channels, the window's."""
        rows = self.rows[which]
        x, mask, scale = self.shards.windows(rows), self.shards.mask(rows), self.shards.scales(rows)
        remounted = self._condition.channels is not None
        if remounted:
            x = x * scale[..., None]
        found = []
        for k, row in enumerate(rows):
            rng = np.random.default_rng([self._seed, int(row)])
            found.append(self._condition.apply(x[k], mask[k], self.rate_hz, rng, ()))
        shape = (0, len(self.channels), x.shape[-1])
        x = np.stack([one for one, _ in found]) if found else np.zeros(shape, np.float32)
        mask = np.stack([left for _, left in found]) if found else np.zeros(shape[:2], bool)
        if remounted:
            scale = np.where(mask, x.std(axis=-1), 0)
            x = x / np.where(scale > 0, scale, 1)[..., None]
        return x, mask, scale


def run_robustness(
    config: Config,
    *,
    dataset: str,
    method: str,
    budget: str,
    seed: int,
    shards: Path,
    split: Path,
    output: Path,
    features: Path | None = None,
    checkpoint: Path | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Fit as a few-shot cell, score clean and degraded test windows, and write the result file.

    Arguments as in `run_fewshot`.
    """
    windows = ShardSet(shards)
    task = task_of(windows)
    parts, problem = labelled_parts(windows, dataset, split, budget, seed, features)
    if parts is not None:
        problem = unfit(task, parts[0], parts[2])
    names = main_names(task.kind)
    chosen = conditions(config.robustness, windows.channels)
    scores = Scores()
    classifier = None
    if parts is None or problem:
        scores.undefined(
            [f"{name}{suffix}" for suffix in ("", *(f"@{c.name}" for c in chosen)) for name in names], problem
        )
    else:
        train, val, test = parts
        extract: Extract | None = None
        if spec_of(config, method, "classifier") == PROBED:
            extract = _extractor(checkpoint, test, windows.modality, threads)
        classifier = make_classifier(config, method, windows, seed, threads, features, checkpoint)
        limit_threads(threads)
        classifier = fitted(classifier, task, config.search.rate_factors, train, val)
        proba_val = classifier.predict_proba(val) if len(val) else None
        degraded = {f"@{c.name}": DegradedWindows(test, c, seed, extract) for c in chosen}
        for suffix, scored in {"": test, **degraded}.items():
            proba = classifier.predict_proba(scored)
            found = score_predictions(predictions_of(windows, val, proba_val, scored, proba, seed))
            _keep(scores, found, names, suffix)
    n = NO_WINDOWS if parts is None else counts(*parts)
    cell = Cell("robustness", dataset, method, budget, seed)
    return write_cell(
        output, cell, config, scores, n, windows=windows, checkpoint=checkpoint, scored=classifier
    )


def _extractor(checkpoint: Path | None, test: LabelledWindows, modality: str, threads: int) -> Extract:
    """Return what makes features of degraded windows, after a look that it gives the stored ones.

    The stored ones are of clean windows.
    """
    if checkpoint is None:
        raise DataError("degraded windows need the stage-1 checkpoint (--checkpoint)")
    from cldtrans.methods.model_readouts import PooledFeatures

    pooled = PooledFeatures(checkpoint, modality, threads)
    some = slice(0, 4)
    again = pooled(test.signals(some), test.mask(some), test.rate_hz, test.channels)
    stored = test.features[some]
    if again.shape != stored.shape or not np.allclose(again, stored, rtol=1e-2, atol=1e-3):
        raise DataError(f"{checkpoint} does not give the stored features; delete them and run again")
    return lambda x, mask, channels: pooled(x, mask, test.rate_hz, channels)


def _keep(scores: Scores, found: Scores, names: list[str], suffix: str) -> None:
    for name in names:
        key = name + suffix
        scores.metrics[key] = found.metrics[name]
        scores.chance[key] = found.chance.get(name)
        if name in found.ci95:
            scores.ci95[key] = found.ci95[name]
        if name in found.reasons:
            scores.reasons[key] = found.reasons[name]
