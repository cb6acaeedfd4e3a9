"""Lags over time: the edges of a stretch in windows that slide along it, and where they change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from cldtrans.errors import DataError
from cldtrans.lag.fit.following import follow, least_samples
from cldtrans.lag.fit.result import LagFit
from cldtrans.lag.fit.spectra import GUARD
from cldtrans.lag.pairwise.result import NORMAL95
from cldtrans.lag.recording.lags import RecordingLags, used_band
from cldtrans.lag.recording.readings import SYSTEMATIC
from cldtrans.lag.recording.window import LEAST_FILLED, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from cldtrans.lag.amortised import AmortisedLags
    from cldtrans.lag.views.pairs import Pairs

LENGTH_S = 10.0
"""Seconds of a window."""
ALPHA = 0.01
"""Probability of any false change, over all edges and times."""


@dataclass(frozen=True)
class LagsOverTime:
    """E edges in W windows.

    Attributes
    ----------
    source, target : list of str
        Of each edge, the strongest first.
    start_s : array [W]
        When windows begin, seconds from the recording's beginning.
    length_s, every_s : float
        Seconds of a window, and from one to the next.
    tau, tau_stderr : array [W, E]
        Seconds; NaN where a window does not determine the lag, or its reading has no such edge.
    weight : array [W, E]
        In the input's units.
    z_change : array [W, E]
        Of a change of the lag between the window that ends at a window's beginning and that window, less the
        quarter of a sample by which the filter may shift each stretch otherwise, in standard errors; NaN
        where there is no such window.
    threshold : float
        Above which a change is flagged.
    """

    source: list[str]
    target: list[str]
    start_s: Float[np.ndarray, " W"]
    length_s: float
    every_s: float
    tau: Float[np.ndarray, "W E"]
    tau_stderr: Float[np.ndarray, "W E"]
    weight: Float[np.ndarray, "W E"]
    z_change: Float[np.ndarray, "W E"]
    threshold: float

    @property
    def changes(self) -> list[tuple[int, int]]:
        """Window and edge of each flagged change: the largest of a run of windows beyond the threshold."""
        found = []
        for edge, z in enumerate(np.nan_to_num(self.z_change).T):
            beyond = np.flatnonzero(z > self.threshold)
            runs = np.split(beyond, np.flatnonzero(np.diff(beyond) > 1) + 1)
            found += [(int(run[np.argmax(z[run])]), edge) for run in runs if len(run)]
        return sorted(found)

    def to_frame(self) -> pd.DataFrame:
        """Make one row an edge and window: lag with its 95 % interval, weight, and whether it changes."""
        import pandas as pd

        flagged = np.zeros(self.tau.shape, bool)
        for place in self.changes:
            flagged[place] = True
        n_windows, n_edges = self.tau.shape
        half = NORMAL95 * self.tau_stderr
        return pd.DataFrame(
            {
                "start_s": np.repeat(self.start_s, n_edges),
                "stop_s": np.repeat(self.start_s + self.length_s, n_edges),
                "source": self.source * n_windows,
                "target": self.target * n_windows,
                "tau_ms": 1e3 * self.tau.ravel(),
                "tau_low_ms": 1e3 * (self.tau - half).ravel(),
                "tau_high_ms": 1e3 * (self.tau + half).ravel(),
                "weight": self.weight.ravel(),
                "z_change": self.z_change.ravel(),
                "change": flagged.ravel(),
            }
        )

    def sentences(self) -> list[str]:
        """Say each change in a line."""
        lines = []
        for window, edge in self.changes:
            before = window - self.windows_apart
            lines.append(
                f"{self.source[edge]} → {self.target[edge]} changes at {self.start_s[window]:g} s, from "
                f"{1e3 * self.tau[before, edge]:.1f} to {1e3 * self.tau[window, edge]:.1f} ms "
                f"(z {self.z_change[window, edge]:.1f})"
            )
        return lines

    @property
    def windows_apart(self) -> int:
        """Windows from one to the first that does not overlap with it."""
        return windows_apart(self.length_s, self.every_s)

    def at(self, window: int, lags: RecordingLags) -> Pairs:
        """Return the edges of one window, as `lags` has them of the whole stretch."""
        pairs = lags.pairs()
        place = {edge: k for k, edge in enumerate(zip(self.source, self.target, strict=True))}
        table = pairs.table.copy()
        edge = [place[key] for key in zip(table["source"], table["target"], strict=True)]
        table["tau_ms"] = 1e3 * self.tau[window, edge]
        return replace(pairs, table=table[np.isfinite(table["tau_ms"])].reset_index(drop=True))


def windows_apart(length_s: float, every_s: float) -> int:
    """Return how many windows further the first begins that does not overlap with a window."""
    return int(np.ceil(length_s / every_s - 1e-9))


def over_time(
    lags: RecordingLags,
    every_s: float,
    length_s: float = LENGTH_S,
    read: Callable[[Window, float], AmortisedLags] | None = None,
) -> LagsOverTime:
    """Follow the edges of a stretch through windows that slide along it.

    Of a fit each window is one climb from the stretch's model, so that intervals are those of the window's
    own data; of a reading each window is read again. An edge of a part of the stretch alone, which the whole
    does not show, is not found.

    Parameters
    ----------
    lags : RecordingLags
        Of the stretch.
    every_s, length_s : float
        Seconds from one window to the next, and of each.
    read : callable, optional
        Reads a window, with the largest lag in seconds; for lags that were read and not fitted.

    Raises
    ------
    DataError
        Where there are not two windows that do not overlap, or a window is too short; begins with the file.
    """
    window, fit = lags.window, lags.fit
    starts, length = _starts(lags, every_s, length_s)
    cut = np.stack([window.x[:, start : start + length] for start in starts])
    table = lags.table()
    place = {name: k for k, name in enumerate(lags.channels)}
    target = [place[name] for name in table["target"]]
    source = [place[name] for name in table["source"]]
    if isinstance(fit, LagFit):
        band_hz = used_band(window)
        narrow = band_hz[1] - band_hz[0] < LEAST_FILLED * window.rate_hz / 2
        found = follow(fit, cut, band_hz if narrow else None)
        number = np.full(fit.support.shape, -1)
        number[fit.support] = np.arange(int(fit.support.sum()))
        order = number[target, source]
        tau, stderr, weight = found.tau[:, order], found.tau_stderr[:, order], found.weight[:, order]
    else:
        assert read is not None
        readings = [read(replace(window, x=x), fit.tau_max) for x in cut]
        tau, stderr, weight = (
            np.stack([getattr(one, name)[target, source] for one in readings])
            for name in ("tau", "tau_stderr", "weight")
        )
    apart = windows_apart(length_s, every_s)
    z = np.full(tau.shape, np.nan)
    z[apart:] = _change(tau, stderr, apart, SYSTEMATIC / window.rate_hz)
    tests = max(1, int(np.isfinite(z).sum()))
    return LagsOverTime(
        source=table["source"].tolist(),
        target=table["target"].tolist(),
        start_s=window.start_s + starts / window.rate_hz,
        length_s=length / window.rate_hz,
        every_s=every_s,
        tau=tau,
        tau_stderr=stderr,
        weight=weight,
        z_change=z,
        threshold=float(norm.isf(ALPHA / (2 * tests))),
    )


def _starts(lags: RecordingLags, every_s: float, length_s: float) -> tuple[np.ndarray, int]:
    """Return where windows begin, samples, and how many samples they have."""
    window = lags.window
    where = f"{window.origin}: windows of {length_s:g} s every {every_s:g} s"
    if not (every_s > 0 and length_s > 0):
        raise DataError(f"{where}: both must be positive")
    rate, length = window.rate_hz, round(length_s * window.rate_hz)
    if length_s + windows_apart(length_s, every_s) * every_s > window.x.shape[1] / rate + 1 / rate:
        raise DataError(
            f"{where}: a stretch of {window.x.shape[1] / rate:.4g} s does not hold two of them side by side; "
            "use shorter windows (--length) or a longer stretch"
        )
    if isinstance(lags.fit, LagFit):
        reach = max(lags.fit.tau_max * rate, lags.fit.self_dynamics.shape[1])
        least = int(np.ceil(reach)) + 2 * GUARD + least_samples(lags.fit)
        if length < least:
            raise DataError(
                f"{where}: the model of this stretch needs windows of {least / rate:.3g} s or more (--length)"
            )
    count = int((window.x.shape[1] - length) / (every_s * rate) + 1e-6) + 1
    return np.round(np.arange(count) * every_s * rate).astype(int), length


def _change(value: np.ndarray, stderr: np.ndarray, apart: int, allowed: float) -> np.ndarray:
    """Return by how much windows [W - apart, E] side by side differ beyond what is allowed, in errors."""
    both = np.hypot(stderr[apart:], stderr[:-apart])
    beyond = np.abs(value[apart:] - value[:-apart]) - allowed
    return np.maximum(beyond, 0.0) / np.where(both > 0, both, np.nan)
