"""How far each lag of a recording can be read: what is printed as a finding must be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.data.montages.dependent_leads import dependent_leads, limb_leads

if TYPE_CHECKING:
    import pandas as pd

    from cldtrans.lag.amortised import AmortisedLags
    from cldtrans.lag.fit.result import LagFit

MEANING = {
    "lag": "the interval lies above zero: the source comes first",
    "possible lag": "the same, but what is left of the target is not noise: interval and p are too narrow",
    "amortised": "by the pretrained model, with an interval above zero: not fitted, and so no finding",
    "one sample": "a lag of about one sample, as filter, sampling and smearing make: not a finding by itself",
    "at the limit": "the largest lag that was searched: the true one may be longer, or there is none",
    "zero lag": "the interval comes too near zero: direction open; volume conduction looks so",
    "dependent leads": "between limb leads of an ECG, which are sums of each other: not to be read",
    "undetermined": "an edge, but its lag could be almost anything",
    "implausible": "weights that cancel each other, as where all channels see one source: not to be read",
}
READINGS = tuple(MEANING)
"""What can be read first."""
SYSTEMATIC = 0.25
"""Samples by which filter and new rate shift the lags of simulated recordings, beside the standard error."""
MOST_CONTRIBUTION = 10.0
"""Deviations of a target that one source may contribute."""
COLOURED = 0.1
"""Autocorrelation of residuals beyond the 0.08 that the filter leaves where simulated lags are right."""
NEAR_LIMIT = 1.0
"""Samples from the largest lag searched within which a lag is at the limit."""
LEAST_P = 1e-300
"""Smallest p-value that is told: below it, numbers end and the model's assumptions have ended long before."""


def read(
    table: pd.DataFrame,
    fit: LagFit | AmortisedLags,
    channels: Sequence[str],
    deviation: Sequence[float],
) -> np.ndarray:
    """Tell of each edge how far its lag can be read.

    Parameters
    ----------
    table : DataFrame
        Its summary.
    fit : LagFit or AmortisedLags
        What it is the summary of.
    channels : sequence of str
        Names of the C channels.
    deviation : sequence of float
        Of the C channels, in one unit.

    Returns
    -------
    array [n] of str
        Of `READINGS`; the first that holds of: implausible, undetermined, dependent leads, at the limit, zero
        lag, one sample, possible lag, lag; without a fit, amortised in place of the last two.
    """
    spread = dict(zip(channels, deviation, strict=True))
    contribution = table["weight"].abs() * table["source"].map(spread)
    sample_ms = 1e3 / fit.sample_rate
    limb = {channels[i] for i in limb_leads(channels)} if dependent_leads(channels) else set()
    residual = getattr(fit, "autocorrelation", None)
    worst = np.zeros(len(channels)) if residual is None else np.nan_to_num(residual)
    coloured = {name for name, value in zip(channels, worst, strict=True) if value > COLOURED}
    tests = {
        "implausible": contribution > MOST_CONTRIBUTION * table["target"].map(spread),
        "undetermined": table["tau_high_ms"] - table["tau_low_ms"] > 500.0 * fit.tau_max,
        "dependent leads": table["source"].isin(limb) & table["target"].isin(limb),
        "at the limit": table["tau_ms"] > 1e3 * fit.tau_max - NEAR_LIMIT * sample_ms,
        "zero lag": table["tau_low_ms"] <= SYSTEMATIC * sample_ms,
        "one sample": table["tau_ms"] <= (1 + SYSTEMATIC) * sample_ms,
        "possible lag": table["target"].isin(coloured),
    }
    best = "amortised" if "probability" in table else "lag"
    return np.select([test.to_numpy(dtype=bool) for test in tests.values()], list(tests), best)


WORST = (
    "too little data",
    "are autocorrelated",
    "no montage was derived",
    "look Gaussian",
    "sums of",
    "linear combination",
    "share a reference",
    "equally likely",
    "less likely",
    "at tau_max",
    "as long as allowed",
    "drift",
)
"""What warnings hold, the gravest first."""


def worst_of(warnings: Sequence[str]) -> str | None:
    """Return the gravest of a fit's warnings, if any, to stand beside every table and figure."""
    for sign in WORST:
        for line in warnings:
            if sign in line:
                return line
    return None


def written_p(p: float) -> str:
    """Write a p-value, never as zero."""
    return f"< {LEAST_P:.0e}" if p <= LEAST_P else f"{p:.1g}"


def evidence(row: Mapping[str, Any]) -> str:
    """Write what speaks for the edge of a table's row: its p-value, or the pretrained model's probability."""
    return written_p(row["p_value"]) if "p_value" in row else f"{row['probability']:.2f}"
