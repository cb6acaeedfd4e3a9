"""What the channels of a recording are: scalp EEG, ECG, and what lies beside them; judged as a set.

One name says little: `C3` is an electrode, the third lead of a row C of a large cap, or a chest lead; `P3` is
an electrode or a pressure. Units, mne's types and the company of other names decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from cldtrans.data.formats.units import microvolts
from cldtrans.data.montages.electrodes import EARS, is_scalp
from cldtrans.data.montages.montage import PREFIX, derivation

Kind = Literal["eeg", "ecg", "eog", "emg", "breath", "trigger", "other"]

_TRIGGER = re.compile(r"status|trig|stim|sti ?\d|marker|event|dc\d|osat.*flag|mk$", re.IGNORECASE)
_BY_NAME: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("trigger", _TRIGGER),
    ("ecg", re.compile(r"(.*[^a-z])?(ecg|ekg|mlii|mli|cardio)", re.IGNORECASE)),
    ("eog", re.compile(r"(.*[^a-z])?(eog|loc|roc|[rl]oc[-a])\b", re.IGNORECASE)),
    ("emg", re.compile(r"(.*[^a-z])?(emg|chin|tib|leg|mass|delt|[lr]at\b)", re.IGNORECASE)),
    (
        "breath",
        re.compile(
            r"(.*[^a-z])?(resp|thor|abd|flow|nasal|snor|effort|spo2|sao2|ppg|plet|co2|belt)", re.IGNORECASE
        ),
    ),
)
_ECG_LEADS = {"I", "II", "III", "AVR", "AVL", "AVF", *(f"V{k}" for k in range(1, 10)), "MLI", "MLII", "MCL1"}
_LIMBS = {"R", "L", "F", "N", "RA", "LA", "LL", "RL", "I", "II", "III", "AVR", "AVL", "AVF"}
_CHEST = {f"C{k}" for k in range(1, 7)}
_NUMBERED = re.compile(r"[A-Z]{1,4}'?\d{1,3}$")
_MNE: dict[str, Kind] = {
    "stim": "trigger",
    "syst": "trigger",
    "ecg": "ecg",
    "eog": "eog",
    "emg": "emg",
    "resp": "breath",
    "bio": "other",
    "gsr": "other",
    "temperature": "other",
}


def kinds_of(
    names: Sequence[str], units: Sequence[str] | None = None, types: Sequence[str] | None = None
) -> list[Kind]:
    """Tell what each channel is.

    Parameters
    ----------
    names : sequence of str
        Of all channels of the recording: they are understood together.
    units : sequence of str, optional
        As written in the header; "" where it says nothing. What is no voltage is no EEG.
    types : sequence of str, optional
        mne's, where mne read the recording.

    Returns
    -------
    list of str
        "eeg" means an electrode of the 10-05 system on the scalp, alone or against another one: where the
        names are those of another system, numbered caps or depth electrodes, there is none.
    """
    units = units or [""] * len(names)
    types = types or ["eeg"] * len(names)
    found = [_kind(*channel) for channel in zip(names, units, types, strict=True)]
    if not _is_scalp_system([name for name, kind in zip(names, found, strict=True) if kind == "eeg"], names):
        found = ["other" if kind == "eeg" else kind for kind in found]
    chest = {_plain(name) for name, kind in zip(names, found, strict=True) if kind == "eeg"}
    if chest and chest <= _CHEST and ({_plain(name) for name in names} & _LIMBS or chest == _CHEST):
        found = [
            "ecg" if _plain(n) in _CHEST | _LIMBS else kind for n, kind in zip(names, found, strict=True)
        ]
    return found


def other_system(names: Sequence[str], kinds: Mapping[str, Kind]) -> bool:
    """Tell whether there are electrodes, and none of the 10-05 system: a numbered cap, depth electrodes."""
    return all(kinds[name] != "eeg" for name in names) and any(
        kinds[name] == "other" and (PREFIX.match(name) or _looks_like_electrode(name)) for name in names
    )


def of_a_cap(name: str) -> bool:
    """Tell whether a name may be that of an electrode, of the 10-05 system or of a numbered cap."""
    return is_scalp(name) or bool(_NUMBERED.match(_plain(name)))


def _kind(name: str, unit: str, mne_type: str) -> Kind:
    if mne_type in _MNE:
        return _MNE[mne_type]
    bare = PREFIX.sub("", name.strip())
    for kind, pattern in _BY_NAME:
        if pattern.match(bare):
            return kind
    if _plain(name) in _ECG_LEADS:
        return "ecg"
    voltage = not unit.strip() or microvolts(unit) is not None
    return "eeg" if voltage and is_scalp(name) else "other"


def _is_scalp_system(scalp: Sequence[str], names: Sequence[str]) -> bool:
    """Whether names that look like electrodes are, most of them, electrodes of the 10-05 system."""
    looking = [name for name in names if _looks_like_electrode(name)]
    return bool(scalp) and 2 * len([name for name in looking if is_scalp(name)]) >= len(looking)


def _looks_like_electrode(name: str) -> bool:
    pair = derivation(name)
    return pair is not None and bool(_NUMBERED.match(pair[0])) and pair[0] not in EARS


def _plain(name: str) -> str:
    return re.sub(r"^(ECG|EKG|EEG|LEAD)[\s_-]+", "", name.strip().upper()).strip(" .")
