"""What a file's channels are called here, and which of them make one recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def distinguishable(labels: Sequence[str]) -> list[str]:
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


def of_one_rate(names: Sequence[str], rates_hz: Sequence[float]) -> tuple[float, list[int], list[str]]:
    """Choose the channels of the rate that most have: a slow thermometer, a fast microphone are left out.

    Returns
    -------
    rate_hz : float
        The highest of several such.
    chosen : list of int
        Channels of that rate, in file order.
    notes : list of str
        A line that names the others, if there are any.
    """
    counts = Counter(rates_hz)
    rate_hz = max(counts, key=lambda rate: (counts[rate], rate))
    chosen = [i for i, rate in enumerate(rates_hz) if rate == rate_hz]
    others = [name for name, rate in zip(names, rates_hz, strict=True) if rate != rate_hz]
    return (
        rate_hz,
        chosen,
        [f"not sampled at {rate_hz:g} Hz, and left out: {', '.join(others)}"] if others else [],
    )
