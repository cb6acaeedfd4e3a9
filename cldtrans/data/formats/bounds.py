"""What no recording exceeds: numbers beyond are damage, and refused in every format alike."""

from __future__ import annotations

from cldtrans.errors import DataError

RATE_HZ = (1e-4, 1e7)  # a thermometer read every three hours; ultrasound
LARGEST_VALUE = 1e15  # of a physical range or a scale, in the header's unit
SMALLEST_STEP = 1e-15
MOST_SKEW_S = 600.0  # between the signals of a frame
MOST_FRAME = 1 << 20  # samples of one signal in a frame
MOST_GAP_BYTES = 400 << 20  # of samples that were never recorded, in one piece that is read


def checked_rate(sample_rate: float, origin: str) -> float:
    """Return a sampling rate that can be one.

    Raises
    ------
    DataError
        For any other.
    """
    low, high = RATE_HZ
    if not low <= sample_rate <= high:
        raise DataError(
            f"{origin}: expected a sampling rate of {low:g} to {high:g} Hz, found {sample_rate:g}; "
            "the header is damaged"
        )
    return sample_rate


def checked_step(step: float, origin: str) -> float:
    """Return a scale, physical units a digital step, that can be one.

    Raises
    ------
    DataError
        For any other.
    """
    if not SMALLEST_STEP <= abs(step) <= LARGEST_VALUE:
        raise DataError(f"{origin}: expected a scale, found {step:g} units a step; the header is damaged")
    return step
