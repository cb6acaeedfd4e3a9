"""Sleep-EDF expanded 1.0.0 in miniature: polysomnograms and their hypnograms in separate EDF+ files."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from cldtrans.data.miniature.edf_writer import Annotation, EdfSignal, write_edf
from cldtrans.data.miniature.scales import Scale
from cldtrans.data.miniature.sleep import EPOCH_S, RATE_HZ, hypnogram, night
from cldtrans.data.miniature.truth import Truth, generator

_SCORERS = "CHJPVGWEA"  # last letter of a hypnogram's name
_ROMAN = {0: "W", 1: "1", 2: "2", 4: "R"}  # N3 becomes 3 or 4 of Rechtschaffen and Kales
_LONG_WAKE = 64  # epochs before sleep in one night: more than the 30 minutes that are kept


def write(folder: Path, scale: Scale, seed: int, truth: Truth) -> list[str]:
    """Write all nights under `folder` and return the lines of RECORDS (which lists no hypnograms)."""
    records = []
    telemetry = max(scale.sleep_subjects // 6, 1)
    cassette = scale.sleep_subjects - telemetry
    for k in range(scale.sleep_subjects):
        at_home = k < cassette
        number = k if at_home else k - cassette + 1
        nights = 2 if k == 1 else 1  # one subject with both nights
        for which in range(1, nights + 1):
            draw = generator(seed, "sleep night", int(at_home), number, which)
            lead_in = _LONG_WAKE if k == 0 and scale.sleep_epochs >= 60 else max(scale.sleep_epochs // 10, 2)
            epochs = max(scale.sleep_epochs // nights, 20) + (lead_in if lead_in == _LONG_WAKE else 0)
            stages = hypnogram(draw, epochs, lead_in)
            if at_home:
                stem = f"sleep-cassette/SC4{number:02d}{which}E"
            else:
                stem = f"sleep-telemetry/ST7{number:02d}{which}J"
            start = datetime.datetime(1989, 4, 24, 16, 13) + datetime.timedelta(days=int(draw.integers(300)))
            traits = generator(seed, "sleep subject", int(at_home), number)
            sex, age = "FM"[int(traits.integers(2))], int(traits.integers(20, 70))
            who = f"X {sex} X {'Female' if sex == 'F' else 'Male'}_{age}yr"
            signals = _psg(draw, stages, at_home)
            write_edf(folder / f"{stem}0-PSG.edf", signals, record_s=EPOCH_S, start=start, patient=who)
            scorer = _SCORERS[int(draw.integers(len(_SCORERS)))]
            _write_hypnogram(folder / f"{stem}{scorer}-Hypnogram.edf", draw, stages, start, who)
            records.append(f"{stem}0-PSG.edf")
    orphan = f"sleep-cassette/SC4{cassette:02d}1EC-Hypnogram.edf"
    draw = generator(seed, "sleep orphan")
    _write_hypnogram(
        folder / orphan,
        draw,
        hypnogram(draw, 40, 5),
        datetime.datetime(1989, 5, 2, 16, 0),
        "X F X Female_33yr",
    )
    truth.add_broken("sleepedf", orphan, "hypnogram without its PSG")
    return sorted(records)


def _psg(draw: np.random.Generator, stages: np.ndarray, cassette: bool) -> list[EdfSignal]:
    """Channels as in the real files: at home EMG, breathing and temperature come once a second."""
    found = night(draw, stages)
    digital = (-2048, 2047)
    signals = [
        EdfSignal("EEG Fpz-Cz", found["front"], RATE_HZ, (-192, 192), digital),
        EdfSignal("EEG Pz-Oz", found["back"], RATE_HZ, (-197, 196), digital),
        EdfSignal("EOG horizontal", found["eog"], RATE_HZ, (-1009, 1009), digital),
    ]
    seconds = len(stages) * EPOCH_S
    if not cassette:
        signals.append(EdfSignal("EMG submental", found["emg"], RATE_HZ, (-50, 50), digital))
        return [*signals, EdfSignal("Marker", np.zeros(10 * seconds), 10, (-1, 1), digital, "")]
    level = np.sqrt(np.mean(found["emg"].reshape(seconds, RATE_HZ) ** 2, axis=1))
    breath = 400 * np.sin(
        2 * np.pi * 0.24 * np.arange(seconds) + np.cumsum(0.2 * draw.standard_normal(seconds))
    )
    warm = 37 + 0.05 * np.cumsum(draw.standard_normal(seconds)) / np.sqrt(seconds)
    return [
        *signals,
        EdfSignal("Resp oro-nasal", breath, 1, (-2048, 2047), digital, ""),
        EdfSignal("EMG submental", level, 1, (-5, 5), (-2500, 2500)),
        EdfSignal("Temp rectal", warm, 1, (34, 40), (-2849, 2731), "DegC"),
        EdfSignal("Event marker", np.full(seconds, 920.0), 1, (-2047, 2048), (-2047, 2048), ""),
    ]


def _write_hypnogram(
    path: Path, draw: np.random.Generator, stages: np.ndarray, start: datetime.datetime, who: str
) -> None:
    """Stage texts of Rechtschaffen and Kales, runs of equal epochs in one annotation, '?' after the end."""
    deep = np.where(draw.random(len(stages)) < 0.5, "3", "4")
    texts = [f"Sleep stage {_ROMAN.get(int(stage), deep[k])}" for k, stage in enumerate(stages)]
    moving = int(draw.integers(len(stages) // 3, 2 * len(stages) // 3))
    texts[moving] = "Movement time"
    annotations: list[Annotation] = []
    for k, text in enumerate(texts):
        if annotations and annotations[-1][2] == text:
            onset, duration, _ = annotations[-1]
            annotations[-1] = (onset, duration + EPOCH_S, text)
        else:
            annotations.append((k * EPOCH_S, EPOCH_S, text))
    annotations.append((len(stages) * EPOCH_S, 3600, "Sleep stage ?"))
    write_edf(path, [], start=start, patient=who, annotations=annotations, annotation_samples=2054)
