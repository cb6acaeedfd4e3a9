"""How well lags and edges of simulated LD-SEM worlds are recovered, against the Cramér-Rao bound.

A method is an `estimator` factory of the config: an object called with windows [N, C, T], the rate, the
largest lag and a seed, that returns a `LagEstimate`. Metrics: edges by precision, recall and F1 over
ordered pairs; lags on the edges that are found and true, as mean absolute error in samples and as
root-mean-square of error over bound (1 is the best an unbiased estimator can do); how often the 95 %
intervals hold the true lag.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.config import Config
from cldtrans.errors import ConfigError, suggestion
from cldtrans.evaluation.cell import write_cell
from cldtrans.machine import limit_threads
from cldtrans.methods.cells import Cell
from cldtrans.methods.estimators import LagEstimate, NoEstimate
from cldtrans.methods.factories import build, spec_of
from cldtrans.scoring.metrics import Scores

_EDGES = ("edge_precision", "edge_recall", "edge_f1")
_ON_EDGES = ("tau_mae_samples", "error_over_bound", "coverage95")


def run_identifiability(
    config: Config, *, world: str, method: str, seed: int, output: Path, threads: int = 1
) -> dict[str, Any]:
    """Simulate one world, estimate its lags, score them and write the result file."""
    from cldtrans.lag import lag_bounds, simulate_ldsem

    worlds = config.identifiability.worlds
    if world not in worlds:
        raise ConfigError(f"unknown world {world!r}{suggestion(world, worlds)}")
    spec = spec_of(config, method, "estimator")
    settings = config.methods[method]
    arguments = dict(worlds[world])
    tau_max_s = float(arguments.pop("tau_max_s", config.identifiability.tau_max_s))
    try:
        sample = simulate_ldsem(**arguments, seed=seed)
    except TypeError as error:
        raise ConfigError(f"identifiability.worlds.{world}: {error}") from None
    estimator = build(spec, **settings.settings)
    limit_threads(threads)
    started = time.perf_counter()
    try:
        estimate = estimator(sample.x, sample.sample_rate, tau_max_s, seed=seed)
    except NoEstimate as reason:
        estimate, why_not = None, str(reason)
    fit_s = time.perf_counter() - started
    bound: np.ndarray | None = None
    if sample.coupling == "linear" and sample.support.any() and (np.asarray(sample.scale) > 0).all():
        bound = lag_bounds(
            sample.x,
            sample.weight,
            sample.tau,
            sample.sample_rate,
            sample.self_dynamics,
            sample.innovation,
            sample.scale,
            sample.degrees_of_freedom,
        )
    if estimate is None:
        scores = Scores()
        scores.undefined((*_EDGES, *_ON_EDGES), why_not)
    else:
        scores = score_lags(sample.tau, sample.support, estimate, sample.sample_rate, bound)
    n_windows, n_channels, n_samples = sample.x.shape
    scores.metrics["fit_s"] = fit_s
    n = {
        "train": 0,
        "val": 0,
        "test": n_windows,
        "subjects": {"train": 0, "val": 0, "test": 1},
        "channels": n_channels,
        "samples": n_samples,
        "edges": int(sample.support.sum()),
        "found": 0 if estimate is None else int(estimate.support.sum()),
    }
    extra = {"world": {**worlds[world], "tau_max_s": tau_max_s}, "method": settings.settings}
    return write_cell(
        output, Cell("identifiability", world, method, "0", seed), config, scores, n, extra=extra
    )


def score_lags(
    tau: np.ndarray, support: np.ndarray, estimate: LagEstimate, sample_rate: float, bound: np.ndarray | None
) -> Scores:
    """Compute the metrics of an estimate.

    Parameters
    ----------
    tau : array [C, C]
        True lags, seconds.
    support : array [C, C] of bool
        True edges.
    estimate : LagEstimate
        The method's.
    sample_rate : float
        Hertz.
    bound : array [C, C] or None
        Cramér-Rao standard deviations, seconds.
    """
    scores = Scores()
    off = ~np.eye(len(support), dtype=bool)
    true, found = support & off, np.asarray(estimate.support) & off
    both = true & found
    density = float(true.sum() / off.sum())
    _edges(scores, int(both.sum()), int(found.sum()), int(true.sum()), density)
    if not both.any():
        scores.undefined(_ON_EDGES, "no edge is both true and found")
        return scores
    error = np.abs(estimate.tau[both] - tau[both])
    scores.metrics["tau_mae_samples"] = float(error.mean() * sample_rate)
    scores.chance |= {"tau_mae_samples": None, "error_over_bound": None, "coverage95": None}
    if bound is None:
        scores.undefined(["error_over_bound"], "no Cramér-Rao bound for this world (coupling or innovations)")
    else:
        scores.metrics["error_over_bound"] = float(np.sqrt(np.mean((error / bound[both]) ** 2)))
    stderr = None if estimate.tau_stderr is None else estimate.tau_stderr[both]
    if stderr is None or not np.isfinite(stderr).any():
        scores.undefined(["coverage95"], "the method has no standard errors")
    else:
        known = np.isfinite(stderr)
        scores.metrics["coverage95"] = float(np.mean(error[known] <= 1.959964 * stderr[known]))
    return scores


def _edges(scores: Scores, both: int, found: int, true: int, density: float) -> None:
    """Add precision, recall, F1; chance is the best blind guess, which is to name every pair."""
    if true == 0:
        scores.undefined(_EDGES[1:], "the world has no edges")
        if found:
            scores.metrics["edge_precision"] = 0.0
        else:
            scores.undefined(_EDGES[:1], "no edge found, and there is none")
        scores.metrics["false_edges"] = float(found)
        return
    scores.metrics |= {"edge_recall": both / true, "edge_f1": 2 * both / (found + true)}
    scores.chance |= {"edge_recall": None, "edge_f1": 2 * density / (1 + density), "edge_precision": density}
    if found:
        scores.metrics["edge_precision"] = both / found
    else:
        scores.undefined(["edge_precision"], "no edge found")
    scores.metrics["false_edges"] = float(found - both)
