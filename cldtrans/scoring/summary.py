"""From result files to tidy tables: pure functions, no number is typed in anywhere.

The tidy frame has one row a result file and metric: experiment, dataset, method, budget, seed, metric,
value, chance, ci_low, ci_high (over held-out subjects), n_subjects, n_windows, reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from cldtrans.provenance import read_result
from cldtrans.scoring.intervals import t_interval

COLUMNS = (
    "experiment",
    "dataset",
    "method",
    "budget",
    "seed",
    "metric",
    "value",
    "chance",
    "ci_low",
    "ci_high",
    "n_subjects",
    "n_windows",
    "reason",
)
CELL = ["experiment", "dataset", "method", "budget", "metric"]
FEWEST_SEEDS = 3
"""Below which nothing is said of the spread over seeds."""
PairedIntervals = Callable[[tuple[Any, ...], tuple[Any, ...]], Mapping[str, Sequence[float] | None]]
LOWER_IS_BETTER = (
    "tau_mae_samples",
    "error_over_bound",
    "fit_s",
    "false_edges",
    "false_alarms_per_h",
    "latency_s",
    "ibs",
    "rmse",
    "nrmse",
    "ranking_loss",
    "coverage_error",
    "hamming_loss",
    "tau_rms_samples",
    "tau_rms_us",
    "tau_rms_measured_samples",
    "edges_claimed",
    "edges_after_source",
)


def read_results(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read result records, checked, in a fixed order."""
    return [read_result(path) for path in sorted(map(str, paths))]


def tidy(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Make one row a record and metric; value is NaN where the metric is null."""
    rows = []
    for record in records:
        for metric, value in record["metrics"].items():
            low, high = record["ci95"].get(metric) or (None, None)
            rows.append(
                {
                    **{key: record[key] for key in ("experiment", "dataset", "method", "budget", "seed")},
                    "metric": metric,
                    "value": value,
                    "chance": record["chance"].get(metric),
                    "ci_low": low,
                    "ci_high": high,
                    "n_subjects": record["n"]["subjects"]["test"],
                    "n_windows": record["n"]["test"],
                    "reason": record["reasons"].get(metric),
                }
            )
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = ["value", "chance", "ci_low", "ci_high"]
    return frame.astype(dict.fromkeys(numbers, float))


def over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Average each cell and metric over seeds, with a 95 % t-interval.

    Returns
    -------
    DataFrame
        Columns: the cell, metric, mean, t_low, t_high, n_seeds (with a value), chance (mean), ci_low and
        ci_high over subjects (mean over seeds of the bounds), n_subjects and n_windows (least over
        seeds), reason.
    """
    rows = []
    for key, group in frame.groupby(CELL, sort=False):
        values = group["value"].dropna().to_numpy()
        bounds = t_interval(values) if len(values) else None
        reasons = group["reason"].dropna().unique()
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "mean": values.mean() if len(values) else np.nan,
                "t_low": bounds[0] if bounds else np.nan,
                "t_high": bounds[1] if bounds else np.nan,
                "n_seeds": len(values),
                "chance": group["chance"].mean(),
                "ci_low": group["ci_low"].mean(),
                "ci_high": group["ci_high"].mean(),
                "n_subjects": int(group["n_subjects"].min()),
                "n_windows": int(group["n_windows"].min()),
                "reason": "; ".join(reasons) if len(reasons) else None,
            }
        )
    columns = [*CELL, "mean", "t_low", "t_high", "n_seeds", "chance", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=[*columns, "n_subjects", "n_windows", "reason"])


def against_best_baseline(
    frame: pd.DataFrame,
    ours: Sequence[str],
    baselines: Sequence[str],
    metrics: Sequence[str],
    paired: PairedIntervals = lambda ours, theirs: {},
) -> pd.DataFrame:
    """Set each of our methods against the best baseline of its cell, paired by seed and by subject.

    The best baseline has the best mean over the seeds that both share.

    Parameters
    ----------
    frame : DataFrame
        From `tidy`.
    ours, baselines : sequence of str
        Names of methods.
    metrics : sequence of str
        Those compared.
    paired : callable
        Maps two cells (experiment, dataset, method, budget, seed), ours and theirs, to the 95 % interval by
        metric of the difference over the held-out subjects that they share.

    Returns
    -------
    DataFrame
        `difference` is ours minus theirs; low and high bound it over subjects (mean over seeds of the
        bounds). With three shared seeds or more, `effect_size` is the difference in standard deviations over
        seeds, and p that of a two-sided paired t-test (None where all differences are equal), Holm-corrected
        over all rows. `reason` says why there is no interval or no p.
    """
    rows = []
    chosen = frame[frame["metric"].isin(metrics)].dropna(subset=["value"])
    for key, group in chosen.groupby(["experiment", "dataset", "budget", "metric"], sort=False):
        table = group.pivot_table(index="seed", columns="method", values="value", aggfunc="first")
        sign = -1 if str(key[3]).partition("@")[0] in LOWER_IS_BETTER else 1
        rivals = [name for name in baselines if name in table]
        for name in ours:
            if name not in table or not rivals:
                continue
            shared = {rival: table[[name, rival]].dropna() for rival in rivals}
            means = {rival: sign * both[rival].mean() for rival, both in shared.items() if len(both)}
            if not means:
                continue
            best = max(means, key=lambda rival: means[rival])
            difference = (shared[best][name] - shared[best][best]).to_numpy()
            experiment, dataset, budget, metric = key
            found = [
                paired(*((experiment, dataset, method, budget, int(seed)) for method in (name, best)))
                for seed in shared[best].index
            ]
            bounds = [one.get(metric) for one in found]
            known = [bound for bound in bounds if bound is not None]
            low, high = np.mean(known, axis=0) if len(known) == len(bounds) else (np.nan, np.nan)
            enough = len(difference) >= FEWEST_SEEDS
            reasons = [] if len(known) == len(bounds) else ["no interval over subjects"]
            reasons += [] if enough else [f"seeds: {len(difference)}, of {FEWEST_SEEDS} that a test takes"]
            rows.append(
                {
                    **dict(zip(("experiment", "dataset", "budget", "metric"), key, strict=True)),
                    "method": name,
                    "baseline": best,
                    "difference": difference.mean(),
                    "low": low,
                    "high": high,
                    "n_seeds": len(difference),
                    "effect_size": effect_size(difference) if enough else np.nan,
                    "p": paired_p(difference) if enough else np.nan,
                    "reason": "; ".join(reasons) or None,
                }
            )
    columns = ["experiment", "dataset", "budget", "metric", "method", "baseline", "difference"]
    result = pd.DataFrame(rows, columns=[*columns, "low", "high", "n_seeds", "effect_size", "p", "reason"])
    result["p_holm"] = holm(result["p"].to_numpy(dtype=float))
    return result


def paired_p(difference: np.ndarray) -> float:
    """Return the two-sided p of a paired t-test from the differences [n]; NaN where it is not defined."""
    if len(difference) < 2 or np.ptp(difference) == 0:
        return np.nan
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def effect_size(difference: np.ndarray) -> float:
    """Return Cohen's d of paired differences [n]: mean over standard deviation; NaN where that is zero.

    References
    ----------
    Cohen 1988, Statistical Power Analysis, d_z of section 2.3.5.
    """
    if len(difference) < 2 or np.ptp(difference) == 0:
        return np.nan
    return float(difference.mean() / difference.std(ddof=1))


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values [n] by Holm's step-down method; NaN stay, uncounted.

    References
    ----------
    Holm 1979, Scand. J. Stat. 6:65.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted
