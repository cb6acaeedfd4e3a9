"""What a set of known lags is, and where each is read.

Three kinds of truth, which are never mixed. *Hidden source*: delays between channels are known, and none of
them causes another. *Propagation*: something travels from channel to channel, in a known direction. *Clinical
label*: clinicians say where a seizure begins. A set lies in a folder that the user has; its files are checked
against `MANIFEST.csv` there, where it names them.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float

from cldtrans.errors import DataError, suggestion
from cldtrans.files import sha256_file

Truth = Literal["hidden source", "propagation", "clinical label"]

READERS = {
    "microphones": "cldtrans.data.known_lags.microphones:Microphones",
    "rivers": "cldtrans.data.known_lags.rivers:Rivers",
    "muscle": "cldtrans.data.known_lags.muscle:Muscle",
    "electrocorticogram": "cldtrans.data.known_lags.electrocorticogram:Electrocorticogram",
    "causal-rivers": "cldtrans.data.known_lags.causal_rivers:CausalRivers",
}
"""A set's reader, by its name."""
MANIFEST = "MANIFEST.csv"


@dataclass(frozen=True)
class KnownSystem:
    """Windows of one system, with what is known of it; rows are targets, as everywhere.

    Attributes
    ----------
    name : str
        Within its set.
    x : array [N, C, T]
        Windows.
    sample_rate : float
        Hertz; for rivers samples a day.
    tau_max_s : float
        Largest lag that is looked for, in the unit of one over the rate.
    channels : tuple of str
        Names of the C channels.
    tau : array [C, C], optional
        Known delays, NaN where none is known or none is scored.
    arrival : array [C, C], optional
        The same measured directly, where the first rests on distances.
    edges : array [C, C] of bool, optional
        Pairs of which the column drives the row.
    outwards : array [C, C] of bool, optional
        Pairs whose delay is that of propagation, of either sign.
    zone : frozenset of int, optional
        Channels that clinicians marked.
    level : array [C], optional
        Mean size of each channel, in the unit of the recording.
    band_hz : (float, float), optional
        Frequencies that hold signal.
    few : tuple of int, optional
        Channels that slow methods get; default: all.
    aside : bool
        Read and listed, and no part of any score.
    """

    name: str
    x: Float[np.ndarray, "N C T"]
    sample_rate: float
    tau_max_s: float
    channels: tuple[str, ...]
    tau: Float[np.ndarray, "C C"] | None = None
    arrival: Float[np.ndarray, "C C"] | None = None
    edges: Bool[np.ndarray, "C C"] | None = None
    outwards: Bool[np.ndarray, "C C"] | None = None
    zone: frozenset[int] | None = None
    level: Float[np.ndarray, " C"] | None = None
    band_hz: tuple[float, float] | None = None
    few: tuple[int, ...] | None = None
    aside: bool = False


@dataclass
class KnownSet:
    """The systems of one set.

    Attributes
    ----------
    truth : one of "hidden source", "propagation", "clinical label"
        What kind of truth they have.
    systems : list of KnownSystem
        May be empty.
    reason : str or None
        Why there is none.
    notes : list of str
        What a reader of its scores has to know, a line each.
    fingerprint : str
        sha256 over what was read.
    """

    truth: Truth
    systems: list[KnownSystem]
    reason: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """sha256 over windows and what is known of them."""
        digest = hashlib.sha256()
        for system in self.systems:
            digest.update(repr((system.name, system.sample_rate, system.tau_max_s, system.channels)).encode())
            for array in (system.x, system.tau, system.arrival, system.edges, system.outwards):
                if array is not None:
                    digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


class KnownReader(ABC):
    """A kind of set.

    Attributes
    ----------
    title : str
        As tables and figures call it.
    truth : one of "hidden source", "propagation", "clinical label"
        What kind of truth it has.
    folder : str
        Where its files lie in the folder of all sets; "" where they have one of their own.
    files : tuple of str
        That it needs, in its folder.
    notes : tuple of str
        What a reader of its scores has to know.
    """

    title: ClassVar[str]
    truth: ClassVar[Truth]
    folder: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    notes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def systems(self, folder: Path) -> list[KnownSystem]:
        """Read the systems in the set's own folder, whose files are there."""


def get_reader(name: str) -> KnownReader:
    """Return the reader of a set of that name."""
    if name not in READERS:
        raise DataError(
            f"known_lags: no set {name!r}; known: {', '.join(READERS)}{suggestion(name, READERS)}"
        )
    module, _, cls = READERS[name].partition(":")
    return getattr(importlib.import_module(module), cls)()


def paths_of(name: str, folder: str | None) -> list[Path]:
    """Return the files of a set that are there, its own ones alone; none where no folder is named."""
    if folder is None:
        return []
    reader = get_reader(name)
    paths = [Path(folder).expanduser() / reader.folder / file for file in reader.files]
    return [path for path in paths if path.is_file()]


def read_set(name: str, folder: str | None) -> KnownSet:
    """Read a set, or say in one line why there is none.

    Parameters
    ----------
    name : str
        In `READERS`.
    folder : str or None
        That holds the set's folder, or null.

    Raises
    ------
    DataError
        Where a file is not what `MANIFEST.csv` says, or cannot be read.
    """
    reader, found = get_reader(name), paths_of(name, folder)
    if folder is None:
        return KnownSet(reader.truth, [], f"no recordings supplied (the folder of {name} is null)")
    own = Path(folder).expanduser() / reader.folder
    absent = [file for file in reader.files if own / file not in found]
    if absent:
        return KnownSet(reader.truth, [], f"{own}: no file {absent[0]}; copy the set there, or name null")
    verify(found, own)
    return KnownSet(reader.truth, reader.systems(own), notes=list(reader.notes))


def verify(paths: list[Path], folder: Path) -> None:
    """Compare files with `MANIFEST.csv` beside or above them; those that it does not name pass.

    Raises
    ------
    DataError
        For a file with another checksum.
    """
    manifest = next((at / MANIFEST for at in (folder, folder.parent) if (at / MANIFEST).is_file()), None)
    if manifest is None:
        return
    with manifest.open(newline="", encoding="utf-8") as lines:
        known = {row["file"]: row["sha256"] for row in csv.DictReader(lines)}
    for path in paths:
        wanted = known.get(path.relative_to(manifest.parent).as_posix())
        if wanted is not None and sha256_file(path) != wanted:
            raise DataError(f"{path}: sha256 differs from the one in {manifest}; copy it again")
