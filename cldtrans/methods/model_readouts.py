"""What evaluations ask of our own model: focal-lead readouts, pooled features of given windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cldtrans.machine import best_device
from cldtrans.methods.windows import in_batches, of_equal_count
from cldtrans.models import CLDTrans
from cldtrans.models.readouts import READOUT, READOUTS, focal_scores
from cldtrans.scoring.leads import aggregate

_BATCH = 16


class ModelReadouts:
    """Scores of every named readout of a checkpoint; "" is the default one.

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
        self.device = str(place)
        self._modality = modality
        self.parameters = sum(p.numel() for p in self._model.parameters())
        self.nfe: float | None = None

    reads_background = True
    reads_seizures = True

    def __call__(
        self,
        x: np.ndarray,
        mask: np.ndarray,
        sample_rate: float,
        background: Sequence[np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Score the channels of discharges.

        Parameters
        ----------
        x : array [n, C, T] or [n, N, C, T]
            Windows of n discharges in any unit, N of each. Readouts of lags and edges read each by itself,
            and ranks are averaged; `lead` reads all of them together.
        mask : array [n, C] of bool
            Valid channels.
        sample_rate : float
            Hertz.
        background : sequence of n arrays [K, C, T], optional
            Of each discharge, windows of its recording without it, in the same unit.

        Returns
        -------
        dict of arrays [n, C]
            Scores by readout, `lead` among them; -inf where the mask is False.
        """
        names = {"", "lead", *READOUTS} - {READOUT}
        scores = {name: np.full(mask.shape, -np.inf) for name in sorted(names)}
        for rows in of_equal_count(background, len(x), _BATCH if x.ndim == 3 else 1):
            quiet = None
            if background is not None and len(background[rows[0]]):
                quiet = np.stack([background[k] for k in rows])
            if x.ndim == 3:
                found = self._of_windows(x[rows], mask[rows], sample_rate, quiet)
            else:
                found = self._of_discharge(x[rows[0]], mask[rows[0]], sample_rate, quiet)
            for name, values in found.items():
                scores[name][rows] = values
        return scores

    def _of_windows(
        self, x: np.ndarray, mask: np.ndarray, sample_rate: float, background: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Score the channels of windows [n, C, T], each by itself."""
        out = self._model.read(x, sample_rate, mask, self._modality, background=background)
        self.nfe = float(out.nfe)
        valid = torch.from_numpy(mask)
        found = {
            name: focal_scores(out.tau, out.edge_probability, valid, name)
            for name in READOUTS
            if name != READOUT
        }
        found |= {"": out.focal_scores, "lead": out.lead}
        return {name: values.double().numpy() for name, values in found.items()}

    def _of_discharge(
        self, x: np.ndarray, mask: np.ndarray, sample_rate: float, background: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Score the channels of one discharge by its windows [N, C, T]: arrays [1, C]."""
        valid = np.repeat(mask[None], len(x), axis=0)
        around = None if background is None else np.repeat(background, len(x), axis=0)
        single = self._of_windows(x, valid, sample_rate, around)
        found = {name: aggregate(values, valid)[None] for name, values in single.items()}
        found["lead"] = self._model.read_lead(x[None], sample_rate, mask[None], self._modality, background)
        return found


class PooledFeatures:
    """Features as `evaluation.features` makes them, for windows outside a shard set, e.g. degraded ones."""

    def __init__(self, checkpoint: Path, modality: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = CLDTrans.from_pretrained(str(checkpoint)).to(best_device()).eval()
        self._modality = modality

    def __call__(
        self, x: np.ndarray, mask: np.ndarray, sample_rate: float, channels: Sequence[str]
    ) -> np.ndarray:
        """Return the features float32 [n, F] of windows x [n, C, T] in microvolts or millivolts."""
        pieces = []
        for part in in_batches(len(x), _BATCH):
            out = self._model.read(x[part], sample_rate, mask[part], self._modality, positions=channels)
            pieces.append(out.pooled.float().numpy())
        return np.concatenate(pieces)
