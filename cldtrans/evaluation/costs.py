"""What a fine-tuned network costs: a step of its training, and one window when it is used."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from cldtrans.methods.windows import Classifier, LabelledWindows

USES = 10  # of one window, of which the median counts


def costs_of(classifier: Classifier, test: LabelledWindows) -> dict[str, Any]:
    """Return `costs` for the result file of a classifier with a strategy; nothing for another.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    test : LabelledWindows
        Of which the first window is predicted again and again.

    Returns
    -------
    dict
        `costs`: those of a step (`cldtrans.methods.tuning.Tuning.costs`), `use_ms`, the median time that one
        window takes from the shards to its probabilities, and `model_bytes`, the weights'.
    """
    tuning = getattr(classifier, "tuning", None)
    if tuning is None:
        return {}
    first = LabelledWindows(test.shards, test.rows[:1])
    times = []
    for _ in range(USES):
        begin = time.perf_counter()
        classifier.predict_proba(first)
        times.append(time.perf_counter() - begin)
    used = {"use_ms": 1e3 * float(np.median(times))}
    parameters = getattr(classifier, "parameters", None)
    if parameters is not None:
        used["model_bytes"] = 4.0 * parameters
    return {"costs": {"strategy": tuning.settings.strategy, **tuning.costs(), **used}}
