"""The single-source model as a focal-lead readout of its own, without a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cldtrans.methods.windows import of_equal_count

_BATCH = 8


class SingleSource:
    """The `readout` factory: log posterior of the first channel, as `cldtrans.lag.focal_lead` finds it.

    All windows of a seizure are read together.
    """

    reads_background = True
    reads_seizures = True

    def __call__(
        self,
        x: np.ndarray,
        mask: np.ndarray,
        sample_rate: float,
        background: Sequence[np.ndarray] | None = None,
    ) -> np.ndarray:
        """Score the channels of discharges.

        Parameters
        ----------
        x : array [n, C, T] or [n, N, C, T]
            Windows of n discharges, N of each that share delays and gains.
        mask : array [n, C] of bool
            Valid channels.
        sample_rate : float
            Hertz.
        background : sequence of n arrays [K, C, T], optional
            Of each discharge, windows without it, in the unit of x; K may differ, and be 0. Default: the
            start of each window.

        Returns
        -------
        array [n, C]
            Higher leads; -inf where the mask is False.
        """
        import torch

        from cldtrans.lag.single_source.focal import log_lead

        x = x[:, None] if x.ndim == 3 else x
        scores = np.full(mask.shape, -np.inf)
        for rows in of_equal_count(background, len(x), _BATCH):
            quiet = None
            if background is not None and len(background[rows[0]]):
                quiet = torch.from_numpy(np.stack([background[k] for k in rows])).float()
            with torch.no_grad():
                found = log_lead(
                    torch.from_numpy(x[rows]).float(), sample_rate, quiet, torch.from_numpy(mask[rows])
                )
            scores[rows] = found.double().numpy()
        return np.where(mask, scores, -np.inf)
