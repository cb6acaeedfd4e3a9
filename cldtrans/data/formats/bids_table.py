"""Tables of BIDS: tab-separated, `n/a` for what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cldtrans.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_tsv(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table's cells as they are written; columns in small letters, "" for n/a.

    Parameters
    ----------
    path : Path
        The file.
    columns : tuple of str
        Those that it must have; others come along.

    Raises
    ------
    DataError
        Where the file is absent, is no table, or lacks a column.
    """
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path}: no such file; a BIDS recording needs it")
    try:
        table = pd.read_csv(path, sep="\t", dtype="str", keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a table: {' '.join(str(error).split())}") from None
    table.columns = [str(name).strip().lower() for name in table.columns]
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise DataError(f"{path}: no column {', '.join(map(repr, lacking))}; found {', '.join(table)}")
    return table.apply(lambda column: column.str.strip().replace("n/a", ""))
