"""Lobe and side of scalp EEG channels, by the names of their electrodes."""

from __future__ import annotations

import re

from cldtrans.data.montages.montage import electrode

_LOBES = (
    ("FP", "frontal"),
    ("AF", "frontal"),
    ("FT", "temporal"),
    ("FC", "frontal"),
    ("F", "frontal"),
    ("TP", "temporal"),
    ("T", "temporal"),
    ("CP", "central"),
    ("C", "central"),
    ("PO", "occipital"),
    ("P", "parietal"),
    ("O", "occipital"),
)
_TEMPORAL = {"F7", "F8", "F9", "F10", "P7", "P8"}  # over the anterior and posterior temporal lobe


def lobe_of(name: str) -> str | None:
    """Return `temporal`, `frontal`, `central`, `parietal`, `occipital`, or None for an unknown electrode.

    F7/F8 and P7/P8 (once T5/T6) count as temporal, as in clinical reading of the 10-20 system. A bipolar
    channel is temporal if either electrode is, else it takes its first electrode's lobe.
    """
    lobes = [_electrode_lobe(electrode(part)) for part in name.split("-")]
    return "temporal" if "temporal" in lobes else lobes[0]


def _electrode_lobe(name: str) -> str | None:
    if name in _TEMPORAL:
        return "temporal"
    return next((lobe for prefix, lobe in _LOBES if re.fullmatch(f"{prefix}(\\d+|Z)", name)), None)


def side_of(name: str) -> str | None:
    """Return `left` (odd numbers), `right` (even) or `midline`.

    None where a bipolar channel's electrodes disagree.
    """
    sides = {_electrode_side(electrode(part)) for part in name.split("-")}
    return sides.pop() if len(sides) == 1 else None


def _electrode_side(name: str) -> str | None:
    if name.endswith("Z"):
        return "midline"
    number = re.search(r"(\d+)$", name)
    return None if number is None else ("left" if int(number[1]) % 2 else "right")
