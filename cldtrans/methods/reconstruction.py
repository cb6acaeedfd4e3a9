"""How badly a pretrained network redraws a window: what it has rarely seen, it redraws worse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from cldtrans.machine import best_device
from cldtrans.methods.random_twin import fresh_weights
from cldtrans.methods.windows import LabelledWindows, in_batches
from cldtrans.models import CLDTrans

BATCH = 16
START_WINDOWS = 128  # from which a twin's codebook starts


class ReconstructionError:
    """Reconstruction errors of windows by a checkpoint.

    Parameters
    ----------
    checkpoint : Path
        Folder that `CLDTrans.from_pretrained` loads.
    modality : one of "eeg", "ecg"
        Of the windows.
    threads : int
        torch's; part of the result's last bits.
    """

    def __init__(self, checkpoint: Path, modality: str, threads: int) -> None:
        torch.set_num_threads(threads)
        place = best_device()
        self._model = CLDTrans.from_pretrained(str(checkpoint)).to(place).eval()
        self._modality, self.device = modality, str(place)
        self.parameters = sum(p.numel() for p in self._model.parameters())

    def of(self, windows: LabelledWindows) -> np.ndarray:
        """Return the mean squared error of each window, [n], over valid channels of unit variance."""
        return _errors(self._model, windows, self._modality)

    def of_twin(self, windows: LabelledWindows, start: LabelledWindows, seed: int) -> np.ndarray:
        """Return the same by fresh weights, whose codebook starts from the windows `start`."""
        some = np.linspace(0, len(start) - 1, min(len(start), START_WINDOWS)).round().astype(int)
        shown = ((start.signals(rows), start.mask(rows)) for rows in _parts(some))
        twin = fresh_weights(self._model, shown, start.rate_hz, self._modality, seed)
        return _errors(twin, windows, self._modality)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[part] for part in in_batches(len(rows), BATCH))


@torch.inference_mode()
def _errors(model: CLDTrans, windows: LabelledWindows, modality: str) -> np.ndarray:
    place, found = model.fill.weight.device, [np.zeros(0)]
    for part in in_batches(len(windows), BATCH):
        x, mask = (torch.from_numpy(v).to(place) for v in (windows.signals(part), windows.mask(part)))
        unlooked = torch.zeros(len(x), dtype=torch.bool, device=place)  # for one source
        encoding = model.encode(x, windows.rate_hz, mask, modality, look=unlooked)
        error = (encoding.x - model.reconstruct(encoding)).square().mean(-1).double()
        weight = encoding.mask.double()
        found.append(((error * weight).sum(1) / weight.sum(1).clamp_min(1)).cpu().numpy())
    return np.concatenate(found)
