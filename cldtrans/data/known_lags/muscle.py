"""High-density surface EMG of one muscle: potentials travel along its fibres, away from where nerves end.

Source: an example recording of the package openhdemg (GPL-3), vastus lateralis, a grid of 13 by 5 electrodes
8 mm apart, 64 of them, in the order of a snake: the cable goes up one column and down the next. Potentials
travel at 3 to 6 m/s, 1.3 to 2.7 ms an electrode. Differences of neighbours in a column are the channels; each
column is a system.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from cldtrans.data.known_lags.sets import KnownReader, KnownSystem, Truth
from cldtrans.errors import DataError

TAU_MAX_S = 0.006
BAND_HZ = (20.0, 400.0)


class Muscle(KnownReader):
    """Five columns of single differentials, all from the same end of the muscle."""

    title = "muscle"
    truth: ClassVar[Truth] = "propagation"
    folder = "hdsemg_vl"
    files = ("vl_64ch_10s.npz",)

    def systems(self, folder: Path) -> list[KnownSystem]:
        """Read the columns."""
        arrays = np.load(folder / self.files[0], allow_pickle=False)
        x = arrays["emg_i16"].astype(float) * float(arrays["scale_uv"])
        rows, columns = (int(count) for count in arrays["grid"])
        if len(x) != rows * columns - 1:
            raise DataError(
                f"{folder / self.files[0]}: expected {rows * columns - 1} channels for a grid of {rows} x "
                f"{columns} without a corner, found {len(x)}"
            )
        # The corner that is missing is the first.
        bounds = [0, *(rows * (k + 1) - 1 for k in range(columns))]
        systems = []
        for column in range(columns):
            potentials = x[bounds[column] : bounds[column + 1]]
            if column % 2:
                potentials = potentials[::-1]
            differences = np.diff(potentials, axis=0)
            count = len(differences)
            outwards = np.zeros((count, count), bool)
            outwards[np.arange(1, count), np.arange(count - 1)] = True
            systems.append(
                KnownSystem(
                    name=f"column {column + 1}",
                    x=differences[None],
                    sample_rate=float(arrays["sample_rate"]),
                    tau_max_s=TAU_MAX_S,
                    # Counted from the far end in every column, whose first has an electrode less.
                    channels=tuple(f"{rows - count + k}-{rows - count + k + 1}" for k in range(count)),
                    outwards=outwards,
                    band_hz=BAND_HZ,
                )
            )
        return systems
