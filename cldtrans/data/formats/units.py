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


def distinguishable(labels: list[str]) -> list[str]:
    """`T8-P8, T8-P8` -> `T8-P8, T8-P8#2`: the first keeps the name under which it is looked up."""
    seen: dict[str, int] = {}
    taken = set(labels)
    out = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        name = label if seen[label] == 1 else f"{label}#{seen[label]}"
        while seen[label] > 1 and name in taken:
            seen[label] += 1
            name = f"{label}#{seen[label]}"
        taken.add(name)
        out.append(name)
    return out
