"""Errors that a user can act on, and words for their messages.

The command line prints an error as one line and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

LONGEST_MESSAGE = 800


class CldtransError(Exception):
    """A problem whose message, one line, names the cause, what was expected and what to do.

    Parameters
    ----------
    message : str
        Damaged files put anything into it: the middle of a long one is left out, what no terminal should
        see is escaped.
    """

    def __init__(self, message: str) -> None:
        if not message.isprintable():
            message = "".join(c if c.isprintable() else _escaped(c) for c in message)
        if len(message) > LONGEST_MESSAGE:  # causes stand at the beginning, remedies at the end
            message = f"{message[: LONGEST_MESSAGE // 2]} ... {message[-LONGEST_MESSAGE // 4 :]}"
        super().__init__(message)


class ConfigError(CldtransError):
    """A config file or overlay that cannot be used."""


class DataError(CldtransError):
    """A file or recording that cannot be used; during preprocessing it quarantines the recording."""


class SourceError(CldtransError):
    """A download that failed for good: missing key, wrong checksum, no room, endless server errors."""


class RoomError(CldtransError):
    """A disk that is full, or will be."""


def _escaped(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode()


def suggestion(name: str, names: Any) -> str:
    """Return "; did you mean ...?", or the list of what exists."""
    close = difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(map(str, names)))}"


def listing(names: Sequence[str], most: int = 8) -> str:
    """Join names for a message, the first few of many."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
