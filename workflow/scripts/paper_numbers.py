"""Numbers of the draft: each a LaTeX macro of its own, defined in one generated file."""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile("⟦(.+?)⟧")
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "µ": r"$\mu$",
    "τ": r"$\tau$",
    "é": r"\'e",
}


def escape(text: str) -> str:
    """Return plain text as LaTeX."""
    return "".join(_SPECIAL.get(char, char) for char in text)


def macro_name(key: str) -> str:
    r"""Return a macro's name without backslash: `planted/chbmit/top1` is PlantedChbmitTopOne."""
    words = re.findall(r"[A-Za-z]+|\d", key)
    return "".join(_DIGITS[int(word)] if word.isdigit() else word[0].upper() + word[1:] for word in words)


@dataclass
class Numbers:
    """What sentences quote. A sentence holds a token where the number stands.

    Attributes
    ----------
    values : dict of str
        Text of each number by key.
    """

    values: dict[str, str] = field(default_factory=dict)

    def __call__(self, key: str, text: str) -> str:
        """Note a number, and return its token.

        Raises
        ------
        ValueError
            Where the key, or one that makes the same macro, stands for another text.
        """
        for known, value in self.values.items():
            if macro_name(known) == macro_name(key) and value != text:
                raise ValueError(f"{key} is {text}, but {known} is {value}")
        self.values[key] = text
        return f"⟦{key}⟧"

    def plain(self, sentence: str) -> str:
        """Return a sentence with its numbers written out."""
        return _TOKEN.sub(lambda match: self.values[match[1]], sentence)

    def latex(self, sentence: str) -> str:
        """Return a sentence with its numbers as macros."""
        parts = _TOKEN.split(sentence)  # text and keys by turns
        return "".join(f"\\{macro_name(part)}{{}}" if k % 2 else escape(part) for k, part in enumerate(parts))

    def definitions(self) -> str:
        """Return the file of macros."""
        rows = [
            f"\\newcommand{{\\{macro_name(key)}}}{{{escape(self.values[key])}}}\n"
            for key in sorted(self.values)
        ]
        return "% Written by the workflow from this run's tables.\n" + "".join(rows)
