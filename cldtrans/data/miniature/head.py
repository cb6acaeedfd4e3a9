"""Where electrodes sit, and the double banana built on them."""

from __future__ import annotations

import functools
import itertools

import numpy as np

# Azimuthal-equidistant coordinates in degrees from the vertex (right, front), rounded from the standard 10-05
# template after fitting a sphere to it.
_DEGREES = """
FP1 -27 90 FPZ 0 91 FP2 27 90 AF7 -53 80 AF3 -27 73 AFZ 0 70 AF4 27 73 AF8 53 80 F9 -92 75 F7 -75 62 F5 -57 56
F3 -38 52 F1 -19 49 FZ 0 49 F2 19 49 F4 38 52 F6 57 56 F8 75 62 F10 92 75 FT9 -113 40 FT7 -92 34 FC5 -68 30
FC3 -45 28 FC1 -22 27 FCZ 0 26 FC2 22 27 FC4 45 28 FC6 68 30 FT8 92 34 FT10 113 40 T9 -119 0 T7 -97 0 C5 -71 2
C3 -46 3 C1 -23 4 CZ 0 4 C2 23 4 C4 46 3 C6 71 2 T8 97 0 T10 119 0 TP7 -90 -31 CP5 -66 -25 CP3 -43 -21
CP1 -21 -18 CPZ 0 -18 CP2 21 -18 CP4 43 -21 CP6 66 -25 TP8 90 -31 P7 -72 -57 P5 -55 -48 P3 -37 -43 P1 -18 -40
PZ 0 -39 P2 18 -40 P4 37 -43 P6 55 -48 P8 72 -57 PO7 -50 -73 PO3 -28 -63 POZ 0 -60 PO4 28 -63 PO8 50 -73
O1 -26 -82 OZ 0 -82 O2 26 -82 IZ 0 -103
""".split()  # noqa: SIM905

TEN_TWENTY = tuple("FP1 F7 T7 P7 O1 F3 C3 P3 FP2 F4 C4 P4 O2 F8 T8 P8 FZ CZ PZ".split())  # noqa: SIM905
"""The 19 electrodes of the double banana."""

BANANA = tuple(
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2 FP2-F8 F8-T8 T8-P8 P8-O2 "  # noqa: SIM905
    "FZ-CZ CZ-PZ".split()
)
"""The 18 bipolar channels that every scalp recording here can be turned into."""

_ROWS = ("F7-T7 F3-C3 FZ-CZ F4-C4 F8-T8", "T7-P7 C3-P3 CZ-PZ C4-P4 T8-P8")  # neighbours across the chains


def positions(names: tuple[str, ...]) -> np.ndarray:
    """Return unit vectors (right, front, up) of electrodes named in capitals, array [E, 3]."""
    table = {
        _DEGREES[i]: (float(_DEGREES[i + 1]), float(_DEGREES[i + 2])) for i in range(0, len(_DEGREES), 3)
    }
    plane = np.radians([table[name] for name in names])
    angle = np.hypot(*plane.T)
    scale = np.sin(angle) / np.maximum(angle, 1e-9)
    return np.column_stack([plane * scale[:, None], np.cos(angle)])


def incidence(channels: tuple[str, ...], electrodes: tuple[str, ...]) -> np.ndarray:
    """Return the matrix [C, E] that turns electrode potentials into bipolar channels ``A-B``."""
    matrix = np.zeros((len(channels), len(electrodes)))
    for row, channel in enumerate(channels):
        first, second = channel.split("-")[:2]
        matrix[row, electrodes.index(first)] += 1
        matrix[row, electrodes.index(second)] -= 1
    return matrix


@functools.cache
def neighbours() -> tuple[tuple[int, ...], ...]:
    """Return each banana channel's neighbours, by position.

    They share an electrode with it or lie beside it in the next chain.
    """
    beside = [row.split() for row in _ROWS]
    pairs = {frozenset(pair) for row in beside for pair in itertools.pairwise(row)}
    return tuple(
        tuple(
            j
            for j, other in enumerate(BANANA)
            if other != channel
            and (set(channel.split("-")) & set(other.split("-")) or frozenset((channel, other)) in pairs)
        )
        for channel in BANANA
    )
