"""Docstrings and trailing comments as the library page shows them.

A griffe extension. Docstrings here are in NumPy's form with its freedoms used: several names in one entry,
`name : meaning` in one line, and columns of names and meanings; comments behind fields say what those are.
All of it becomes lists, and types stay in the signatures.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import griffe

NAMES = r"\*{0,2}\w+(?:, \w+)*"
ENTRY = re.compile(rf"({NAMES})(?: : (.*))?")
COLUMNS = re.compile(r"(\w[\w, ]*?) {2,}(\S.*)")
UNDERLINE = re.compile(r"-{3,}")


class Docstrings(griffe.Extension):
    """Rewrites every docstring; that of a class says what the comments behind its fields say."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
        if obj.docstring is not None and obj.is_class:
            fields = (f"- `{name}`: {comment}" for name, comment in comments(obj))
            obj.docstring.value = "\n".join([obj.docstring.value, "", *fields]).strip()


def comments(owner: griffe.Object) -> Iterator[tuple[str, str]]:
    """Names of a class's public fields, with the comments behind them."""
    for name, field in owner.attributes.items():
        comment = re.search(r"  # (.+)", field.source)
        if comment and not name.startswith("_") and not field.is_alias:
            yield name, comment[1]


def as_markdown(docstring: str) -> str:
    """Sections as bold words, their entries and columns as lists; all else as it is."""
    lines = [*inspect.cleandoc(docstring).splitlines(), ""]
    shown: list[str] = []
    entries = in_list = False  # in a section of entries; inside an item
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if UNDERLINE.fullmatch(line):
            continue
        if UNDERLINE.fullmatch(following):
            shown += ["", f"**{line}**", ""]
            entries, in_list = line != "Returns", False
        elif found := (ENTRY.fullmatch(line) if entries else COLUMNS.fullmatch(line)):
            shown += [] if in_list else [""]
            shown.append(f"- `{found[1]}`: {found[2] or ''}")
            in_list = True
        elif in_list and line.startswith(" "):
            shown.append(f"    {line.strip()}")
        else:
            in_list = in_list and not line
            shown.append(line)
    return "\n".join(shown).strip()
