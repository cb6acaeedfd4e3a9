"""Where tests find the project and, beside it, real recordings."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
MIRROR = PROJECT.parent / "shared" / "physionet"
HBN = PROJECT.parent / "shared" / "hbn"
KNOWN_LAGS = PROJECT.parent / "shared" / "known_lags"
