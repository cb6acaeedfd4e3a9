"""Electrode names, and the 18-channel bipolar montage ("double banana") shared by the EEG corpora.

Channels are found by name: given directly, given with the opposite polarity, or derived as the difference of
two channels that share a reference (`FP1-CS2` minus `F7-CS2`, or `EEG Fp1` minus `EEG F7`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_CHAINS = """
FP1-F7 F7-T7 T7-P7 P7-O1   FP1-F3 F3-C3 C3-P3 P3-O1
FP2-F4 F4-C4 C4-P4 P4-O2   FP2-F8 F8-T8 T8-P8 P8-O2   FZ-CZ CZ-PZ
"""
DOUBLE_BANANA = tuple(_CHAINS.split())

_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}  # 10-20 before 1991
_PREFIX = re.compile(r"^(?:EEG|SEEG|POL)[\s_-]+", re.IGNORECASE)  # what recorders put before the electrode
_ELECTRODE = re.compile(r"[A-Z]{1,3}[0-9]{0,2}[A-Z]?$")


def electrode(name: str) -> str:
    """Return an electrode's modern name in capitals: `Fc5.` -> `FC5`, `EEG T3` -> `T7`."""
    name = _PREFIX.sub("", name.strip().upper()).strip(" .")
    return _OLD_NAMES.get(name, name)


def derivation(label: str) -> tuple[str, str] | None:
    """Return (electrode, reference) of a channel's label; None for a dummy.

    The reference is "" where none is named.
    """
    label = re.sub(r"#\d+$", "", label.strip())  # a reader's mark on a repeated name
    plus, *others = re.split(r"[-_:/]", _PREFIX.sub("", label), maxsplit=1)  # Fp1-F7, Fp1_REF, C3:M2
    dash, minus = bool(others), others[0] if others else ""
    plus, minus = electrode(plus), electrode(minus)
    if not _ELECTRODE.match(plus) or (dash and not minus):
        return None
    return plus, minus


def bipolar_recipe(labels: Sequence[str], targets: Sequence[str]) -> list[tuple[int, int | None, float]]:
    """Find how to form each target `A-B` from channels by their labels.

    Returns
    -------
    list of (int, int or None, float)
        (i, j, sign) stands for sign * (x_i - x_j), j None for x_i alone. A target that cannot be formed
        has i = -1. The first of several equal labels is taken.
    """
    first: dict[tuple[str, str], int] = {}
    for position, label in enumerate(labels):
        pair = derivation(label)
        if pair is not None:
            first.setdefault(pair, position)
    recipe: list[tuple[int, int | None, float]] = []
    for target in targets:
        plus, minus = (electrode(part) for part in target.split("-"))
        if (plus, minus) in first:
            recipe.append((first[plus, minus], None, 1.0))
        elif (minus, plus) in first:
            recipe.append((first[minus, plus], None, -1.0))
        else:
            shared = [
                (i, first[minus, reference])
                for (name, reference), i in first.items()
                if name == plus and (minus, reference) in first
            ]
            recipe.append((*shared[0], 1.0) if shared else (-1, None, 0.0))
    return recipe


def apply_recipe(data: np.ndarray, recipe: Sequence[tuple[int, int | None, float]]) -> np.ndarray:
    """Form the targets of a recipe; zeros where it has none.

    Parameters
    ----------
    data : array [channels, T]
        The rows that the recipe counts, in any unit.
    recipe : sequence of (int, int or None, float)
        From `bipolar_recipe`.

    Returns
    -------
    array [C, T]
        The targets, in the unit of `data`.
    """
    out = np.zeros((len(recipe), data.shape[1]), dtype=np.float32)
    for row, (i, j, sign) in zip(out, recipe, strict=True):
        if i < 0:
            continue
        row[:] = data[i]
        if j is not None:
            row -= data[j]
        if sign < 0:
            np.negative(row, out=row)
    return out
