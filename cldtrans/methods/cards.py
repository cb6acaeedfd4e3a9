"""What a reader has to know of a method before comparing with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SawTestData = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Card:
    """A method's origin; the page on baselines is made of these.

    Attributes
    ----------
    title : str
        As tables call it.
    source : str
        The paper that defines it.
    licence : str
        Of the code that runs here, and of the original where that differs.
    reproduced : str
        What is as in the source.
    differs : str
        What is not.
    saw_test_data : one of "yes", "no", "unknown"
        Whether weights that it starts from saw the corpora that it is scored on; weights that start at
        random did not. "unknown" where it depends on the checkpoint.
    seen : str
        What is known of the data behind its checkpoints, with the source.
    published : tuple of (str, str, str, str)
        Rows to print beside ours: dataset, metric, value, and where it stands.
    parameters : float or None
        Of the original, by its source. Ours are within 1 % of them, or `counted` says why not.
    counted : str
        What makes the numbers of parameters differ.
    verified : str
        Of a network with published weights: what of it was compared with the original. No such weights were
        loaded.
    """

    title: str
    source: str
    licence: str
    reproduced: str
    differs: str
    saw_test_data: SawTestData = "no"
    seen: str = ""
    published: tuple[tuple[str, str, str, str], ...] = field(default=())
    parameters: float | None = None
    counted: str = ""
    verified: str = ""
