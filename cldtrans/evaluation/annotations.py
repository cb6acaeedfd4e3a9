"""The focal-lead table that a user supplies: csv with case, file, seizure, channels, source, rater.

One row a seizure and rater: `case` chb01, `file` chb01_03.edf, `seizure` counted from 1 within the file,
`channels` the leading ones (separated by `;`, `|` or blanks), `source` where the judgement is from, `rater`
who made it.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from cldtrans.data.montages.montage import electrode
from cldtrans.errors import DataError

COLUMNS = ("case", "file", "seizure", "channels", "source", "rater")


def read_annotations(path: str | Path, channels: tuple[str, ...]) -> dict[tuple[str, int], list[set[int]]]:
    """Read the table: (recording, seizure from 1) -> one set of channel numbers a rater.

    Parameters
    ----------
    path : str or Path
        The table.
    channels : tuple of str
        Names that it may use, in the order in which they are counted.

    Raises
    ------
    DataError
        Naming file, line and column: a missing column, an unknown channel, a seizure number that is none.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; correct zeroshot.annotations or set it to null") from None
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    lacking = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
    if lacking:
        raise DataError(
            f"{path}: no column {', '.join(map(repr, lacking))}; expected {', '.join(COLUMNS)}, "
            f"found {', '.join(reader.fieldnames or []) or 'nothing'}"
        )
    known = {_plain(name): position for position, name in enumerate(channels)}
    found: dict[tuple[str, int], list[set[int]]] = {}
    for row in reader:
        line = f"{path}, line {reader.line_num}"
        if any(row[name] is None for name in COLUMNS):
            raise DataError(
                f"{line}: {sum(v is not None for v in row.values())} values for {len(COLUMNS)} columns"
            )
        number = row["seizure"].strip()
        if not re.fullmatch(r"[1-9]\d*", number):
            raise DataError(f"{line}: seizure {number!r} should be a number counted from 1 within the file")
        recording = re.sub(r"\.edf$", "", row["file"].strip(), flags=re.IGNORECASE).rsplit("/", 1)[-1]
        if not recording.startswith(row["case"].strip()):
            raise DataError(f"{line}: file {row['file']!r} is not one of case {row['case']!r}")
        names = [name for name in re.split(r"[;|\s]+", row["channels"].strip()) if name]
        if not names:
            raise DataError(f"{line}: no channel named")
        unknown = [name for name in names if _plain(name) not in known]
        if unknown:
            raise DataError(f"{line}: unknown channel {unknown[0]!r}; known: {', '.join(channels)}")
        found.setdefault((recording, int(number)), []).append({known[_plain(name)] for name in names})
    return found


def _plain(name: str) -> str:
    """Return one spelling for a channel, whatever the case, the generation of names or the polarity."""
    return "-".join(sorted(electrode(part) for part in name.split("-")))
