"""How a recorded seizure spreads: who leads it, and who follows when, in windows that begin later and later.

Each window is read by itself, by `cldtrans.lag.focal_lead`, against the quiet windows of its recording. The
posterior is the model's, of one source that reaches the channels with delays; it is not the probability of
the seizure's focus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cldtrans.data.montages.electrodes import on_head
from cldtrans.data.shards import ShardSet
from cldtrans.evaluation.cases import quiet_rows, spread

AFTER_S = (0.0, 2.0, 5.0)
"""Where windows begin, seconds after the onset."""
COLUMNS = (
    "dataset",
    "recording",
    "seizure",
    "onset_s",
    "after_s",
    "channel",
    "p_first",
    "participation",
    "delay_s",
    "delay_stderr_s",
    "evidence",
    "found",
    "quiet_windows",
)


def propagation(shards: Sequence[ShardSet], after_s: Sequence[float] = AFTER_S) -> tuple[pd.DataFrame, str]:
    """Follow one seizure: the first, by corpus and recording, that has what is needed.

    That is channels with places on the head, quiet windows in its recording, and a signal without gaps from
    the onset to the end of the last window.

    Parameters
    ----------
    shards : sequence of ShardSet
        Corpora, in the order in which they are asked.
    after_s : sequence of float
        Where windows begin, seconds after the onset.

    Returns
    -------
    table : DataFrame
        One row a window and channel, of `COLUMNS`: delays in seconds after the likeliest lead, NaN where a
        channel does not take part; evidence in nats against "no single source", `found` where it speaks for
        one that at least two channels carry. Empty where no seizure will do.
    reason : str
        Why the table is empty, or "".
    """
    why = "no corpus with scalp EEG in this run"
    for windows in shards:
        if windows.reason is not None or on_head(windows.channels) is None:
            continue
        name = str(windows.meta["dataset"])
        if windows.meta["scale"] != "recording" or windows.meta["stride_s"] != windows.meta["window_s"]:
            why = f"{name}: windows of a recording do not join (its scale or stride_s)"
            continue
        needed_s = after_s[-1] + windows.meta["window_s"]
        why = f"{name}: no seizure with quiet windows and {needed_s:g} s of signal"
        index = windows.index
        onsets = index[index["kind"] == "onset"].groupby(["recording", "event"], sort=True)["start_s"].min()
        quiet = quiet_rows(windows)
        for (recording, event), onset_s in onsets.items():
            rows = quiet.get(str(recording), np.array([], dtype=int))
            start_s, length = index["start_s"].to_numpy()[rows], windows.meta["window_s"]
            apart = (start_s + length <= onset_s) | (start_s >= onset_s + needed_s)
            parts = _read(windows, str(recording), float(onset_s), after_s, rows[apart])
            if parts is not None:
                about = (name, str(recording), int(event) + 1, float(onset_s))
                return pd.concat([_about(part, about) for part in parts], ignore_index=True), ""
    return pd.DataFrame(columns=list(COLUMNS)), why


def stretch(
    windows: ShardSet, recording: str, start_s: float, length_s: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Put a stretch of a recording together from the windows of its grid.

    Parameters
    ----------
    windows : ShardSet
        Whose windows join: one begins where another one ends, scaled over the recording.
    recording : str
        Its name.
    start_s, length_s : float
        The stretch, in seconds.

    Returns
    -------
    x : array [C, T] of float32
        The stretch.
    mask : array [C] of bool
        True where the channel is valid all along.
    None where a part of it is in no window.
    """
    index, window_s = windows.index, windows.meta["window_s"]
    start = index["start_s"].to_numpy()
    last_s = start_s + length_s
    touching = (start < last_s - 1e-9) & (start + window_s > start_s + 1e-9)
    rows = np.flatnonzero((index["kind"] == "grid") & (index["recording"] == recording) & touching)
    rows = rows[np.argsort(start[rows])]
    joined = len(rows) and np.allclose(np.diff(start[rows]), window_s)
    if not joined or start[rows[0]] > start_s + 1e-9 or start[rows[-1]] + window_s < last_s - 1e-9:
        return None
    first = round((start_s - start[rows[0]]) * windows.rate_hz)
    whole = np.concatenate(list(windows.signals(rows)), axis=-1)
    x = whole[:, first : first + round(length_s * windows.rate_hz)]
    return x, np.all(windows.mask(rows), axis=0)


def _read(
    windows: ShardSet, recording: str, onset_s: float, after_s: Sequence[float], quiet: np.ndarray
) -> list[pd.DataFrame] | None:
    """Return one table a window; None where a window or the background is missing."""
    from cldtrans.lag import focal_lead

    if not len(quiet):
        return None
    chosen = spread(quiet)
    background, sound = windows.signals(chosen), windows.mask(chosen).all(axis=0)
    parts = []
    for after in after_s:
        found = stretch(windows, recording, onset_s + after, windows.meta["window_s"])
        if found is None or (found[1] & sound).sum() < 2:
            return None
        x, valid = found[0], found[1] & sound
        lead = focal_lead(x[valid], windows.rate_hz, background[:, valid])
        parts.append(
            pd.DataFrame(
                {
                    "after_s": after,
                    "channel": [name for name, use in zip(windows.channels, valid, strict=True) if use],
                    "p_first": np.exp(lead.log_posterior),
                    "participation": lead.participation,
                    "delay_s": lead.delay,
                    "delay_stderr_s": lead.delay_stderr,
                    "evidence": lead.evidence,
                    "found": lead.found,
                    "quiet_windows": len(chosen),
                }
            )
        )
    return parts


def _about(part: pd.DataFrame, about: tuple[str, str, int, float]) -> pd.DataFrame:
    named = dict(zip(COLUMNS[:4], about, strict=True))
    return part.assign(**named)[list(COLUMNS)]
