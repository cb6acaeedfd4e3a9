"""Lags against physics: recordings whose delays, directions or sources are known from elsewhere.

What is scored follows from the kind of truth, and is never averaged over kinds:

- *hidden source*: delays of pairs against distances and against arrivals measured directly, coverage of the
  95 % intervals, the offset of every other channel; and how many edges a method claims where there are none,
  and how many are left after asking whether one hidden source explains the channels as well;
- *propagation*: direction of the edges, AUROC of direct edges among all ordered pairs; or, where the path is
  a line, the delay from channel to channel away from where it begins;
- *clinical label*: whether channels of the onset zone lead, without a pass mark.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.config import Config
from cldtrans.data.known_lags.sets import KnownSystem, read_set
from cldtrans.evaluation.cell import write_cell
from cldtrans.lag.pairwise.result import NORMAL95
from cldtrans.machine import limit_threads
from cldtrans.methods.cells import Cell
from cldtrans.methods.estimators import LagEstimate, NoEstimate
from cldtrans.methods.factories import build, spec_of
from cldtrans.scoring.leads import chance_hit
from cldtrans.scoring.metrics import Scores

METRICS = {
    "hidden source": (
        "tau_rms_samples", "tau_rms_us", "tau_rms_measured_samples", "coverage95", "coverage95_distances",
        "parity_samples", "edges_claimed", "edges_after_source", "one_source",
    ),
    "propagation": ("direction_accuracy", "auroc", "delay_ms", "outwards"),
    "clinical label": ("top1", "top3", "top5", "auroc"),
}  # fmt: skip
"""By kind of truth; those that a set does not define are null with the reason."""
PARITY_HZ = 48000.0
"""Samples in which the offset between odd and even channels is given."""


def run_known_lags(
    config: Config, *, dataset: str, method: str, seed: int, output: Path, threads: int = 1
) -> dict[str, Any]:
    """Read one set, estimate its lags by one method, score them and write the result file."""
    spec = spec_of(config, method, "estimator")
    settings = config.methods[method].settings
    known = read_set(dataset, config.known_lags.folders.get(dataset, config.known_lags.folder))
    limit_threads(threads)
    scores, estimates, fit_s = Scores(), [], 0.0
    reason = known.reason
    if reason is None:
        estimator = build(spec, **settings)
        few = method in config.known_lags.few_channels
        try:
            for system in known.systems:
                part = _some_channels(system) if few else system
                started = time.perf_counter()
                estimates.append((part, _estimate(estimator, part, seed)))
                fit_s += time.perf_counter() - started
        except NoEstimate as why_not:
            reason = str(why_not)
    if reason is not None:
        scores.undefined(METRICS[known.truth], reason)
        estimates = []
    else:
        scored = [pair for pair in estimates if not pair[0].aside]
        SCORES[known.truth](scores, scored)
        for name in METRICS[known.truth]:
            if name not in scores.metrics:
                scores.undefined([name], "the set or the method does not define it")
        scores.metrics["fit_s"] = fit_s
    n_pairs = sum(int(_pairs(system).sum()) for system, _ in estimates)
    count = len(estimates)
    n = {"train": 0, "val": 0, "test": n_pairs, "subjects": {"train": 0, "val": 0, "test": count}}
    return write_cell(
        output,
        Cell("known_lags", dataset, method, "0", seed),
        config,
        scores,
        n | {"channels": max((len(system.channels) for system, _ in estimates), default=0)},
        windows=None if known.reason is not None else known,
        notes=known.notes,
        extra={"truth": known.truth, "systems": [_details(*pair) for pair in estimates]},
    )


def _estimate(estimator: Any, system: KnownSystem, seed: int) -> LagEstimate:
    options: dict[str, Any] = {"level": system.level} if getattr(estimator, "reads_level", False) else {}
    if system.band_hz is not None and getattr(estimator, "reads_band", False):
        options["band_hz"] = system.band_hz
    found: LagEstimate = estimator(system.x, system.sample_rate, system.tau_max_s, seed=seed, **options)
    return found


def _some_channels(system: KnownSystem) -> KnownSystem:
    """Return the system in the channels that slow methods get."""
    if system.few is None:
        return system
    rows = np.array(system.few)

    def pairs(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[np.ix_(rows, rows)]

    return replace(
        system,
        x=system.x[:, rows],
        channels=tuple(system.channels[row] for row in rows),
        tau=pairs(system.tau),
        arrival=pairs(system.arrival),
        edges=pairs(system.edges),
        outwards=pairs(system.outwards),
        level=None if system.level is None else system.level[rows],
        zone=None
        if system.zone is None
        else frozenset(k for k, row in enumerate(rows) if row in system.zone),
    )


def _pairs(system: KnownSystem) -> np.ndarray:
    """Tell which ordered pairs [C, C] of a system are scored."""
    if system.outwards is not None:
        return system.outwards
    if system.edges is not None:
        return system.edges
    if system.arrival is not None:
        return np.tril(np.isfinite(system.arrival))
    return np.zeros((len(system.channels),) * 2, bool)


def _delay(estimate: LagEstimate) -> tuple[np.ndarray, np.ndarray | None]:
    """Return how much later rows are, of pairs or else of edges, with standard errors."""
    if estimate.delay is not None:
        return estimate.delay, estimate.delay_stderr
    tau, back = estimate.tau, -estimate.tau.T
    forward = np.isfinite(tau) & ~(np.isfinite(back) & (_score(estimate) < _score(estimate).T))
    delay = np.where(forward, tau, back)
    stderr = estimate.tau_stderr
    return delay, None if stderr is None else np.where(forward, stderr, stderr.T)


def _score(estimate: LagEstimate) -> np.ndarray:
    return estimate.support.astype(float) if estimate.score is None else estimate.score


def score_hidden_source(scores: Scores, found: list[tuple[KnownSystem, LagEstimate]]) -> None:
    """Score delays of pairs, and edges that are claimed where there are none."""
    from cldtrans.lag import pairwise_delays
    from cldtrans.lag.single_source.common import hidden_source

    errors: list[np.ndarray] = []
    measured: list[np.ndarray] = []
    held: list[np.ndarray] = []
    held_distances: list[np.ndarray] = []
    parity: list[np.ndarray] = []
    claimed = withheld = one_source = 0
    for system, estimate in found:
        assert system.tau is not None and system.arrival is not None
        delay, stderr = _delay(estimate)
        rows, columns = np.nonzero(_pairs(system) & np.isfinite(delay))
        for truth, into, inside in ((system.tau, errors, held_distances), (system.arrival, measured, held)):
            error = (delay - truth)[rows, columns]
            into.append(error * system.sample_rate)
            if stderr is not None:
                inside.append(np.abs(error) <= NORMAL95 * stderr[rows, columns])
        first = np.arange(len(system.channels) - 1)
        parity.append(
            every_other(delay[first + 1, first], None if stderr is None else stderr[first + 1, first])
        )
        count = int(estimate.support.sum())
        claimed += count
        pairs = pairwise_delays(system.x, system.sample_rate, system.tau_max_s)
        explains = hidden_source(system.x, system.sample_rate, pairs).explains
        withheld += 0 if explains else count
        one_source += explains
    scores.metrics |= {"edges_claimed": float(claimed), "edges_after_source": float(withheld)}
    scores.metrics["one_source"] = one_source / len(found)
    scores.chance |= {"edges_claimed": 0.0, "edges_after_source": 0.0, "one_source": None}
    if not any(len(error) for error in errors):
        scores.undefined(METRICS["hidden source"][:6], "no delay of a scored pair")
        return
    rms = _rms(errors)
    scores.metrics |= {
        "tau_rms_samples": rms,
        "tau_rms_us": 1e6 * rms / found[0][0].sample_rate,
        "tau_rms_measured_samples": _rms(measured),
    }
    offsets, weights = np.concatenate(parity, axis=1)
    if len(offsets):
        scores.metrics["parity_samples"] = PARITY_HZ * float(np.average(offsets, weights=weights))
        scores.chance["parity_samples"] = None
    scores.chance |= {"tau_rms_samples": None, "tau_rms_us": None, "tau_rms_measured_samples": None}
    if held:
        scores.metrics["coverage95"] = float(np.mean(np.concatenate(held)))
        scores.metrics["coverage95_distances"] = float(np.mean(np.concatenate(held_distances)))
        scores.chance |= {"coverage95": None, "coverage95_distances": None}
    else:
        scores.undefined(["coverage95", "coverage95_distances"], "the method has no standard errors")


def every_other(step: np.ndarray, stderr: np.ndarray | None) -> np.ndarray:
    """Return what delays [C - 1] of neighbours say of an offset of odd against even channels, and weights.

    The offset turns its sign from step to step; what the place of the source adds is smooth along the line,
    and falls out of second differences.
    """
    second = (step[1:-1] - (step[:-2] + step[2:]) / 2) / 2
    found = second * np.where(np.arange(len(second)) % 2, -1.0, 1.0)
    weight = np.ones_like(found)
    if stderr is not None:
        weight = 1 / (stderr[1:-1] ** 2 / 4 + (stderr[:-2] ** 2 + stderr[2:] ** 2) / 16)
    known = np.isfinite(found) & np.isfinite(weight)
    return np.stack([found[known], weight[known]])


def score_propagation(scores: Scores, found: list[tuple[KnownSystem, LagEstimate]]) -> None:
    """Score directions and direct edges, or delays along lines."""
    right = total = 0
    areas, outwards = [], []
    for system, estimate in found:
        if system.outwards is not None:
            steps = outward(system, estimate)
            if steps is not None:
                outwards.append(steps[0])
            continue
        assert system.edges is not None
        score = _score(estimate)
        right += int((score > score.T)[system.edges].sum())
        total += int(system.edges.sum())
        areas.append(auroc(score, system.edges))
    if total:
        scores.metrics |= {"direction_accuracy": right / total, "auroc": float(np.mean(areas))}
        scores.chance |= {"direction_accuracy": 0.5, "auroc": 0.5}
        if len(found) == 1:
            scores.ci95["auroc"] = over_channels(_score(found[0][1]), found[0][0].edges)
    if outwards:
        steps_ms = 1e3 * np.concatenate(outwards)
        scores.metrics |= {"delay_ms": float(np.median(steps_ms)), "outwards": float((steps_ms > 0).mean())}
        scores.chance |= {"delay_ms": 0.0, "outwards": 0.5}


def score_label(scores: Scores, found: list[tuple[KnownSystem, LagEstimate]]) -> None:
    """Score whether channels of the onset zone lead: how much others follow them, weighted by the score."""
    hits: dict[int, list[float]] = {1: [], 3: [], 5: []}
    chance: dict[int, list[float]] = {1: [], 3: [], 5: []}
    areas = []
    for system, estimate in found:
        assert system.zone is not None
        n_channels = len(system.channels)
        inside = np.isin(np.arange(n_channels), sorted(system.zone))
        score = np.nan_to_num(_score(estimate))
        net = score.sum(0) - score.sum(1)
        for k in hits:
            hits[k].append(float(inside[np.argsort(-net, kind="stable")[:k]].any()))
            chance[k].append(chance_hit(n_channels, int(inside.sum()), k))
        areas.append(auroc(net, inside, off_diagonal=False))
    scores.metrics |= {f"top{k}": float(np.mean(values)) for k, values in hits.items()}
    scores.chance |= {f"top{k}": float(np.mean(values)) for k, values in chance.items()}
    scores.metrics["auroc"], scores.chance["auroc"] = float(np.mean(areas)), 0.5


SCORES = {
    "hidden source": score_hidden_source,
    "propagation": score_propagation,
    "clinical label": score_label,
}


def outward(system: KnownSystem, estimate: LagEstimate) -> tuple[np.ndarray, int] | None:
    """Return delays along a line, away from where it begins, and the position of that; None without delays.

    Before the beginning delays are negative, after it positive; it lies where the most of them, each by its
    sign over its standard error, at most 3, agree.
    """
    assert system.outwards is not None
    delay, stderr = _delay(estimate)
    step = delay[system.outwards]
    if not np.isfinite(step).any():
        return None
    sure = (
        np.sign(step) if stderr is None else np.clip(step / np.maximum(stderr[system.outwards], 1e-12), -3, 3)
    )
    sure = np.nan_to_num(sure)
    agreed = [sure[at:].sum() - sure[:at].sum() for at in range(len(step) + 1)]
    begins = int(np.argmax(agreed))
    signed = np.where(np.arange(len(step)) < begins, -step, step)
    return signed[np.isfinite(signed)], begins


def auroc(score: np.ndarray, truth: np.ndarray, off_diagonal: bool = True) -> float:
    """Return the area under the ROC curve; of matrices without their diagonals."""
    from scipy.stats import rankdata

    if off_diagonal:
        off = ~np.eye(len(truth), dtype=bool)
        score, truth = score[off], truth[off]
    positive = int(truth.sum())
    rank = rankdata(score)[truth].sum() - positive * (positive + 1) / 2
    return float(rank / max(positive * (len(truth) - positive), 1))


DRAWS = 1000


def over_channels(
    score: np.ndarray, edges: np.ndarray | None, other: np.ndarray | None = None
) -> list[float]:
    """Return the 95 % bootstrap interval of an AUROC over channels, or of its difference to another score's.

    Channels are drawn with replacement, and pairs of them with their multiplicity: pairs that share a channel
    are not independent.
    """
    assert edges is not None
    rng = np.random.default_rng(0)
    n_channels, values = len(edges), list[float]()
    while len(values) < DRAWS:
        drawn = rng.integers(0, n_channels, n_channels)
        apart = drawn[:, None] != drawn
        square = np.ix_(drawn, drawn)
        truth = edges[square][apart]
        if not truth.any():
            continue
        value = auroc(score[square][apart], truth, off_diagonal=False)
        if other is not None:
            value -= auroc(other[square][apart], truth, off_diagonal=False)
        values.append(value)
    return [float(bound) for bound in np.quantile(values, [0.025, 0.975])]


def _rms(errors: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.square(np.concatenate(errors)))))


def _details(system: KnownSystem, estimate: LagEstimate) -> dict[str, Any]:
    """List what figures draw: the scored pairs of a system, and the scores of all where edges are known."""
    delay, stderr = _delay(estimate)
    rows, columns = np.nonzero(_pairs(system))

    def listed(values: np.ndarray | None) -> list[float | None] | None:
        if values is None:
            return None
        return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values[rows, columns]]

    every = system.edges is not None and len(system.channels) > 5
    line = None if system.outwards is None else outward(system, estimate)
    return {
        "name": system.name,
        "aside": system.aside,
        "channels": list(system.channels),
        "later": rows.tolist(),
        "earlier": columns.tolist(),
        "delay": listed(delay),
        "stderr": listed(stderr),
        "tau": listed(system.tau),
        "arrival": listed(system.arrival),
        "score": [[float(f"{v:.6g}") for v in row] for row in _score(estimate)] if every else None,
        "edges": int(estimate.support.sum()),
        "begins": None if line is None else line[1],
    }
