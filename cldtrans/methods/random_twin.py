"""The random twin of our model: the same network with weights that nothing taught."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from cldtrans.models import CLDTrans

FRESH = 2**31  # a twin's weights come from another seed than those of training


def fresh_weights(
    model: CLDTrans,
    windows: Iterable[tuple[np.ndarray, np.ndarray]],
    sample_rate: float,
    modality: str,
    seed: int,
) -> CLDTrans:
    """Return the network with fresh weights.

    Its codebook starts from windows without their labels, as the first step of training starts it.

    Parameters
    ----------
    model : CLDTrans
        Gives settings and place.
    windows : iterable of (array [n, C, T], array [n, C] of bool)
        Signals in microvolts or millivolts, and valid channels.
    sample_rate : float
        Hertz.
    modality : one of "eeg", "ecg"
        Of the windows.
    seed : int
        Of the weights.
    """
    place = model.fill.weight.device
    torch.manual_seed(seed + FRESH)
    twin = CLDTrans(model.config).to(place).train()
    with torch.no_grad():
        for x, mask in windows:
            twin.motifs(
                torch.from_numpy(x).to(place), sample_rate, torch.from_numpy(mask).to(place), modality
            )
        twin.update_codebooks()
        twin.settle()
    return twin.eval()
