"""A matrix of 16-bit integers as a MATLAB 4 file, called `val`.

Format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf, chapter 2.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def write_matlab4(path: Path, digital: np.ndarray) -> None:
    """Write `digital` [C, T], column by column as MATLAB does."""
    header = struct.pack("<5i", 30, *digital.shape, 0, 4) + b"val\0"  # 30: little-endian 16-bit integers
    path.write_bytes(header + np.ascontiguousarray(digital.T, dtype="<i2").tobytes())
