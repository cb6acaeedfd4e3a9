"""Scores of predicted times to an event: are the probabilities right first, and then their order.

Predictions are probabilities of an event until each of K times. What is not known because follow-up ended
is made up for by inverse probability of censoring weights: the censoring distribution is the Kaplan-Meier
estimate on the scored data, as the best guess without a signal is, and both stay as they are while subjects
are resampled.

- `ibs`: integrated Brier score over the times (Graf et al. 1999, Stat. Med. 18:2529), `brier_<h>` at a
  horizon.
- `calibration_slope_<h>`: of a logistic regression of the event until h on the logit of its probability, 1 is
  right (Cox 1958, Biometrika 45:562); `expected_over_observed_<h>`: mean probability over Kaplan-Meier's.
- `c_harrell` (Harrell et al. 1982, JAMA 247:2543) and `c_ipcw` (Uno et al. 2011, Stat. Med. 30:1105, up to
  the last time) of the mean probability over the times, minus the restricted mean time but for constants;
  `auc_<h>`: cumulative cases against dynamic controls (Uno et al. 2007, J. Am. Stat. Assoc. 102:527).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cldtrans.scoring.intervals import over_subjects

MAIN = ("ibs", "c_harrell", "c_ipcw")
OF_HORIZON = ("brier", "calibration_slope", "expected_over_observed", "auc")
TIED = 1e-8  # difference of two risks that counts as none
MOST_SUBJECTS = 400
"""Beyond which subjects are resampled in so many groups: pairs are counted between all of them."""
MOST_WINDOWS = 20_000
"""Beyond which orders of pairs are those of so many windows, drawn at random."""
_BLOCK = 1 << 22
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_BOUNDS = {"calibration_slope": (-np.inf, np.inf), "expected_over_observed": (0.0, np.inf)}


def horizon_name(seconds: float) -> str:
    """Return a horizon as metrics name it: `30d`, `15min`."""
    size, unit = next((one for one in _UNITS if seconds >= one[0] and seconds % one[0] == 0), _UNITS[-1])
    return f"{seconds / size:g}{unit}"


def metric_names(horizons_s: Sequence[float]) -> list[str]:
    """Return every metric key of a task with these horizons."""
    return [*MAIN, *(f"{name}_{horizon_name(h)}" for h in horizons_s for name in OF_HORIZON)]


def kaplan_meier(
    time: np.ndarray, event: np.ndarray, censoring: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate who is left.

    Parameters
    ----------
    time : array [n]
        Of the event or of the end of follow-up.
    event : array [n] of bool
        Which of both.
    censoring : bool
        The distribution of the end of follow-up instead; events at the same time come first.

    Returns
    -------
    times : array [m]
        Distinct times, rising.
    left : array [m]
        Probability of being left after each.
    """
    times, place = np.unique(time, return_inverse=True)
    died = np.bincount(place, weights=event, minlength=len(times))
    gone = np.bincount(place, minlength=len(times))
    seen = len(time) - np.cumsum(gone) + gone
    if censoring:
        seen, died = seen - died, gone - died
    with np.errstate(invalid="ignore", divide="ignore"):
        return times, np.cumprod(np.where(died > 0, 1 - died / seen, 1.0))


def left_at(curve: tuple[np.ndarray, np.ndarray], at: np.ndarray) -> np.ndarray:
    """Read a curve of `kaplan_meier` at some times: 1 before its first, the last value after its last."""
    times, left = curve
    return np.concatenate([[1.0], left])[np.searchsorted(times, at, side="right")]


