"""Names of channels as clinicians write them."""

from __future__ import annotations

import re

from cldtrans.data.montages.electrodes import positions
from cldtrans.data.montages.montage import PREFIX

_AUGMENTED = re.compile(r"^AV([RLF])$", re.IGNORECASE)


def cleaned(name: str) -> str:
    """Take off what a format added: `C3..` -> `C3`, `EEG Fp1` -> `Fp1`, `AVR` -> `aVR`, `V1#2` -> `V1 (2)`.

    Never with a number sign, which begins a comment in a table.
    """
    name = PREFIX.sub("", name.strip()).strip(" .")
    name = re.sub(r"#(\d+)$", r" (\1)", name).replace("#", "No. ")
    return _AUGMENTED.sub(lambda found: f"aV{found[1].upper()}", name)


def spelled(name: str) -> str:
    """Write electrodes as the 10-20 system does, `cleaned`: `FP1-F7` -> `Fp1-F7`, `CZ` -> `Cz`."""
    return re.sub(r"[A-Za-z]+\d*", lambda found: _electrode(found[0]), cleaned(name))


def _electrode(word: str) -> str:
    if word.upper() not in positions():
        return word
    return word.upper().replace("FP", "Fp").replace("Z", "z")
