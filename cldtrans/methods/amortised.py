"""A pretrained model as an estimator of lags and edges of a system, window by window."""

from __future__ import annotations

import numpy as np

from cldtrans.methods.estimators import LagEstimate, NoEstimate

RATE_HZ = 160.0
WINDOW = 1600
"""Samples of the windows that the model was trained on."""


class Amortised:
    """The `estimator` factory.

    The model knows EEG at 160 samples a second. Whatever the rate of a recording is, its samples are read as
    if they were such, and lags are scaled back.

    Parameters
    ----------
    checkpoint : str or None
        Folder that `CLDTrans.from_pretrained` loads; None: none, which the cell says.
    """

    def __init__(self, checkpoint: str | None = None) -> None:
        self.checkpoint = checkpoint

    def __call__(self, x: np.ndarray, sample_rate: float, tau_max_s: float, seed: int = 0) -> LagEstimate:
        """Average lags and edges over the windows of x [N, C, T]."""
        if self.checkpoint is None:
            raise NoEstimate("no checkpoint supplied (methods.amortised.settings.checkpoint is null)")
        from cldtrans.models import CLDTrans

        model = CLDTrans.from_pretrained(self.checkpoint).eval()
        length = min(WINDOW, x.shape[2])
        count = x.shape[2] // length
        windows = x[..., : count * length].reshape(*x.shape[:2], count, length).swapaxes(1, 2)
        windows = windows.reshape(-1, x.shape[1], length)
        scale = windows.std(axis=(0, 2), keepdims=True)
        windows = (windows / np.where(scale > 0, scale, 1.0)).astype(np.float32)
        tau, edge = np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1],) * 2)
        for window in windows:
            out = model.read(window[None], RATE_HZ, np.ones((1, x.shape[1]), bool), "eeg")
            probability = np.asarray(out.edge_probability[0], dtype=float)
            tau += np.asarray(out.tau[0], dtype=float) * probability
            edge += probability
        tau = np.where(edge > 0, tau / np.maximum(edge, 1e-12), np.nan) * RATE_HZ / sample_rate
        edge /= len(windows)
        np.fill_diagonal(edge, 0.0)
        support = edge > 0.5
        return LagEstimate(np.where(support, tau, np.nan), support, None, score=edge)
