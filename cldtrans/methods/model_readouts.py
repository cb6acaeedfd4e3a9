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

    def __call__(
        self,
        x: np.ndarray,
        mask: np.ndarray,
        sample_rate: float,
        background: Sequence[np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Score the channels of windows.

        Parameters
        ----------
        x : array [n, C, T]
            Windows in any unit.
        mask : array [n, C] of bool
            Valid channels.
        sample_rate : float
            Hertz.
        background : sequence of n arrays [K, C, T], optional
            Of each window, others of its recording without a discharge, in the same unit; for `lead` alone.

        Returns
        -------
        dict of arrays [n, C]
            Scores by readout, `lead` among them; -inf where the mask is False.
        """
        others = [name for name in READOUTS if name != READOUT]
        scores = {name: np.full(mask.shape, -np.inf) for name in ("", *others, "lead")}
        for rows in of_equal_count(background, len(x), _BATCH):
            quiet, valid = None, torch.from_numpy(mask[rows])
            if background is not None and len(background[rows[0]]):
                quiet = np.stack([background[k] for k in rows])
            out = self._model.read(x[rows], sample_rate, mask[rows], self._modality, background=quiet)
            self.nfe = float(out.nfe)
            scores[""][rows] = out.focal_scores.double().numpy()
            scores["lead"][rows] = out.lead.double().numpy()
            for name in others:
                found = focal_scores(out.tau, out.edge_probability, valid, name)
                scores[name][rows] = found.double().numpy()
        return scores


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
