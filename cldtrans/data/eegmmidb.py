"""EEG Motor Movement/Imagery Dataset 1.0.0: 109 adults, 14 runs each.

Source: https://physionet.org/content/eegmmidb/1.0.0/, doi 10.13026/C28G6P, Open Data Commons Attribution 1.0.
Montage: 64 electrodes of the 10-10 system, 160 Hz, EDF+; names are padded with dots (`Fc5.`, `Iz..`).
Labels: none used, a corpus to pretrain on.
Split: by person. A few subjects (88, 92 and 100 are the ones usually reported) were recorded at another rate;
the header says so, and such files are put into quarantine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cldtrans.data.base import Dataset, Published, Signal, recording_table
from cldtrans.data.montages.montage import electrode
from cldtrans.errors import DataError, listing

if TYPE_CHECKING:
    import pandas as pd

RATE_HZ = 160.0
_ELECTRODES = """
FC5 FC3 FC1 FCz FC2 FC4 FC6 C5 C3 C1 Cz C2 C4 C6 CP5 CP3 CP1 CPz CP2 CP4 CP6 Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8
F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FT8 T7 T8 T9 T10 TP7 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz
O2 Iz
"""


class Eegmmidb(Dataset):
    """Motor movement and imagery, 64 electrodes."""

    name = "eegmmidb"
    title = "EEGMMIDB"
    slug = "eegmmidb"
    version = "1.0.0"
    doi = "10.13026/C28G6P"
    licence = "ODC-By 1.0"
    modality = "eeg"
    channels = tuple(_ELECTRODES.split())
    published = Published(
        1526, 109, 48.7, 3.4, 160.0, "landing page; 109 x 27 min x 64 channels x 160 Hz x 16 bit"
    )

    def recordings(self, root: Path) -> pd.DataFrame:
        """Return one row a run."""
        files = self.edf_files(root, "S[0-9]*/S*R*.edf")
        return recording_table(
            {
                "recording": [path.stem for path in files],
                "subject": [path.parent.name for path in files],
                "path": [path.relative_to(root).as_posix() for path in files],
            }
        )

    def read(self, root: Path, row: Any) -> Signal:
        """Read 64 electrodes against the recording's reference, in microvolts."""
        from cldtrans.data.formats.edf import read_edf

        recording = read_edf(self.locate(root, row.path))
        place: dict[str, int] = {}
        for position, label in enumerate(recording.labels):
            place.setdefault(electrode(label), position)
        found = [place.get(name.upper(), -1) for name in self.channels]
        used = [position for position in found if position >= 0]
        if not used:
            raise DataError(f"{row.path}: none of the 64 electrodes found in {listing(recording.labels)}")
        rates = {float(recording.rate_hz[position]) for position in used}
        if rates != {RATE_HZ}:
            raise DataError(
                f"{row.path}: sampling rate {', '.join(f'{rate:g}' for rate in sorted(rates))} Hz, expected "
                f"{RATE_HZ:g} Hz as in the rest of the corpus"
            )
        mask = np.array(found) >= 0
        data = recording.microvolts(used)
        if not mask.all():
            data_all = np.zeros((len(found), data.shape[1]), dtype=np.float32)
            data_all[mask] = data
            data = data_all
        return Signal(data, RATE_HZ, mask)

    def wanted(self, key: str) -> bool:
        """Return True for recordings and lists; `.event` files repeat annotations of the EDF files."""
        return not key.endswith(".event")
