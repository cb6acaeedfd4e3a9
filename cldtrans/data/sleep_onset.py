"""Sleep-EDF Database Expanded 1.0.0, asked when sleep begins: a time to an event.

Source: https://physionet.org/content/sleep-edfx/1.0.0/, doi 10.13026/C2X676, ODC-By 1.0; as `sleepedf`.
Labels: seconds from a window's end, when the question is asked, to the first epoch scored as any stage of
sleep (the end of the AASM's sleep latency). Should nobody fall asleep in a recording, follow-up ends with its
last scored epoch awake. Windows are all those awake before, however long before: none is chosen by what comes
later. The signal is cut off at the onset before it is filtered, so that no sample of sleep is in any window.
Split: by person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cldtrans.data.base import Published, Signal, time_to_event
from cldtrans.data.sleepedf import SleepEdf

HORIZONS_S = (60.0, 300.0, 900.0, 1800.0)


class SleepOnset(SleepEdf):
    """Evenings until sleep begins.

    Parameters
    ----------
    horizons_s : sequence of float
        Times in seconds by which probabilities are reported.
    """

    name = "sleepedf-onset"
    title = "Sleep-EDF, sleep onset"
    published = Published(
        197, 100, 1150.0, 0.0, 100.0, "7.2 h before sleep at home and 0.5 h in hospital; files of sleepedf"
    )

    def __init__(self, horizons_s: Sequence[float] = HORIZONS_S) -> None:
        self.task = time_to_event("sleep_onset", horizons_s)  # type: ignore[misc]  # an instance may choose

    def read(self, root: Path, row: Any) -> Signal:
        """Read the recording up to the onset of sleep, in microvolts."""
        signal = super().read(root, row)
        end_s, _ = self._end(root, row)
        return replace(signal, data=signal.data[:, : max(0, int(end_s * signal.rate_hz))])

    def label_windows(
        self, root: Path, row: Any, start_s: np.ndarray, window_s: float
    ) -> dict[str, np.ndarray]:
        """Label each window awake by the seconds from its end to sleep; others are dropped."""
        end_s, asleep = self._end(root, row)
        awake = super().label_windows(root, row, start_s, window_s)["label"] == 0
        time_s = end_s - (start_s + window_s)
        keep = awake & (time_s >= -1e-6)
        return {
            "time_s": np.where(keep, time_s.clip(0.0), -1.0),
            "event": np.where(keep, float(asleep), -1.0),
            "keep": keep,
        }

    def _end(self, root: Path, row: Any) -> tuple[float, bool]:
        """When follow-up ends, in seconds from the recording's start, and whether sleep ends it."""
        onset_s, end_s, stage = self._stages(root, row)
        asleep = stage > 0
        if asleep.any():
            return float(onset_s[asleep].min()), True
        return float(end_s[stage == 0].max()), False
