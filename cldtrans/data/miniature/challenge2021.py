"""PhysioNet/CinC Challenge 2021 in miniature: MATLAB 4 matrices behind WFDB headers, all four subsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cldtrans.data.miniature.ecg import CLASSES, CODES, RATE_HZ, diseased_beat, normal_beat, record, to_leads
from cldtrans.data.miniature.matlab_writer import write_matlab4
from cldtrans.data.miniature.scales import Scale
from cldtrans.data.miniature.truth import Truth, generator

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_GAIN = 1000
_SNOMED = {  # codes that a subset may write for a statement of the generator
    "NORM": ("426783006",),
    **dict.fromkeys(CODES["MI"], ("164917005",)),  # Q wave abnormal
    **dict.fromkeys(CODES["STTC"], ("164934002",)),  # T wave abnormal
    "CRBBB": ("59118001", "713427006"),  # that are scored as one
    "CLBBB": ("164909002", "733534002"),
    "1AVB": ("270492004",),
    "LVH": ("164873001",),  # not scored
    "LAO/LAE": ("67741000119109",),
}
_SUBSETS = (("chapman_shaoxing", "JS", 1), ("georgia", "E", 1), ("ningbo", "JS", 10647), ("ptb-xl", "HR", 1))
_SHARES = (0.4, 0.15, 0.15, 0.2, 0.1)  # of the generator's classes


def write(folder: Path, scale: Scale, seed: int, truth: Truth) -> list[str]:
    """Write every subset under `folder`/training and return the lines of RECORDS."""
    keys = []
    for subset, prefix, first in _SUBSETS:
        for k in range(scale.challenge_records):
            key = f"training/{subset}/g{1 + k // 1000}/{prefix}{first + k:05d}"
            oddity = _write_one(folder / key, generator(seed, f"challenge {subset}", k), k)
            if oddity:
                truth.add_broken(f"challenge2021-{subset}", f"{key}.mat", oddity)
            keys.append(key)
    return keys


def _write_one(path: Path, draw: np.random.Generator, k: int) -> str | None:
    kind = CLASSES[int(draw.choice(len(CLASSES), p=_SHARES))]
    statement = str(draw.choice(CODES[kind]))
    beat = diseased_beat(draw, normal_beat(draw), [statement])
    digital = to_leads(record(draw, beat), _GAIN)
    oddity = None
    if k % 25 == 5:
        digital[9:] = 0
        oddity = "leads V4, V5, V6 flat"
    codes = [str(draw.choice(_SNOMED[statement]))]
    if draw.random() < 0.2:
        codes.append("428750005")  # nonspecific ST-T abnormality: not scored
    path.parent.mkdir(parents=True, exist_ok=True)
    write_matlab4(path.with_suffix(".mat"), digital)
    lines = [f"{path.name} {len(LEADS)} {RATE_HZ} {digital.shape[1]}"]
    for row, lead in zip(digital, LEADS, strict=True):
        checksum = (int(row.sum()) + 0x8000) % 0x10000 - 0x8000
        lines.append(f"{path.name}.mat 16+24 {_GAIN}/mV 16 0 {int(row[0])} {checksum} 0 {lead}")
    sex = draw.choice(["Male", "Female"])
    lines += [f"#Age: {int(draw.integers(20, 90))}", f"#Sex: {sex}", f"#Dx: {','.join(codes)}"]
    lines += ["#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown"]
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n", encoding="ascii")
    return oddity
