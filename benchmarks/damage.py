"""Damage of bytes and settings, and the hostile values that it puts there."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

SECRET = "secret.dat"  # lies beside the files that are opened: nothing may read it

NONSENSE = ["", " ", "0", "-0", "1", "-1", "2", "3.5", "1e3", "65536", "-32768", "2147483648"]
NONSENSE += ["9007199254740993", "300000000", "99999999", "-99999999", "1e300", "-1e300", "1e-300", "1e-15"]
NONSENSE += ["1e15", "1e7", "1e400", "nan", "NaN", "inf", "-inf", "Infinity", "1_000", "0x10", "1,5"]
NONSENSE += ["1.2.3", "--1", "+", "-", "~", "#", ":", "9" * 400, "9" * 5000, "0." + "0" * 400 + "1", "٣"]
NONSENSE += ["½", "²", "µV", "\x00", "\ufeff1", "é", "名前", "\x1b[2J", "/", "\\", ".", "..", f"../{SECRET}"]
NONSENSE += [f"/etc/{SECRET}", "a/b", "C:\\a", "a b", "a;b", "$(touch x)", "`touch x`", "r", "r.dat"]
NONSENSE += ["r.hea", "r_1", "lay", "EDF+D", "BDF+D", "EDF Annotations", "BDF Annotations", "%s", "{0}"]
NUMBERS = [-1, 0, 0.5, 3, 10**6, 10**30, 2**63, -(10**18), 1e300, -1e300, 1e-300, float("nan")]
NUMBERS += [float("inf")]


def damaged(
    random: Random, content: bytes, end: int, fields: list[tuple[int, int]], fixed: bool = False
) -> bytes:
    """Damage the first `end` bytes, or fields, in one to three places; now and then cut the file.

    Fields of fixed width keep it, as a rule.
    """
    for _ in range(random.choice([1, 1, 2, 3])):
        way = random.random()
        if fields and way < 0.65:
            first, last = random.choice(fields)
            text = random.choice(NONSENSE).encode(
                random.choice(["utf-8", "utf-8", "latin-1", "utf-16"]), "replace"
            )
            if fixed and random.random() < 0.9:
                text = text[: last - first].ljust(last - first)
            content = content[:first] + text + content[last:]
        elif way < 0.85 and end:
            place = random.randrange(min(end, len(content)) or 1)
            content = (
                content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]
            )
        elif way < 0.97 and end:
            place = random.randrange(min(end, len(content)) or 1)
            piece = random.randbytes(random.randrange(5))
            content = content[:place] + piece + content[place + random.choice([0, len(piece)]) :]
        else:
            content = content[: random.randrange(len(content) or 1)]
        if not content:
            break
    return content


def holders(settings: Any) -> Iterator[tuple[Any, Any]]:
    """Every (mapping, key) and (list, position) below settings."""
    for key, value in list(settings.items() if isinstance(settings, dict) else enumerate(settings)):
        yield settings, key
        if isinstance(value, dict | list):
            yield from holders(value)


def hostile_value(random: Random) -> Any:
    """Anything that JSON holds."""
    nested: Any = "x"
    for _ in range(random.choice([1, 5, 200])):
        nested = random.choice([[nested], {"x": nested}])
    return random.choice(
        [nested, None, True, {}, [], *NUMBERS, *[random.choice(NONSENSE) for _ in range(10)]]
    )
