"""Leads of an ECG that are sums of others: six limb leads, of which two are independent.

Einthoven: II = I + III. Goldberger: aVR = -(I + II) / 2, aVL = (I - III) / 2, aVF = (II + III) / 2. Chest
leads are measured against the mean of the limb electrodes, and each adds an electrode of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LIMB = ("I", "II", "III", "AVR", "AVL", "AVF")
"""In the order in which they are kept."""
INDEPENDENT = 2


def limb_leads(names: Sequence[str]) -> list[int]:
    """Return the positions of limb leads among the names."""
    return [i for i, name in enumerate(names) if _plain(name) in LIMB]


def dependent_leads(names: Sequence[str]) -> list[int]:
    """Return the positions of limb leads that follow from two others: all but the first two of `LIMB`."""
    limb = sorted(limb_leads(names), key=lambda i: LIMB.index(_plain(names[i])))
    return sorted(limb[INDEPENDENT:])


def _plain(name: str) -> str:
    return re.sub(r"^(ECG|EKG|LEAD)[\s_-]+", "", name.strip().upper()).strip(" .")
