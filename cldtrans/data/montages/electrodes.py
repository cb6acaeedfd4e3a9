"""Where on the scalp a channel was recorded, by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from cldtrans.data.montages.montage import derivation, electrode

EARS = ("A1", "A2", "M1", "M2")
"""Ear lobes and mastoids: references, not scalp."""


def scalp_pair(label: str) -> tuple[str, str] | None:
    """Return (electrode, second electrode or "") of a scalp channel, in capitals; None for anything else.

    `Fc5.` -> (FC5, ""), `EEG Fp1-REF` -> (FP1, ""), `T8-P8-1` (mne's mark on a repeated name) -> (T8, P8).
    """
    pair = _electrodes(label)
    return pair and (pair[0], pair[1] if pair[1] in positions() else "")


def is_scalp(label: str) -> bool:
    """Tell whether a label names an electrode of the 10-05 system, alone or against another one."""
    return scalp_pair(label) is not None


def _electrodes(label: str) -> tuple[str, str] | None:
    """Return the same with the name of the reference, whatever it is."""
    pair = derivation(re.sub(r"(-[^-]+)-\d+$", r"\1", label))
    return pair if pair is not None and pair[0] in positions() else None


def is_bipolar(labels: Sequence[str]) -> bool:
    """Tell whether all channels are differences of two scalp electrodes, and not all against the same one."""
    pairs = [scalp_pair(label) for label in labels]
    seconds = {pair[1] if pair else "" for pair in pairs}
    return "" not in seconds and (len(seconds) > 1 or len(labels) == 1)


def closing_a_loop(labels: Sequence[str]) -> list[int]:
    """Find scalp channels that are sums of earlier ones, as `P3-O1` is at the end of two chains.

    Recorded with a digit less than the others, such a channel looks nearly independent, and is noise.

    Returns
    -------
    list of int
        Their positions among the labels.
    """
    chain: dict[str, str] = {}  # electrode -> another one that it is connected to, nearer to the chain's root

    def root(name: str) -> str:
        while name in chain:
            name = chain[name]
        return name

    closing = []
    for position, label in enumerate(labels):
        pair = _electrodes(label)
        if pair is None:
            continue
        one, other = root(pair[0]), root(pair[1])
        if one == other:
            closing.append(position)
        else:
            chain[one] = other
    return closing


def on_head(labels: Sequence[str]) -> np.ndarray | None:
    """Place channels on the head, seen from above.

    A bipolar channel lies midway between its two electrodes.

    Parameters
    ----------
    labels : sequence of str
        Of the C channels.

    Returns
    -------
    array [C, 2] or None
        Nose up, the head's rim at radius 1; None where a name is not known.
    """
    pairs = [scalp_pair(label) for label in labels]
    if any(pair is None for pair in pairs):
        return None
    known = positions()
    return np.array([np.mean([known[name] for name in pair if name], axis=0) for pair in pairs if pair])


@lru_cache(1)
def positions() -> dict[str, np.ndarray]:
    """Return the place [2] of each electrode in capitals, seen from above; ears and mastoids are left out.

    From mne's standard 10-05 positions. The sphere nearest to the electrodes is unrolled from its top, so
    that distances from Cz are kept.
    """
    import mne

    # What mne called standard_1005 until 1.13.
    placed = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    xyz = np.array(list(placed.values()))
    # |p|^2 = 2 c.p + (r^2 - |c|^2) is linear in the centre c.
    solution, *_ = np.linalg.lstsq(np.c_[2 * xyz, np.ones(len(xyz))], (xyz**2).sum(1), rcond=None)
    unit = xyz - solution[:3]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    polar = np.arccos(unit[:, 2]) / (np.pi / 2)
    flat = unit[:, :2] / np.maximum(np.linalg.norm(unit[:, :2], axis=1, keepdims=True), 1e-12)
    found = zip(placed, flat * polar[:, None], strict=True)
    return {electrode(name): place for name, place in found if name.upper() not in EARS}
