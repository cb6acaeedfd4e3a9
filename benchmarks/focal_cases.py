"""Discharges planted in real EEG, in batches that share the number of background windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cldtrans.data.montages.montage import DOUBLE_BANANA
from cldtrans.data.recording import open_recording
from cldtrans.data.zero_phase import band_pass
from cldtrans.evaluation import discharges, planted
from cldtrans.evaluation.discharges import Discharge

CHANNELS = tuple(DOUBLE_BANANA)
RATE_HZ, WINDOW_S, BAND_HZ = 160.0, 10.0, (0.5, 40.0)
N_SAMPLES = round(RATE_HZ * WINDOW_S)
SNR_DB = (20, 10, 5, 0, -5)
TOGETHER = 8
PROJECTOR = discharges.onto_electrodes(CHANNELS)


@dataclass(frozen=True)
class Quiet:
    """Windows [n, C, T] of one recording, microvolts, in which nothing was planted."""

    name: str
    windows: np.ndarray
    electrodes: np.ndarray  # the same in the channels that were recorded
    names: tuple[str, ...]  # of these


@dataclass(frozen=True)
class Case:
    """One discharge, in the windows of a recording whose numbers are `places`."""

    recording: int
    places: tuple[int, ...]
    discharges: tuple[Discharge, ...]  # one a window


@dataclass(frozen=True)
class Batch:
    """Cases with as many windows of background each."""

    numbers: list[int]
    cases: list[Case]
    quiet: np.ndarray  # [B, N, C, T], the windows before anything is planted
    background: np.ndarray  # [B, K, C, T]

    def planted(self, snr_db: float) -> np.ndarray:
        """Plant the discharges, float32 [B, N, C, T]."""
        return np.array(
            [
                [
                    discharges.plant(x, one, snr_db, PROJECTOR)
                    for x, one in zip(windows, case.discharges, strict=True)
                ]
                for windows, case in zip(self.quiet, self.cases, strict=True)
            ],
            dtype=np.float32,
        )


def recordings(mirror: Path, first: int = 0) -> list[Quiet]:
    """Read the EEGMMIDB recordings that are there, band-passed, in windows from sample `first` on.

    Windows in which a channel is silent are left out.
    """
    found = []
    for path in sorted((mirror / "eegmmidb" / "1.0.0").glob("S*/S*.edf")):
        recording = open_recording(path)
        if recording.rate_hz != RATE_HZ:
            continue
        x = band_pass(recording.read(0, recording.n_samples), RATE_HZ, RATE_HZ, BAND_HZ)
        n = (x.shape[1] - first) // N_SAMPLES
        windows = x[:, first : first + n * N_SAMPLES].reshape(len(x), n, N_SAMPLES).swapaxes(0, 1)
        windows = windows[(windows.std(axis=-1) > 0.1).all(axis=1)]
        # In double precision, so that what closes a loop is not what rounding left.
        bipolar, _, _ = planted.to_double_banana(
            windows.astype(float), np.ones(windows.shape[:2], bool), tuple(recording.names)
        )
        found.append(Quiet(path.stem, bipolar, windows, tuple(recording.names)))
    if not found:
        raise SystemExit(f"{mirror}: expected eegmmidb/1.0.0/S*/S*.edf at {RATE_HZ:g} Hz, found none")
    return found


def draw_cases(
    quiet: list[Quiet], kind: str, rhythm: str, n_cases: int, n_windows: int, seed: int
) -> list[Case]:
    """Draw discharges, the recordings taking turns; at least one window is left as background."""
    rng = np.random.default_rng([seed, discharges.KINDS.index(kind), list(discharges.RHYTHMS).index(rhythm)])
    cases = []
    for k in range(n_cases):
        recording = k % len(quiet)
        count = len(quiet[recording].windows)
        places = rng.choice(count, min(n_windows, count - 1), replace=False)
        first = discharges.draw(kind, CHANNELS, N_SAMPLES, RATE_HZ, rng, rhythm)
        later = tuple(first.again(rng) for _ in places[1:])
        cases.append(Case(recording, tuple(int(i) for i in places), (first, *later)))
    return cases


def in_batches(quiet: list[Quiet], cases: list[Case]) -> Iterator[Batch]:
    """Put cases together whose windows and background are equally many."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, case in enumerate(cases):
        n_rest = len(quiet[case.recording].windows) - len(case.places)
        groups.setdefault((len(case.places), n_rest), []).append(number)
    for members in groups.values():
        for first in range(0, len(members), TOGETHER):
            numbers = members[first : first + TOGETHER]
            chosen = [cases[number] for number in numbers]
            windows = [quiet[case.recording].windows for case in chosen]
            yield Batch(
                numbers,
                chosen,
                np.array([x[list(case.places)] for x, case in zip(windows, chosen, strict=True)]),
                np.array(
                    [np.delete(x, case.places, axis=0) for x, case in zip(windows, chosen, strict=True)],
                    dtype=np.float32,
                ),
            )
