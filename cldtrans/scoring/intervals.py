"""95 % intervals: BCa bootstrap across subjects, t-intervals over seeds.

Windows of one subject are not independent, so whole subjects are resampled. A statistic is a function of
subject weights ``[R, S]`` (how often each of S subjects was drawn in each of R resamples), which lets one
matrix product or one cumulative sum score all resamples at once.

Which interval is given:

- 5 subjects or more: BCa (Efron 1987, J. Am. Stat. Assoc. 82:171), 2000 resamples; resamples on which the
  metric is undefined (one class only) are left out, and where they are the majority there is no interval.
- 2-4 subjects: a t-interval on the jackknife's standard error with S - 1 degrees of freedom. It is wide, as
  it should be: a bootstrap of so few subjects has a handful of distinct values and covers far less than 95 %.
- every subject alike at the end of the metric's range (all right, all wrong): no resampling gives a width;
  Clopper-Pearson with n = S ("rule of three") is used instead.
- every subject alike elsewhere, or 1 subject: none, with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from scipy import stats

RESAMPLES = 2000
FEWEST_FOR_BOOTSTRAP = 5
_CHUNK_BYTES = 64 << 20

Statistic = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Intervals:
    """Intervals by metric.

    Attributes
    ----------
    ci95 : dict
        Lower and upper end by metric; None: not defined, see reasons.
    reasons : dict of str
        Why there is none.
    """

    ci95: dict[str, list[float] | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def subject_weights(n_subjects: int, resamples: int, seed: int) -> np.ndarray:
    """Draw how often each subject is in each resample, float64 [R, S]; rows sum to S."""
    rng = np.random.default_rng(seed)
    equal = np.full(n_subjects, 1 / n_subjects)
    return rng.multinomial(n_subjects, equal, size=resamples).astype(float)


def over_subjects(
    statistic: Statistic,
    n_subjects: int,
    *,
    cost: int = 1,
    seed: int = 0,
    resamples: int = RESAMPLES,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> Intervals:
    """Find the 95 % interval of every metric of a statistic, by resampling subjects.

    Parameters
    ----------
    statistic : callable
        Maps weights [R, S] to {metric: [R]}, NaN where a resample leaves the metric undefined.
    n_subjects : int
        S.
    cost : int
        Numbers that the statistic holds per resample (for example windows): sets how many go at once.
    seed : int
        Of the resampling.
    resamples : int
        R.
    bounds : mapping, optional
        Range of a metric where it is not [0, 1].
    """
    if n_subjects < 2:
        return Intervals(reasons={"ci95": f"{n_subjects} held-out subject(s): no interval over subjects"})
    rows = max(1, _CHUNK_BYTES // (8 * max(cost, n_subjects, 1)))

    def evaluate(weights: np.ndarray) -> dict[str, np.ndarray]:
        pieces = [statistic(weights[i : i + rows]) for i in range(0, len(weights), rows)]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    estimate = evaluate(np.ones((1, n_subjects)))
    jackknife = evaluate(1.0 - np.eye(n_subjects))
    few = n_subjects < FEWEST_FOR_BOOTSTRAP
    drawn = None if few else evaluate(subject_weights(n_subjects, resamples, seed))
    result = Intervals()
    for name, value in estimate.items():
        low, high = (bounds or {}).get(name, (0.0, 1.0))
        found: tuple[float, float] | None
        if not np.isfinite(value[0]):
            found = None
        elif np.ptp(jackknife[name]) == 0 and value[0] in (low, high):
            successes = n_subjects if value[0] == high else 0
            exact = stats.binomtest(successes, n_subjects).proportion_ci(0.95, "exact")
            found = (low + (high - low) * exact.low, low + (high - low) * exact.high)
        elif np.ptp(jackknife[name]) == 0:
            found = None
        elif drawn is None:
            found = _jackknife_t(value[0], jackknife[name], (low, high))
        else:
            found = bca(value[0], drawn[name], jackknife[name])
        result.ci95[name] = None if found is None else [float(found[0]), float(found[1])]
        if found is None and np.isfinite(value[0]):
            alike = np.ptp(jackknife[name]) == 0
            result.reasons[f"ci95.{name}"] = (
                "all held-out subjects score the same"
                if alike
                else "undefined on most resamples of the subjects"
            )
    if few:
        result.reasons["ci95"] = f"jackknife t-interval: only {n_subjects} held-out subjects"
    return result


def bca(
    estimate: float, drawn: np.ndarray, jackknife: np.ndarray, level: float = 0.95
) -> tuple[float, float] | None:
    """Find the bias-corrected, accelerated interval from resampled and leave-one-out values.

    By scipy, which takes resampled values as they are and asks for the statistic of all subjects and of all
    but one; weights, and resamples that leave a metric undefined, it does not know.

    Parameters
    ----------
    estimate : float
        The statistic of all subjects.
    drawn : array [R]
        Of resampled subjects, NaN where undefined.
    jackknife : array [S]
        Of all subjects but one, NaN where undefined.
    level : float
        Coverage.

    Returns
    -------
    (float, float) or None
        None where more than half of the resamples, or all but one of the leave-one-out values, are
        undefined.

    References
    ----------
    Efron 1987, J. Am. Stat. Assoc. 82:171.
    """
    undefined = ~np.isfinite(drawn)
    drawn, jackknife = drawn[~undefined], jackknife[np.isfinite(jackknife)]
    if undefined.mean() > 0.5 or len(jackknife) < 2:
        return None
    if np.ptp(drawn) == 0:
        return float(drawn[0]), float(drawn[0])
    below = (np.mean(drawn < estimate) + np.mean(drawn <= estimate)) / 2
    if below in (0.0, 1.0) or np.ptp(jackknife) == 0:  # BCa is undefined, the percentile interval is not
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)
    influence = jackknife - estimate

    def of_absent(present: np.ndarray, axis: int) -> np.ndarray:
        """Return the statistic less the estimate, where all subjects are present or all but one."""
        return influence.sum() - present.sum(axis=axis)

    found = stats.bootstrap(
        (influence,),
        of_absent,
        n_resamples=0,
        confidence_level=level,
        method="BCa",
        bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn - estimate),
    ).confidence_interval
    return float(estimate + found.low), float(estimate + found.high)


def _jackknife_t(
    estimate: float, jackknife: np.ndarray, bounds: tuple[float, float]
) -> tuple[float, float] | None:
    if not np.isfinite(jackknife).all():
        return None
    n = len(jackknife)
    error = np.sqrt((n - 1) / n * ((jackknife - jackknife.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, n - 1) * error
    return max(bounds[0], float(estimate - half)), min(bounds[1], float(estimate + half))


def mean_over_subjects(values: np.ndarray, subjects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average each subject's items, those that are NaN left out.

    Returns
    -------
    means : array [S]
        One a subject with any item.
    names : array [S]
        The subjects.
    """
    names, position = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    valid = np.isfinite(values)
    count = np.bincount(position[valid], minlength=len(names))
    total = np.bincount(position[valid], weights=values[valid], minlength=len(names))
    with np.errstate(invalid="ignore"):
        means = total / count
    return means[count > 0], names[count > 0]


def of_subject_means(means: Mapping[str, np.ndarray], seed: int = 0) -> Intervals:
    """Find intervals of the mean over subjects of several per-subject scores, [S] in [0, 1]."""
    result = Intervals()
    for name, values in means.items():

        def statistic(
            weights: np.ndarray, name: str = name, values: np.ndarray = values
        ) -> dict[str, np.ndarray]:
            return {name: weights @ values / weights.sum(axis=1)}

        one = over_subjects(statistic, len(values), seed=seed)
        result.ci95.update(one.ci95)
        result.reasons.update(one.reasons)
    return result


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Find the Student interval of a mean, for example over seeds; None for fewer than two values."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)
