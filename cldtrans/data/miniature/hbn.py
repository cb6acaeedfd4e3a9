"""HBN-EEG in miniature: two releases of 129 channels at 100 Hz as BDF, with tables of persons and trials.

Response times are planted: the later the press, the slower the rhythm over the back of the head in the window
after the target; a person's externalizing factor is in the size of his rhythm over the front.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cldtrans.data.miniature.edf_writer import EdfSignal, write_bdf
from cldtrans.data.miniature.scales import Scale
from cldtrans.data.miniature.truth import Truth, generator

_RATE_HZ = 100
_CHANNELS = (*(f"E{number}" for number in range(1, 129)), "Cz")
_FOREPERIODS_S = (2.8, 4.4, 6.0)
_FACTORS = ("p_factor", "attention", "internalizing", "externalizing")


def write(folder: Path, scale: Scale, seed: int, truth: Truth) -> list[str]:
    """Write the releases R4 and R5 under `folder` and return the recordings."""
    keys: list[str] = []
    for release, first in (("R4", 0), ("R5", 1000)):
        place = folder / f"{release}_mini_L100_bdf"
        rows = ["\t".join(["participant_id", "release_number", "sex", "age", "ehq_total", *_FACTORS])]
        for k in range(scale.hbn_subjects):
            draw = generator(seed, "hbn subject", first + k)
            subject = f"NDARAA{first + k:03d}ZZ{int(draw.integers(10))}"
            factors = draw.standard_normal(4)
            cells = [f"{value:.3f}" for value in factors]
            if k % 6 == 5:
                cells = ["n/a"] * 4
            about = [f"sub-{subject}", release, "MF"[int(draw.integers(2))], f"{draw.uniform(5, 21):.3f}"]
            rows.append("\t".join([*about, f"{draw.uniform(-100, 100):.1f}", *cells]))
            few = k == scale.hbn_subjects - 1 and release == "R4"  # a recording with 6 channels
            stem = f"sub-{subject}/eeg/sub-{subject}_task-contrastChangeDetection_run-1"
            channels = _CHANNELS[:6] if few else _CHANNELS
            _write_run(place / stem, draw, scale.hbn_trials, channels, factors[3])
            if few:
                truth.add_broken("hbn-rt", f"{place.name}/{stem}_eeg.bdf", "6 channels")
            keys.append(f"{place.name}/{stem}_eeg.bdf")
        (place / "participants.tsv").write_text("\n".join(rows) + "\n")
    return keys


def _write_run(
    path: Path, draw: np.random.Generator, trials: int, channels: tuple[str, ...], externalizing: float
) -> None:
    """Write one recording and its table of events."""
    events: list[tuple[float, str]] = []
    targets: list[tuple[float, float]] = []
    now = 2.0
    for trial in range(trials):
        events.append((now, "contrastTrial_start"))
        target = now + float(draw.choice(_FOREPERIODS_S))
        side = str(draw.choice(["left", "right"]))
        time = float(np.clip(1.5 + 0.35 * draw.standard_normal(), 0.4, 2.3))
        if trial % 7 != 6:  # the others have no target
            events.append((target, f"{side}_target"))
            if trial % 7 != 5:  # the others no press
                pressed = side if draw.random() < 0.85 else {"left": "right", "right": "left"}[side]
                events.append((target + time, f"{pressed}_buttonPress"))
            targets.append((target, time))
        now = target + 3.0
    events.append((now, "contrastTrial_start"))
    seconds = int(np.ceil(now)) + 2
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["onset\tduration\tvalue", *(f"{onset:.3f}\tn/a\t{value}" for onset, value in events)]
    path.with_name(path.name + "_events.tsv").write_text("\n".join(lines) + "\n")
    signals = _signals(draw, targets, seconds, len(channels), externalizing)
    write_bdf(
        path.with_name(path.name + "_eeg.bdf"),
        [EdfSignal(name, row, _RATE_HZ, (-400, 400)) for name, row in zip(channels, signals, strict=True)],
    )


def _signals(
    draw: np.random.Generator,
    targets: list[tuple[float, float]],
    seconds: int,
    count: int,
    externalizing: float,
) -> np.ndarray:
    """Draw [count, samples] microvolts."""
    n = seconds * _RATE_HZ
    t = np.arange(n) / _RATE_HZ
    white = draw.standard_normal((count, n))
    signals = 8.0 * (white + np.roll(white, 1, axis=1) + np.roll(white, 2, axis=1))
    back, front = slice(count // 2, count), slice(0, count // 4)
    signals[front] += 10.0 * np.exp(0.4 * externalizing) * np.sin(2 * np.pi * 6.0 * t + draw.uniform(0, 6))
    for target, time in targets:
        inside = (t >= target + 0.5) & (t < target + 2.5)
        hertz = 12.0 - 4.0 * (time - 1.5)
        signals[back, inside] += 25.0 * np.sin(2 * np.pi * hertz * t[inside] + draw.uniform(0, 6))
    return np.clip(signals, -399, 399)
