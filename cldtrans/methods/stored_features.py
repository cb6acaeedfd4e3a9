"""Pooled features as `features` stores them; reading them takes no torch."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from cldtrans.errors import DataError


def read_features(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a file of features, whose archive holds a sum of each.

    Raises
    ------
    DataError
        Where there is no such file, or it is not as it was written.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not readable as features ({error}); delete it and run again") from None
