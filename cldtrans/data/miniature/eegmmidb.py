"""EEG Motor Movement/Imagery Dataset 1.0.0 in miniature: 64 electrodes, EDF+ with the cues as annotations."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from cldtrans.data.miniature import wfdb_writer
from cldtrans.data.miniature.edf_writer import Annotation, EdfSignal, write_edf
from cldtrans.data.miniature.eeg import Brain
from cldtrans.data.miniature.scales import Scale
from cldtrans.data.miniature.truth import Truth, generator

ELECTRODES = tuple(
    "Fc5 Fc3 Fc1 Fcz Fc2 Fc4 Fc6 C5 C3 C1 Cz C2 C4 C6 Cp5 Cp3 Cp1 Cpz Cp2 Cp4 Cp6 Fp1 Fpz Fp2 Af7 Af3 Afz "  # noqa: SIM905
    "Af4 Af8 F7 F5 F3 F1 Fz F2 F4 F6 F8 Ft7 Ft8 T7 T8 T9 T10 Tp7 Tp8 P7 P5 P3 P1 Pz P2 P4 P6 P8 Po7 Po3 Poz "
    "Po4 Po8 O1 Oz O2 Iz".split()
)
_RUNS = (3, 4, 7, 8, 11, 12)
_SLOW_SUBJECT = 88  # recorded at 128 Hz in the real set too
_START = datetime.datetime(2009, 8, 12, 16, 15)


def write(folder: Path, scale: Scale, seed: int, truth: Truth) -> list[str]:
    """Write all subjects under `folder` and return the lines of RECORDS."""
    records = []
    for subject in [*range(1, scale.eegmmidb_subjects + 1), _SLOW_SUBJECT]:
        brain = Brain(
            tuple(name.upper() for name in ELECTRODES),
            generator(seed, "eegmmidb subject", subject),
            level_uv=30.0,
        )
        rate_hz = 128 if subject == _SLOW_SUBJECT else 160
        runs = _RUNS[: 1 if subject == _SLOW_SUBJECT else scale.eegmmidb_runs]
        for run in runs:
            draw = generator(seed, "eegmmidb run", subject, run)
            key = f"S{subject:03d}/S{subject:03d}R{run:02d}.edf"
            _write_run(folder / key, brain, draw, scale.eegmmidb_s, rate_hz)
            records.append(key)
        if subject == _SLOW_SUBJECT:
            truth.add_broken("eegmmidb", records[-1], "sampled at 128 Hz instead of 160 Hz")
        if subject == 1:
            records.append(_write_impossible_header(folder / records[-1], folder, truth))
        if subject == 2:
            draw = generator(seed, "eegmmidb run", subject, 14)
            key = f"S{subject:03d}/S{subject:03d}R14.edf"
            _write_run(folder / key, brain, draw, 10, rate_hz, unknown=True)
            truth.add_broken("eegmmidb", key, "unknown channel names")
            records.append(key)
    return records


def _write_run(
    path: Path, brain: Brain, draw: np.random.Generator, seconds: int, sample_rate: int, unknown: bool = False
) -> None:
    """One run: rest (T0) and cues (T1, T2) in turn, with the real files' scaling of 1 microvolt a step."""
    potential = brain.background(draw, seconds * sample_rate, sample_rate)
    labels = [
        f"Ch{k + 1}".ljust(4, ".") if unknown else name.ljust(4, ".") for k, name in enumerate(ELECTRODES)
    ]
    signals = [
        EdfSignal(
            label, row, sample_rate, (-8092, 8092), (-8092, 8092), "uV", "BCI2000", "HP:0Hz LP:0Hz N:0Hz"
        )
        for label, row in zip(labels, potential, strict=True)
    ]
    annotations: list[Annotation] = []
    onset, rest = 0.0, True
    while onset + 4.2 <= seconds:
        cue = "T0" if rest else ("T1", "T2")[int(draw.integers(2))]
        duration = 4.2 if rest else 4.1
        annotations.append((round(onset, 1), duration, cue))
        onset, rest = onset + duration, not rest
    write_edf(
        path,
        signals,
        start=_START,
        recording="Startdate 12-AUG-2009 X X BCI2000",
        annotations=annotations,
        annotation_samples=sample_rate // 2,
    )
    events = [
        (round(onset * sample_rate), wfdb_writer.NOTE, f"{text} duration: {duration}")
        for onset, duration, text in annotations
    ]
    path.with_name(path.name + ".event").write_bytes(wfdb_writer.annotation_bytes(sample_rate, events))


def _write_impossible_header(good: Path, folder: Path, truth: Truth) -> str:
    """Write a copy of `good` whose header claims negative samples a record and an empty digital range."""
    content = bytearray(good.read_bytes())
    n_signals = int(content[252:256])
    base = 256

    def put(offset: int, width: int, text: str) -> None:
        content[base + offset : base + offset + width] = text.encode().ljust(width)

    put(n_signals * (16 + 80 + 8 + 8 + 8), 8, "0")
    put(n_signals * (16 + 80 + 8 + 8 + 8 + 8), 8, "0")
    put(n_signals * (16 + 80 + 8 * 5 + 80), 8, "-160")
    key = "S001/S001R14.edf"
    (folder / key).write_bytes(content)
    truth.add_broken("eegmmidb", key, "EDF with impossible header numbers")
    return key
