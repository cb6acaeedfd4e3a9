"""CHB-MIT 1.0.0 in miniature: bipolar EDF files and the summaries that say where the seizures are."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cldtrans.data.miniature import wfdb_writer
from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.data.miniature.eeg import Brain
from cldtrans.data.miniature.head import BANANA, TEN_TWENTY, incidence
from cldtrans.data.miniature.scales import Scale
from cldtrans.data.miniature.seizure import Seizure, plan_seizure, plant
from cldtrans.data.miniature.truth import Truth, generator

RATE_HZ = 256
_ELECTRODES = (*TEN_TWENTY, "FT9", "FT10")
_REST = ("P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8")
_COMMON = (*BANANA, *_REST)  # 23 channels, T8-P8 twice
_DUMMIES = (
    tuple(
        "FP1-F7 F7-T7 T7-P7 P7-O1 - FP1-F3 F3-C3 C3-P3 P3-O1 - FZ-CZ CZ-PZ - FP2-F4 F4-C4 C4-P4 P4-O2 - "  # noqa: SIM905
        "FP2-F8 F8-T8 T8-P8 P8-O2 -".split()
    )
    + _REST
)
_REFERENCE = tuple(f"{name}-CS2" for name in TEN_TWENTY)
_UNKNOWN = tuple(f"X{k}" for k in range(1, 24))
_TRUNCATED = "chb02_19.edf"
_START = datetime.datetime(2076, 11, 6, 11, 42, 54)


@dataclass(frozen=True)
class _Recording:
    """One file of a case."""

    file: str
    channels: tuple[str, ...]
    seconds: int
    seizures: list[Seizure]


def write(folder: Path, scale: Scale, seed: int, truth: Truth) -> list[str]:
    """Write all cases under `folder` and return the lines of RECORDS."""
    leads = generator(seed, "chbmit leads").permutation(len(BANANA))
    subjects = [case for case in scale.chbmit_cases if case != 21]
    records: list[str] = []
    with_seizures: list[str] = []
    info = ["Case\tGender\tAge (years)", ""]
    for case in scale.chbmit_cases:
        name = f"chb{case:02d}"
        child = 1 if case == 21 else case  # the same girl, 1.5 years later
        lead = int(leads[subjects.index(child) % len(leads)])
        draw = generator(seed, "chbmit subject", child)
        age = draw.integers(2, 20)
        if case != 24:  # the real list ends before it
            info.append(f"{name}\t{'FM'[child % 3 == 0]}\t{age + 1.5 * (case == 21):g}")
        brain = Brain(_ELECTRODES, draw)
        plan = _plan_case(scale, seed, case, lead)
        for k, recording in enumerate(plan):
            noise = generator(seed, "chbmit noise", case, k)
            potential = brain.background(noise, recording.seconds * RATE_HZ, RATE_HZ)
            for number, seizure in enumerate(recording.seizures, 1):
                plant(noise, potential, _ELECTRODES, RATE_HZ, seizure)
                truth.add_seizure("chbmit", name, recording.file, number, seizure)
            _write_file(folder / name / recording.file, recording, potential, noise)
        (folder / name / f"{name}-summary.txt").write_text(_summary(plan, case))
        records += [f"{name}/{recording.file}" for recording in plan]
        with_seizures += [f"{name}/{recording.file}" for recording in plan if recording.seizures]
    _spoil(folder, records, truth)
    (folder / "SUBJECT-INFO").write_text("\n".join(info) + "\n")
    (folder / "RECORDS-WITH-SEIZURES").write_text("\n".join(with_seizures) + "\n")
    return records


def _plan_case(scale: Scale, seed: int, case: int, lead: int) -> list[_Recording]:
    """Return the files of one case; some cases carry the oddities of their namesakes."""
    name = f"chb{case:02d}"
    montage = {12: _DUMMIES, 24: (*_COMMON, "ECG")}.get(case, _COMMON)
    files = [f"{name}_{3 + k:02d}.edf" for k in range(scale.chbmit_files)]
    if case == 2:
        files[-1] = f"{name}_16+.edf"
    plan = []
    for k, file in enumerate(files):
        draw = generator(seed, "chbmit plan", case, k)
        count = 2 if case == 24 and k == 0 and scale.chbmit_s >= 100 else 1
        seizures = _draw_seizures(draw, scale, lead, count)
        plan.append(_Recording(file, montage, scale.chbmit_s, seizures))
    if case == 1:
        plan.insert(0, _Recording(f"{name}_01.edf", montage, scale.chbmit_s, []))
    if case == 2:
        plan.append(_Recording(_TRUNCATED, montage, scale.chbmit_s // 2, []))
    if case == 12:
        plan.append(_Recording("chb12_27.edf", _REFERENCE, scale.chbmit_s // 2, []))
        plan.append(_Recording("chb12_42.edf", _UNKNOWN, scale.chbmit_s // 2, []))
    return plan


def _spoil(folder: Path, records: list[str], truth: Truth) -> None:
    """Cut one file short, and note every file that is not an ordinary recording."""
    odd = {
        f"chb02/{_TRUNCATED}": "truncated EDF",
        "chb12/chb12_27.edf": "common reference instead of bipolar channels",
        "chb12/chb12_42.edf": "unknown channel names",
    }
    for key in records:
        if key in odd:
            truth.add_broken("chbmit", key, odd[key])
        if key.endswith(_TRUNCATED):
            path = folder / key
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])


def _draw_seizures(draw: np.random.Generator, scale: Scale, lead: int, count: int) -> list[Seizure]:
    """`count` seizures in equal parts of the recording, on whole seconds as the summaries give them."""
    shortest, longest = scale.chbmit_seizure_s
    room = scale.chbmit_s // count
    seizures = []
    for k in range(count):
        length = shortest if count > 1 else int(draw.integers(shortest, longest + 1))
        onset = k * room + int(draw.integers(8, room - length - 4))
        seizures.append(plan_seizure(draw, lead, onset, onset + length))
    return seizures


def _write_file(path: Path, recording: _Recording, potential: np.ndarray, draw: np.random.Generator) -> None:
    """One EDF file with the real files' scaling, 12 bits over +-800 microvolt, and its ``.seizures``."""
    n = potential.shape[1]
    signals = []
    for channel in recording.channels:
        if channel == "-":
            data = np.zeros(n)
        elif channel == "ECG":
            phase = np.cumsum(1.6 + 0.05 * draw.standard_normal(n)) / RATE_HZ
            data = 300 * np.exp(-0.5 * ((phase % 1 - 0.5) / 0.012) ** 2)
        elif channel in _UNKNOWN:
            data = potential[_UNKNOWN.index(channel) % len(potential)]
        elif channel in _REFERENCE:
            data = potential[_REFERENCE.index(channel)]
        else:
            data = (incidence((channel,), _ELECTRODES) @ potential)[0]
        signals.append(EdfSignal(channel, data, RATE_HZ, (-800, 800), (-2048, 2047)))
    write_edf(path, signals, start=_START, recording="Startdate X X X X")
    if recording.seizures:
        events = []
        for seizure in recording.seizures:
            events.append((round(seizure.onset_s * RATE_HZ), wfdb_writer.ONSET, ""))
            events.append((round(seizure.end_s * RATE_HZ), wfdb_writer.END, ""))
        marks = path.with_name(path.name + ".seizures")
        marks.write_bytes(wfdb_writer.annotation_bytes(RATE_HZ, events))


