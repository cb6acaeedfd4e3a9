"""Other montages of windows that were recorded, or are stored, as the double banana.

Its chains link the electrodes of the left, of the right and of the midline among themselves, and nothing
links the three: potentials are known up to a constant of each group. `referential` takes the mean of the
group for zero; `laplacian`, an electrode's potential less the mean of those that a chain links it to, does
not depend on any reference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cldtrans.data.montages.montage import DOUBLE_BANANA

Windows = tuple[np.ndarray, np.ndarray]  # x [..., C, T], mask [C]
_ENDS = [name.split("-") for name in DOUBLE_BANANA]
ELECTRODES = tuple(dict.fromkeys(end for ends in _ENDS for end in ends))
# Row c has 1 at the first electrode of channel c, and -1 at the second: channels = _INCIDENCE @ potentials.
_INCIDENCE = np.array([[(name == a) - (name == b) for name in ELECTRODES] for a, b in _ENDS], dtype=float)


def referential(x: np.ndarray, mask: np.ndarray) -> Windows:
    """Go from bipolar channels to potentials of electrodes, against the mean of all that chains link.

    Where loops of chains contradict each other, the potentials are those of least squares.

    Parameters
    ----------
    x : array [..., 18, T]
        Windows of the double banana, in any unit.
    mask : array [18] of bool
        Valid channels.

    Returns
    -------
    x : array [..., 19, T] of float32
        Windows of `ELECTRODES`, in the same unit.
    mask : array [19] of bool
        Electrodes with a valid channel.
    """
    linked = _INCIDENCE * mask[:, None]
    return _mapped(np.linalg.pinv(linked), x), np.abs(linked).sum(axis=0) > 0


def laplacian(x: np.ndarray, mask: np.ndarray) -> Windows:
    """Go from bipolar channels to each electrode's potential less the mean of those that chains link it to.

    Arguments and values as of `referential`.
    """
    linked = _INCIDENCE * mask[:, None]
    count = np.abs(linked).sum(axis=0)
    return _mapped(linked.T / np.maximum(count, 1)[:, None], x), count > 0


def _mapped(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.einsum("ec,...ct->...et", matrix.astype(np.float32), x)


MONTAGES: dict[str, Callable[[np.ndarray, np.ndarray], Windows]] = {
    "referential": referential,
    "laplacian": laplacian,
}
