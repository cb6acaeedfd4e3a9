"""Discharges and what readouts say of them: recorded seizures, and discharges planted in interictal windows.

Readouts that read the background get windows of the same recording without a seizure, and nothing of another
patient's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from cldtrans.baselines.line_length import LineLength
from cldtrans.config import Config
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.evaluation import planted
from cldtrans.methods.factories import READOUTS, build, spec_of
from cldtrans.scoring.leads import aggregate

if TYPE_CHECKING:
    from cldtrans.data.intracranial import ZoneSeizure

BACKGROUNDS = 12  # windows of the recording, at most, evenly over its length
RANK = 2e-4  # as the single-source model has it
_BATCH = 64


@dataclass
class Case:
    """One seizure or one planted discharge."""

    subject: str
    recording: str
    number: int  # of the seizure within the recording, from 1; of the trial
    scores: dict[str, np.ndarray]  # by readout, [C]
    channels: tuple[str, ...]  # names of the C channels
    snr_db: float | None = None
    truth: list[set[int]] | None = None  # channels, by rater
    lobe: str = ""
    side: str = ""


class Readouts:
    """The readouts of one method; "" is the main one.

    Parameters
    ----------
    readout : callable
        `(x [n, C, T], mask [n, C], sample_rate)` -> scores [n, C], or several by name. With the attribute
        `reads_background` also `background`, n arrays [K, C, T]; with `reads_channels` also `channels`, C
        names; with `reads_seizures` it takes x [n, N, C, T], all windows of a seizure.
    channels : tuple of str
        Names of the C channels.
    """

    def __init__(self, readout: Any, channels: tuple[str, ...] = ()) -> None:
        self.readout, self._channels = readout, channels
        self._reads_channels = getattr(readout, "reads_channels", False)
        self._reads_background = getattr(readout, "reads_background", False)
        self._reads_seizures = getattr(readout, "reads_seizures", False)

    def named(self, channels: tuple[str, ...]) -> Readouts:
        """Return the same readouts for windows of other channels."""
        return Readouts(self.readout, channels)

    def of_windows(
        self, x: np.ndarray, mask: np.ndarray, sample_rate: float, background: Sequence[np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Score the channels of windows [n, C, T], each by itself: [n, C] by readout."""
        known: dict[str, Any] = {"background": background} if self._reads_background else {}
        if self._reads_channels:
            known["channels"] = self._channels
        found = self.readout(x, mask, sample_rate, **known)
        return found if isinstance(found, dict) else {"": found}

    def of_seizure(
        self, x: np.ndarray, mask: np.ndarray, sample_rate: float, background: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Score the channels of one seizure by its windows [N, C, T]: [C] by readout."""
        if self._reads_seizures:
            found = self.of_windows(x[None], np.all(mask, axis=0, keepdims=True), sample_rate, [background])
            return {name: values[0] for name, values in found.items()}
        found = self.of_windows(x, mask, sample_rate, [background] * len(x))
        return {name: aggregate(values, mask) for name, values in found.items()}


def make_readouts(
    config: Config,
    method: str,
    modality: str,
    checkpoint: Path | None,
    threads: int,
    channels: tuple[str, ...] = (),
) -> Readouts:
    """Make a baseline's readout, or those of our model; `channels` are given where all cases share them."""
    spec = spec_of(config, method, "readout")
    if spec == READOUTS:
        if checkpoint is None:
            raise DataError(f"focal leads by {method} need its stage-1 checkpoint (--checkpoint)")
        return Readouts(build(spec, checkpoint, modality, threads))
    return Readouts(build(spec, **config.methods[method].settings), channels)


def seizure_cases(windows: ShardSet, readouts: Readouts) -> list[Case]:
    """Score every recorded seizure by its onset windows; line length beside them."""
    index = windows.index
    rows = np.flatnonzero(
        (index["kind"] == "onset").to_numpy() & windows.mask(np.arange(len(index))).any(axis=1)
    )
    quiet = quiet_rows(windows)
    line_length, cases = LineLength(), []
    groups = index.iloc[rows].assign(position=rows).groupby(["recording", "event"], sort=True)
    for (recording, event), group in tqdm(groups, desc="seizures", disable=None):
        position = group["position"].to_numpy()
        x, mask = windows.signals(position), windows.mask(position)
        background = windows.signals(spread(quiet.get(str(recording), position[:0])))
        scores = readouts.of_seizure(x, mask, windows.rate_hz, background)
        scores["line_length"] = aggregate(line_length(x, mask, windows.rate_hz), mask)
        first = group.iloc[0]
        cases.append(
            Case(
                subject=str(first["subject"]),
                recording=str(recording),
                number=int(event) + 1,
                scores=scores,
                channels=windows.channels,
                lobe=str(first.get("lobe", "")),
                side=str(first.get("side", "")),
            )
        )
    return cases


def zone_cases(seizures: Sequence[ZoneSeizure], readouts: Readouts, sample_rate: float) -> list[Case]:
    """Score intracranial seizures, whose onset zone is known; line length beside them."""
    line_length, cases = LineLength(), []
    for one in tqdm(seizures, desc="seizures", disable=None):
        background = one.background[spread(np.arange(len(one.background)))]
        scores = readouts.of_seizure(one.x, one.mask, sample_rate, background)
        scores["line_length"] = aggregate(line_length(one.x, one.mask, sample_rate), one.mask)
        zone = [set(one.zone)]
        cases.append(Case(one.subject, one.recording, one.number, scores, one.channels, truth=zone))
    return cases


@dataclass(frozen=True)
class Planted:
    """Discharges planted in windows at one signal-to-noise ratio, with windows of their recordings without.

    Attributes
    ----------
    x : array [n, C, T]
        Windows of unit variance.
    mask : array [n, C] of bool
        Valid channels.
    background : list of n arrays [K, C, T]
        In the windows' unit.
    leads : list of n int
        Where each discharge starts.
    subjects, recordings : list of n str
        Whose window it is.
    numbers : list of n int
        Of the trials, from 1.
    channels : tuple of str
        Names of the C channels.
    snr_db : float
        Decibels.
    """

    x: np.ndarray
    mask: np.ndarray
    background: list[np.ndarray]
    leads: list[int]
    subjects: list[str]
    recordings: list[str]
    numbers: list[int]
    channels: tuple[str, ...]
    snr_db: float


def planted_cases(
    windows: ShardSet, readouts: Readouts, snr_db: list[float], trials: int, seed: int
) -> list[Case]:
    """Score discharges planted in interictal windows, each at every signal-to-noise ratio."""
    cases = []
    for one in plant(windows, snr_db, trials, seed):
        found = readouts.of_windows(one.x, one.mask, windows.rate_hz, one.background)
        cases += cases_of(one, found, one.mask, one.channels, [{lead} for lead in one.leads])
    return cases


def cases_of(
    one: Planted,
    scores: dict[str, np.ndarray],
    mask: np.ndarray,
    channels: tuple[str, ...],
    truth: list[set[int]],
) -> list[Case]:
    """Make a case of each discharge from the scores [n, C] of its channels."""
    return [
        Case(
            subject=one.subjects[k],
            recording=one.recordings[k],
            number=one.numbers[k],
            scores={name: np.where(mask[k], values[k], -np.inf) for name, values in scores.items()},
            channels=channels,
            snr_db=one.snr_db,
            truth=[truth[k]],
        )
        for k in range(len(one.leads))
    ]


def plant(windows: ShardSet, snr_db: list[float], trials: int, seed: int) -> Iterator[Planted]:
    """Plant discharges in interictal windows, the subjects taking turns.

    Each is planted at every signal-to-noise ratio; at most `_BATCH` come at once.
    """
    index, quiet = windows.index, quiet_rows(windows)
    subject_of = dict(zip(index["recording"].astype(str), index["subject"], strict=True))
    rng = np.random.default_rng([seed, 1])
    rows_of: dict[str, list[np.ndarray]] = {}
    for recording, rows in quiet.items():
        rows_of.setdefault(subject_of[recording], []).append(rows)
    by_subject = {name: rng.permutation(np.sort(np.concatenate(rows_of[name]))) for name in sorted(rows_of)}
    subjects = list(by_subject)
    adjacent: np.ndarray | None = None
    for first in tqdm(range(0, trials if subjects else 0, _BATCH), desc="discharges", disable=None):
        numbers = np.arange(first, min(first + _BATCH, trials))
        names = [subjects[k % len(subjects)] for k in numbers]
        rows = np.array(
            [
                by_subject[n][(k // len(subjects)) % len(by_subject[n])]
                for k, n in zip(numbers, names, strict=True)
            ]
        )
        x, mask, channels = planted.to_double_banana(
            windows.signals(rows), windows.mask(rows), windows.channels
        )
        adjacent = planted.neighbours(channels) if adjacent is None else adjacent
        recordings = index["recording"].astype(str).to_numpy()[rows]
        others = [spread(quiet[name][quiet[name] != row]) for name, row in zip(recordings, rows, strict=True)]
        background = [
            planted.to_double_banana(windows.signals(some), windows.mask(some), windows.channels)[0]
            for some in others
        ]
        leads, signals = [], []
        for valid, window, around in zip(mask, x, background, strict=True):
            plan = planted.draw_plan(adjacent, valid, rng)
            wave = planted.discharge(plan.delay_s, x.shape[-1], windows.rate_hz, rng)
            leads.append(plan.lead)
            signal = planted.at_zero_db(window, wave, plan.gain)
            signals.append(_obeying(np.concatenate([window[None], around]), valid) @ signal)
        for level in snr_db:
            mixed, deviation = planted.standardised(x + 10 ** (level / 20) * np.stack(signals))
            quiet_too = [(one / by).astype(np.float32) for one, by in zip(background, deviation, strict=True)]
            yield Planted(
                mixed,
                mask,
                quiet_too,
                leads,
                names,
                list(recordings),
                [int(number) + 1 for number in numbers],
                channels,
                float(level),
            )


def quiet_rows(windows: ShardSet) -> dict[str, np.ndarray]:
    """Find the whole windows of each recording that no seizure touches."""
    index = windows.index
    usable = (
        (index["kind"] == "grid").to_numpy()
        & (index["flat"] == 0).to_numpy()
        & (index["nan"] == 0).to_numpy()
    )
    start, recording = index["start_s"].to_numpy(), index["recording"].astype(str).to_numpy()
    seizure = (index["kind"] == "onset").to_numpy()
    if windows.task is not None and "label" in index:
        seizure = seizure | (index["label"] > 0).to_numpy()
    length = windows.meta["window_s"]
    quiet = {}
    for name, rows in pd.Series(np.flatnonzero(usable)).groupby(recording[usable]):
        during = start[seizure & (recording == name)]
        apart = np.abs(start[rows.to_numpy()][:, None] - during)
        rows = rows.to_numpy()[(apart >= length).all(axis=1)]
        if len(rows):
            quiet[str(name)] = rows
    return quiet


def spread(rows: np.ndarray) -> np.ndarray:
    """Choose at most `BACKGROUNDS` rows, evenly."""
    if len(rows) <= BACKGROUNDS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, BACKGROUNDS).round().astype(int)]


def _obeying(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Find the projector [C, C] onto the sums that the channels of a recording obey.

    The chains of a double banana close, and potentials at electrodes cannot make a discharge that opens them.
    """
    y = np.where(valid[:, None], x - x.mean(axis=-1, keepdims=True), 0.0)
    deviation = np.sqrt((y**2).mean(axis=(0, 2)))
    safe = np.where(deviation > 0, deviation, 1.0)
    y = (y / safe[:, None]).astype(np.float64)
    value, vector = np.linalg.eigh(np.einsum("kct,kdt->cd", y, y))
    mean = value.sum() / max(1, np.count_nonzero(deviation))
    empty = vector[:, value <= RANK * mean] / safe[:, None]  # in the windows' unit
    return np.eye(len(safe)) - empty @ np.linalg.pinv(empty)