def _summary(plan: list[_Recording], case: int) -> str:
    """Write a ``chbNN-summary.txt``; the real ones spell seizures in two ways and name changes of montage."""
    lines = [f"Data Sampling Rate: {RATE_HZ} Hz", "*************************", ""]
    shown: tuple[str, ...] = ()
    start = _START
    for recording in plan:
        if recording.channels != shown:
            lines += ["Channels changed:" if shown else "Channels in EDF Files:", "**********************"]
            lines += [f"Channel {k}: {channel}" for k, channel in enumerate(recording.channels, 1)] + [""]
            shown = recording.channels
        lines.append(f"File Name: {recording.file}")
        if case != 24:  # whose real summary gives no times of files
            end = start + datetime.timedelta(seconds=recording.seconds)
            lines += [f"File Start Time: {start:%H:%M:%S}", f"File End Time: {end:%H:%M:%S}"]
            start = end + datetime.timedelta(seconds=7)
        lines.append(f"Number of Seizures in File: {len(recording.seizures)}")
        for number, seizure in enumerate(recording.seizures, 1):
            which = f"Seizure {number}" if case >= 8 else "Seizure"
            gap = "             " if case % 2 == 0 and case >= 8 else " "
            lines += [
                f"{which} Start Time:{gap}{seizure.onset_s:.0f} seconds",
                f"{which} End Time:{gap}{seizure.end_s:.0f} seconds",
            ]
        lines.append("")
    return "\n".join(lines)
