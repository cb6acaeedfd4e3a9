"""An electrocorticogram around a seizure's onset, with the zone that clinicians marked."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from cldtrans.data.ecog import read_epoch
from cldtrans.data.known_lags.sets import KnownReader, KnownSystem, Truth

RATE_HZ = 160.0
BAND_HZ = (1.0, 40.0)
TAU_MAX_S = 0.1
DURATION_S = 2.0


class Electrocorticogram(KnownReader):
    """The first two seconds after the onset, in the band and at the rate of scalp EEG."""

    title = "electrocorticogram"
    truth: ClassVar[Truth] = "clinical label"
    folder = "ecog_pt01"
    files = ("pt01EcoG.rda",)
    notes = ("one seizure of one patient: a table without a pass mark",)

    def systems(self, folder: Path) -> list[KnownSystem]:
        """Read the seizure."""
        from cldtrans.data.zero_phase import band_pass

        recording = read_epoch(folder / self.files[0])
        data = band_pass(recording.read(0, recording.n_samples)[None], recording.rate_hz, RATE_HZ, BAND_HZ)[0]
        first = round(recording.seizures[0][0] * RATE_HZ)
        return [
            KnownSystem(
                name=recording.name,
                x=data[None, :, first : first + round(DURATION_S * RATE_HZ)].astype(float),
                sample_rate=RATE_HZ,
                tau_max_s=TAU_MAX_S,
                channels=recording.channels,
                zone=recording.zone,
                band_hz=BAND_HZ,
                few=tuple(range(len(recording.channels))),
            )
        ]