class SurvivalStatistics:
    """Metrics as functions of how often each subject counts.

    Parameters
    ----------
    times : array [K]
        For which probabilities are given, seconds, rising.
    y : array [n, 2]
        Time, and 1 for an event or 0 for the end of follow-up.
    proba : array [n, K]
        Probability of an event until each time.
    position : array [n] of int
        Each window's subject, from 0.
    horizons_s : sequence of float
        Those of `times` that have metrics of their own.

    Attributes
    ----------
    missing : dict of str
        Why a metric is not defined, by its key.
    """

    def __init__(
        self,
        times: np.ndarray,
        y: np.ndarray,
        proba: np.ndarray,
        position: np.ndarray,
        horizons_s: Sequence[float] = (),
    ) -> None:
        self.times, self.proba = times, proba
        self.time, self.event = y[:, 0].astype(float), y[:, 1] == 1
        self.position, self.n_subjects = position, int(position.max()) + 1
        self.missing: dict[str, str] = {}
        curve = kaplan_meier(self.time, self.event, censoring=True)
        followed, kept = left_at(curve, self.time), left_at(curve, times)
        # Of an event at the very end, where nobody is followed up any more: it counts at no earlier time.
        self._weight = np.divide(self.event, followed, out=np.zeros(len(y)), where=followed > 0)
        self._kept = np.divide(
            1.0, kept, out=np.zeros(len(times)), where=kept > 0
        )  # of who is left at a time
        self._left = left_at(kaplan_meier(self.time, self.event), times)
        self._n = self._total(np.ones(len(y)))
        known = (times < self.time.max()) & (self._kept > 0)
        self.last = int(known.sum())  # times up to which somebody is followed up beyond
        self._brier = self._total(self._squared(proba))
        self._pairs: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._order(horizons_s)
        self.horizons = [(h, int(np.flatnonzero(np.isclose(times, h))[0])) for h in horizons_s]
        for h, k in self.horizons:
            if k >= self.last or not (self.event & (self.time <= h)).any():
                names = [f"{name}_{horizon_name(h)}" for name in OF_HORIZON]
                reason = (
                    f"no test window is followed up beyond {h:g} s"
                    if k >= self.last
                    else f"no event within {h:g} s among the test windows"
                )
                self.missing |= dict.fromkeys(names, reason)
        if self.last < 2:
            self.missing["ibs"] = f"fewer than two of the {len(times)} times lie within follow-up"

    def constant(self) -> np.ndarray:
        """Return the guess that knows the scored labels and no signal: Kaplan-Meier's, [n, K]."""
        return np.broadcast_to(1 - self._left, self.proba.shape)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Compute every defined metric with weights [R, S] of the subjects; [R] each, NaN where undefined."""
        n = weights @ self._n
        brier = (weights @ self._brier) / n[:, None]
        found = {}
        if "ibs" not in self.missing:
            span = self.times[: self.last]
            found["ibs"] = np.trapezoid(brier[:, : self.last], span, axis=1) / (span[-1] - span[0])
        found |= {name: self._ratio(name, weights) for name in ("c_harrell", "c_ipcw") if name in self._pairs}
        for h, k in self.horizons:
            name = horizon_name(h)
            if f"brier_{name}" in self.missing:
                continue
            found[f"brier_{name}"] = brier[:, k]
            found[f"calibration_slope_{name}"] = self._slope(k, weights)
            mean = (weights @ self._total(self.proba[:, k])) / n
            found[f"expected_over_observed_{name}"] = mean / (1 - self._left[k])
            if f"auc_{name}" in self._pairs:
                found[f"auc_{name}"] = self._ratio(f"auc_{name}", weights)
        return found

    def _total(self, values: np.ndarray) -> np.ndarray:
        """Sum values [n] or [n, K] over each subject's windows."""
        total = np.zeros((self.n_subjects, *values.shape[1:]))
        np.add.at(total, self.position, values)
        return total

    def _squared(self, proba: np.ndarray) -> np.ndarray:
        """Weighted squared errors, [n, K]."""
        had = self.event[:, None] & (self.time[:, None] <= self.times)
        left = self.time[:, None] > self.times
        return had * self._weight[:, None] * (1 - proba) ** 2 + left * self._kept * proba**2

    def _order(self, horizons_s: Sequence[float]) -> None:
        """Count pairs in the right order between subjects, by metric."""
        n = len(self.time)
        some = np.arange(n)
        if n > MOST_WINDOWS:
            some = np.sort(np.random.default_rng(0).choice(n, MOST_WINDOWS, replace=False))
        time, event, weight = self.time[some], self.event[some], self._weight[some]
        where, risk = self.position[some], self.proba[some].mean(axis=1)
        squared = np.where(time < self.times[-1], weight**2, 0.0)

        def later(row: np.ndarray) -> np.ndarray:
            same = (time == time[row, None]) & ~event
            return (time > time[row, None]) | same

        events = np.flatnonzero(event)
        self._count("c_harrell", risk, events, np.ones(len(time)), later, where)
        within = events[squared[events] > 0]
        self._count("c_ipcw", risk, within, squared, later, where)
        for h in horizons_s:
            k = int(np.flatnonzero(np.isclose(self.times, h))[0])
            cases = np.flatnonzero(event & (time <= h))
            beyond = np.broadcast_to(time > h, (1, len(time)))
            self._count(
                f"auc_{horizon_name(h)}",
                self.proba[some, k],
                cases,
                weight,
                lambda row, beyond=beyond: np.repeat(beyond, len(row), axis=0),
                where,
            )

    def _count(
        self,
        name: str,
        risk: np.ndarray,
        cases: np.ndarray,
        weight: np.ndarray,
        other: Any,
        where: np.ndarray,
    ) -> None:
        right, total = np.zeros((2, self.n_subjects, self.n_subjects))
        member = np.zeros((len(risk), self.n_subjects))
        member[np.arange(len(risk)), where] = 1.0
        rows = max(1, _BLOCK // max(len(risk), 1))
        for first in range(0, len(cases), rows):
            row = cases[first : first + rows]
            pair = other(row)
            above = risk[row, None] - risk
            score = np.where(np.abs(above) <= TIED, 0.5, above > 0) * pair
            np.add.at(right, where[row], weight[row, None] * (score @ member))
            np.add.at(total, where[row], weight[row, None] * (pair @ member))
        if total.sum() > 0:
            self._pairs[name] = right, total
        else:
            self.missing.setdefault(name, "no pair of test windows can be put in order")

    def _ratio(self, name: str, weights: np.ndarray) -> np.ndarray:
        right, total = (((weights @ table) * weights).sum(axis=1) for table in self._pairs[name])
        return np.divide(right, total, out=np.full(len(weights), np.nan), where=total > 0)

    def _slope(self, k: int, weights: np.ndarray) -> np.ndarray:
        """Slopes [R] of weighted logistic regressions on the logit of time k's probability, by Newton."""
        p = self.proba[:, k].clip(1e-6, 1 - 1e-6)
        x = np.stack([np.ones(len(p)), np.log(p / (1 - p))])  # [2, n]
        had = self.event & (self.time <= self.times[k])
        base = np.where(had, self._weight, np.where(self.time > self.times[k], self._kept[k], 0.0))
        if np.ptp(x[1][base > 0]) < 1e-9:
            return np.full(len(weights), np.nan)
        w = weights[:, self.position] * base  # [R, n]
        beta = np.tile([0.0, 1.0], (len(weights), 1))
        gram = np.einsum("an,bn->nab", x, x).reshape(-1, 4)
        for _ in range(25):
            fit = 1 / (1 + np.exp(-(beta @ x).clip(-30, 30)))
            gradient = (w * (had - fit)) @ x.T
            curvature = ((w * fit * (1 - fit)) @ gram).reshape(-1, 2, 2) + 1e-9 * np.eye(2)
            step = np.linalg.solve(curvature, gradient[..., None])[..., 0].clip(-2, 2)
            beta = beta + step
            if np.abs(step).max() < 1e-9:
                break
        settled = (np.abs(step) < 1e-6).all(axis=1)  # not where an order is perfect: no finite slope
        return np.where(settled, beta[:, 1], np.nan)


def score(
    times: np.ndarray,
    y: np.ndarray,
    proba: np.ndarray,
    subjects: np.ndarray,
    horizons_s: Sequence[float] = (),
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Score predicted event probabilities on held-out windows.

    Parameters
    ----------
    times, y, proba, horizons_s
        As in `SurvivalStatistics`.
    subjects : array [n]
        The unit of the intervals.
    seed : int
        Of the resampling of subjects.

    Returns
    -------
    dict
        `metrics`, `chance` (the Kaplan-Meier estimate of the scored labels; order: 0.5), `ci95` and
        `reasons`, as `Scores` holds them.
    """
    position = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)[1]
    alone = np.zeros_like(position)
    found = SurvivalStatistics(times, y, proba, alone, horizons_s)
    one = np.ones((1, 1))
    values, reasons = found(one), dict(found.missing)
    guess = SurvivalStatistics(times, y, found.constant(), alone, horizons_s)(one)
    names = metric_names(horizons_s)
    metrics = {name: float(values[name][0]) if name in values else None for name in names}
    for name, value in metrics.items():
        if value is not None and not np.isfinite(value):
            metrics[name] = None
            reasons[name] = "the predictions are all the same, or in perfect order: no finite slope"
        elif value is None:
            reasons.setdefault(name, "not defined by the test windows")
    chance = {name: None if metrics[name] is None else _chance(name, guess) for name in names}
    if found.last < len(times) and metrics["ibs"] is not None:
        reasons["ibs"] = f"integrated to {times[found.last - 1]:g} s, where follow-up ends"
    n_subjects = int(position.max()) + 1
    if n_subjects > MOST_SUBJECTS:
        group = np.random.default_rng(seed).permutation(n_subjects) % MOST_SUBJECTS
        position, n_subjects = group[position], MOST_SUBJECTS
        reasons["ci95.groups"] = f"subjects are resampled in {MOST_SUBJECTS} groups"
    if len(y) > MOST_WINDOWS:
        reasons["order"] = f"of {MOST_WINDOWS} windows, drawn at random"
    statistic = SurvivalStatistics(times, y, proba, position, horizons_s)
    bounds = {f"{name}_{horizon_name(h)}": ends for name, ends in _BOUNDS.items() for h in horizons_s}
    intervals = over_subjects(statistic, n_subjects, cost=6 * len(y), seed=seed, bounds=bounds)
    ci95 = {name: ends for name, ends in intervals.ci95.items() if metrics.get(name) is not None}
    return {"metrics": metrics, "chance": chance, "ci95": ci95, "reasons": reasons | intervals.reasons}


def _chance(name: str, guess: Mapping[str, np.ndarray]) -> float:
    if name.startswith(("calibration_slope", "expected")):
        return 1.0
    return 0.5 if name.startswith(("c_", "auc")) else float(guess[name][0])
