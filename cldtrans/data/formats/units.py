"""Units of amplitude, however a header spells them."""

from __future__ import annotations

# Micro in EDF and WFDB headers: ASCII, Latin-1, Greek, UTF-8 read as Latin-1, Shift-JIS.
_MICRO = ("u", "µ", "μ", "Âµ", "Î¼", "\x83\xca")
_MICROVOLTS = {"nv": 1e-3, **{f"{sign.casefold()}v": 1.0 for sign in _MICRO}, "mv": 1e3, "v": 1e6}


def microvolts(unit: str) -> float | None:
    """Microvolts in one unit of that name, None for what is no voltage.

    Capitals do not matter: `UV` and `mv` occur, megavolts do not.
    """
    return _MICROVOLTS.get(unit.strip().casefold())
