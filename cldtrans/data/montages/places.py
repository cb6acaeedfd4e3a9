"""Where channels lie in three dimensions, by name: electrodes on the head, directions of ECG leads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from cldtrans.data.montages import electrodes

# Directions in which the leads see the heart's dipole: x to the left, y to the feet, z to the back
# (Dower, Machado and Osborne 1980, Clin. Cardiol. 3:87).
_DOWER = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}


def places(names: Sequence[str], modality: str) -> Float[np.ndarray, "C 3"]:
    """Find the place of each channel on a unit sphere.

    Parameters
    ----------
    names : sequence of str
        Of the C channels.
    modality : one of "eeg", "ecg"
        EEG: places of electrodes, x to the right, y to the nose, z to the top; a bipolar channel lies midway
        between its two. ECG: directions of leads, x to the left, y to the feet, z to the back.

    Returns
    -------
    array [C, 3] of float
        Unit vectors; NaN where a name is not known.
    """
    known = leads() if modality == "ecg" else scalp()
    found = np.full((len(names), 3), np.nan)
    for row, name in zip(found, names, strict=True):
        if modality == "ecg":
            keys = [re.sub(r"^(ECG|EKG|LEAD)[\s_-]+", "", name.strip().upper())]
        else:
            keys = [key for key in electrodes.scalp_pair(name) or () if key]
        there = [known[key] for key in keys if key in known]
        total = np.sum(there, axis=0) if there else np.zeros(3)
        if np.linalg.norm(total) > 1e-6:
            row[:] = total / np.linalg.norm(total)
    return found


@lru_cache(1)
def leads() -> dict[str, np.ndarray]:
    """Return the direction [3] of each of the twelve leads, by its name in capitals."""
    vectors = {name: np.array(vector) for name, vector in _DOWER.items()}
    one, two = vectors["I"], vectors["II"]
    vectors |= {"III": two - one, "AVR": -(one + two) / 2, "AVL": one - two / 2, "AVF": two - one / 2}
    return {name: vector / np.linalg.norm(vector) for name, vector in vectors.items()}


@lru_cache(1)
def scalp() -> dict[str, np.ndarray]:
    """Return the place [3] of each electrode of the 10-05 system, by its name in capitals."""
    rolled = {}
    for name, flat in electrodes.positions().items():
        polar = np.linalg.norm(flat) * np.pi / 2
        rolled[name] = np.append(flat * np.sinc(polar / np.pi) * np.pi / 2, np.cos(polar))
    return rolled
