"""Who took part: age, sex, handedness, the four factors of the CBCL, and which release trains."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from cldtrans.data.base import read_table
from cldtrans.errors import DataError, listing

FACTORS = ("p_factor", "attention", "internalizing", "externalizing")
TRAINING_RELEASES = ("R1", "R2", "R3", "R4", "R6", "R7", "R8", "R9", "R10", "R11")
VALIDATION_RELEASES = ("R5",)
# `sub_rm` of the challenge's starter kit (github eeg2025/startkit, challenge_1.py and challenge_2.py), for
# "quality issues (insufficient channels or duration)"; none of them is in R4 or R5.
STARTER_KIT_DROPS = frozenset(
    (
        "NDARWV769JM7",
        "NDARME789TD2",
        "NDARUA442ZVF",
        "NDARJP304NK1",
        "NDARTY128YLU",
        "NDARDW550GU6",
        "NDARLD243KRE",
        "NDARUJ292JXV",
        "NDARBA381JGH",
    )
)
_COLUMNS = ("participant_id", "release_number", "sex", "age", "ehq_total", *FACTORS)
_SEXES = ("F", "M")


def read_participants(folder: Path, dropped: Collection[str] = STARTER_KIT_DROPS) -> pd.DataFrame:
    """Read the persons of one release.

    Parameters
    ----------
    folder : Path
        A release, with its `participants.tsv`.
    dropped : collection of str
        Subjects to leave out.

    Returns
    -------
    DataFrame
        One row a person, ordered by subject: subject (without `sub-`), release ("R4"), sex ("F", "M"), age in
        years, ehq_total (Edinburgh handedness, -100 left to 100 right), and the factors, unit deviation in
        the population; NaN where a number is not known.

    Raises
    ------
    DataError
        For a table that cannot be read, a person twice, an unknown sex, or a cell that is no number.
    """
    path = Path(folder) / "participants.tsv"
    table = read_table(path, _COLUMNS, separator="\t")
    table.insert(0, "subject", table.pop("participant_id").str.removeprefix("sub-"))
    table = table.rename(columns={"release_number": "release"})
    nameless = table["subject"].isna() | table["release"].isna()
    if nameless.any():
        raise DataError(
            f"{path}: row {int(nameless.to_numpy().argmax()) + 1}: expected participant_id and "
            "release_number, found an empty cell"
        )
    repeated = table["subject"].duplicated()
    if repeated.any():
        raise DataError(f"{path}: expected a row a person, found {table['subject'][repeated].iloc[0]} twice")
    odd = ~table["sex"].isin(_SEXES)
    if odd.any():
        raise DataError(
            f"{path}: {table['subject'][odd].iloc[0]}: expected sex F or M, found {table['sex'][odd].iloc[0]}"
        )
    for column in ("age", "ehq_total", *FACTORS):
        table[column] = numbers(table[column], f"{path}: {column}")
    return table[~table["subject"].isin(dropped)].sort_values("subject", ignore_index=True)


def split_by_release(participants: pd.DataFrame) -> pd.Series:
    """Divide persons as the challenge does: R5 validates, R1 to R4 and R6 to R11 train.

    Parameters
    ----------
    participants : DataFrame
        From `read_participants`, of one release or of several joined.

    Returns
    -------
    Series of str
        "train" or "val" by subject.

    Raises
    ------
    DataError
        For another release, or a person in two of them.
    """
    parts = dict.fromkeys(TRAINING_RELEASES, "train") | dict.fromkeys(VALIDATION_RELEASES, "val")
    unknown = sorted(set(participants["release"]) - set(parts))
    if unknown:
        raise DataError(f"releases: expected {', '.join(parts)}, found {listing(unknown)}")
    repeated = participants["subject"].duplicated()
    if repeated.any():
        raise DataError(
            f"releases: expected a person in one of them, found {participants['subject'][repeated].iloc[0]} "
            "in two"
        )
    return pd.Series(
        participants["release"].map(parts).to_numpy(), index=participants["subject"], name="split"
    )


def numbers(cells: pd.Series, origin: str) -> pd.Series:
    """Read cells as numbers, NaN where one is empty or `n/a`.

    Parameters
    ----------
    cells : Series of str
        A column as `read_table` gives it.
    origin : str
        File and column; messages begin with it.

    Raises
    ------
    DataError
        For a cell that is no finite number.
    """
    found = pd.to_numeric(cells, errors="coerce")
    bad = cells.notna() & ~found.abs().lt(float("inf"))
    if bad.any():
        raise DataError(f"{origin}: expected a number, found {cells[bad].iloc[0]!r}")
    return found.astype(float)
