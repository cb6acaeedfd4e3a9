"""The header of a matrix in a MATLAB 4 file, behind which a WFDB record of format `16+24` has its samples.

Format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf, chapter 2: five 32-bit integers
(type, rows, columns, imaginary, length of the name), the name with its final zero, then the numbers, column
by column.
"""

from __future__ import annotations

import struct
from pathlib import Path

from cldtrans.errors import DataError

_INT16 = 30  # little-endian full matrix of 16-bit integers
HEADER = struct.Struct("<5i4s")
"""Up to the numbers of a matrix called `val`: 24 bytes, the offset that the record's header names."""


def check_matlab4(path: Path, signals: int) -> None:
    """Check that a file holds `val`, 16-bit integers of so many signals [signals, samples], and all of them.

    Raises
    ------
    DataError
        Where it does not: what lies 24 bytes behind its start would be read as samples.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER.size)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); fetch the record again") from None
    if len(head) < HEADER.size:
        raise DataError(f"{path}: expected a MATLAB 4 matrix, found {size} bytes; fetch the record again")
    kind, rows, columns, imaginary, length, name = HEADER.unpack(head)
    if (kind, imaginary, length, name) != (_INT16, 0, 4, b"val\0"):
        raise DataError(
            f"{path}: expected a MATLAB 4 matrix `val` of 16-bit integers, found type {kind} and name "
            f"{name!r}; fetch the record again"
        )
    if rows != signals or size != HEADER.size + 2 * rows * columns:
        raise DataError(
            f"{path}: expected {signals} signals and {HEADER.size + 2 * rows * columns} bytes, found {rows} "
            f"signals and {size} bytes; fetch the record again"
        )
