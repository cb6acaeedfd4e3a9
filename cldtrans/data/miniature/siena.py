"""Siena Scalp EEG 1.0.0 in miniature: referential 10-20 recordings and hand-written seizure lists.

The irregularities of the lists are those of the real ones: two spellings of "start time", full stops and
colons, file names that differ from the files', registration times ahead of the seizure's title, remarks in
brackets, times past midnight, an end one hour late.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from cldtrans.data.miniature.edf_writer import EdfSignal, write_edf
from cldtrans.data.miniature.eeg import Brain
from cldtrans.data.miniature.head import BANANA
from cldtrans.data.miniature.scales import Scale
from cldtrans.data.miniature.seizure import Seizure, plan_seizure, plant
from cldtrans.data.miniature.truth import Truth, generator

RATE_HZ = 512
LABELS = tuple(
    "Fp1 F3 C3 P3 O1 F7 T3 T5 Fc1 Fc5 Cp1 Cp5 F9 Fz Cz Pz Fp2 F4 C4 P4 O2 F8 T4 T6 Fc2 Fc6 Cp2 Cp6 "  # noqa: SIM905
    "F10".split()
)
_MODERN = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_PATIENTS = (0, 1, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 16, 17)  # the real numbers
_LOBES = {"T": ("F7-T7", "T7-P7", "F8-T8", "T8-P8"), "F": ("FP1-F7", "FP1-F3", "FP2-F8", "FP2-F4")}


def write(folder: Path, scale: Scale, seed: int, truth: Truth) -> list[str]:
    """Write all patients under `folder` and return the lines of RECORDS."""
    info = [
        "patient_id, age_years, gender, seizure, localization, lateralization, eeg_channel, number_seizures, "
        "rec_time_minutes"
    ]
    records = []
    order = generator(seed, "siena order").permutation(4)
    for k, number in enumerate(_PATIENTS[: scale.siena_patients]):
        patient = f"PN{number:02d}"
        draw = generator(seed, "siena patient", number)
        lobe, side = (("T", "L"), ("T", "R"), ("F", "L"), ("F", "R"))[order[k % 4]]
        leads = [c for c in _LOBES[lobe] if ("L" if int(c[-1]) % 2 else "R") == side]
        lead = BANANA.index(leads[int(draw.integers(len(leads)))])
        brain = Brain(
            tuple(_MODERN.get(label, label.upper()) for label in LABELS), draw, level_uv=25.0, mains_hz=50.0
        )
        files, seizures, starts = [], [], []
        for j in range(scale.siena_files):
            file = f"{patient}-{j + 1}.edf"
            noise = generator(seed, "siena file", number, j)
            length = int(noise.integers(scale.siena_seizure_s[0], scale.siena_seizure_s[1] + 1))
            onset = int(noise.integers(8, scale.siena_s - length - 3))
            seizure = plan_seizure(noise, lead, onset, onset + length)
            start = datetime.datetime(2016, 1, 1) + datetime.timedelta(seconds=int(noise.integers(86400)))
            if k == 1:  # the seizure comes after midnight
                start = datetime.datetime(2016, 1, 1, 23, 59, 59) - datetime.timedelta(seconds=onset // 2)
            capitals = k == 2
            _write_file(folder / patient / file, brain, noise, scale.siena_s, seizure, start, capitals)
            truth.add_seizure("siena", patient, file, 1, seizure)
            files.append(file)
            seizures.append(seizure)
            starts.append(start)
            records.append(f"{patient}/{file}")
        text = _seizure_list(k, files, seizures, starts, scale.siena_s)
        (folder / patient / f"Seizures-list-{patient}.txt").write_text(text)
        kind = ("IAS", "WIAS", "FBTC")[int(draw.integers(3))]
        gender = ("Male", "Female")[int(draw.integers(2))]
        minutes = max(round(scale.siena_files * scale.siena_s / 60), 1)
        info.append(
            f"{patient},{draw.integers(20, 72)},{gender},{kind},{lobe},{side},29,{len(files)},{minutes}"
        )
    (folder / "subject_info.csv").write_text("\n".join(info) + "\n")
    return records


def _write_file(
    path: Path,
    brain: Brain,
    draw: np.random.Generator,
    seconds: int,
    seizure: Seizure,
    start: datetime.datetime,
    capitals: bool,
) -> None:
    """One EDF file: 29 electrodes against a common reference, ECG and a marker channel."""
    n = seconds * RATE_HZ
    potential = brain.background(draw, n, RATE_HZ)
    plant(draw, potential, brain.electrodes, RATE_HZ, seizure)
    t = np.arange(n) / RATE_HZ
    potential += 12 * np.sin(2 * np.pi * 0.31 * t) + 4 * draw.standard_normal(
        n
    )  # what the reference itself picks up
    names = [label.upper() if capitals else label for label in LABELS]
    signals = [
        EdfSignal(f"EEG {name}", row, RATE_HZ, (-3200, 3200))
        for name, row in zip(names, potential, strict=True)
    ]
    beats = 400 * np.exp(-0.5 * (((t * 1.15) % 1 - 0.5) / 0.012) ** 2)
    signals.append(EdfSignal("EKG EKG", beats, RATE_HZ, (-3200, 3200)))
    signals.append(EdfSignal("MK", np.zeros(n), RATE_HZ, (-3200, 3200)))
    write_edf(path, signals, start=start, recording=f"Startdate {start.strftime('%d-%b-%Y').upper()} X X X")


def _seizure_list(
    k: int, files: list[str], seizures: list[Seizure], starts: list[datetime.datetime], seconds: int
) -> str:
    """``Seizures-list-PNxx.txt`` of the k-th patient, irregular in the k-th way."""

    def clock(start: datetime.datetime, after_s: float) -> str:
        return (start + datetime.timedelta(seconds=after_s)).strftime("%H.%M.%S")

    lines = [f"Data Sampling Rate: {RATE_HZ} Hz", "*************************", "", "Channels in EDF Files:"]
    lines += [f"Channel {j}: {'1' if label == 'O1' else label}" for j, label in enumerate(LABELS, 1)] + [""]
    for number, (file, seizure, start) in enumerate(zip(files, seizures, starts, strict=True), 1):
        name = file
        first, last = clock(start, seizure.onset_s), clock(start, seizure.end_s)
        what = "Seizure start time", "Seizure end time"
        title = f"Seizure n {number}"
        if k == 1:
            what = "Start time", "End time"
            first, last = first.replace(".", ":"), last.replace(".", ":")
        elif k == 3:
            title = f"Seizure n{number}:"
            first = f"{clock(start, seizure.onset_s - 1)} (CLINICAL ONSET); {first} (ELECTRIC ONSET)"
        elif k == 4:
            name = file.replace("PN0", "PNO")  # letter for digit
        elif k == 5:
            last = f"{(int(last[:2]) + 1) % 24:02d}{last[2:]}"
            first = f" {first} "
        registration = [
            f"File name: {name}",
            f"Registration start time: {clock(start, 0)}",
            f"Registration end time:  {clock(start, seconds)}",
        ]
        lines += [*registration, "", title] if k == 1 else [title, *registration]
        lines += [
            f"{what[0]}: {first}",
            f"{what[1]}: {last}",
            "",
        ]
    return "\n".join(lines)
