"""Second order across channels, in physical units: log covariances at fixed places, and log eigenvalues.

ECG: covariance of the signals and of copies of them delayed by up to 200 ms. EEG: one covariance a band. The
logarithm of the matrix makes powers, ratios and coupling additive, so that a linear probe can use them; a
change of unit adds a constant.

Where the places of channels are known, *virtual channels* at fixed anchors are means of the channels weighted
by nearness: whatever the montage, the same numbers mean the same. Where they are not, that block is zero and
the eigenvalues, which need no places, are what is left.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cldtrans.data.montages.places import places
from cldtrans.lag import fourier
from cldtrans.models.modality import RATE_HZ

DELAYS_S = (0.0, 0.02, 0.05, 0.1, 0.2)  # ECG
BANDS_HZ = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0))  # EEG
ANCHORS = {
    "ecg": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
    "eeg": (
        *("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "FC5", "FC1", "FC2", "FC6"),
        *("T7", "C3", "C1", "Cz", "C2", "C4", "T8", "CP5", "CP1", "CP2", "CP6"),
        *("P7", "P3", "Pz", "P4", "P8", "PO3", "PO4", "O1", "Oz", "O2"),
    ),
}
SHARPNESS = 60.0  # of nearness, exp(SHARPNESS cos angle): 1/e at 10 degrees
EIGENVALUES = {"ecg": 20, "eeg": 8}  # the largest, of each matrix
FLOOR = {"ecg": 1e-4, "eeg": 1e-3}  # of eigenvalues: so much of the mean variance is added
LEAST = 1e-12  # of a variance, in squared millivolts or microvolts: of a window without any signal


def log_covariance(
    x: Float[Tensor, "B C T"],
    mask: Bool[Tensor, "B C"],
    positions: Float[Tensor, "B C 3"],
    modality: str,
) -> Float[Tensor, "B V"]:
    """Compute the log covariances of virtual channels.

    Parameters
    ----------
    x : tensor [B, C, T]
        Windows in millivolts (ECG) or microvolts (EEG) at the modality's rate, each channel of mean zero.
    mask : tensor [B, C] of bool
        Valid channels.
    positions : tensor [B, C, 3]
        As `places` gives them; NaN: unknown, the channel is left out.
    modality : one of "eeg", "ecg"
        Of the windows.

    Returns
    -------
    tensor [B, V]
        The upper triangle of each matrix, what is off the diagonal times sqrt 2, so that distances between
        windows are those of the matrices; zeros where no place is known.
    """
    known = mask & positions.isfinite().all(-1)
    # Nearness to unit vectors; a channel whose place is not known is infinitely far.
    direction = F.normalize(positions.nan_to_num().to(x.dtype), dim=-1)
    cosine = _anchors(modality).to(x) @ direction.mT  # [B, anchors, C]
    near = torch.softmax((SHARPNESS * cosine).masked_fill(~known[:, None], -torch.inf), -1).nan_to_num()
    matrices = _covariances(near @ x, modality)  # [B, m, n, n]
    floor = _floor(matrices, matrices.shape[-1], modality)
    values, vectors = torch.linalg.eigh(matrices)
    logs = torch.log(values.clamp_min(0) + floor[..., None])
    logarithm = (vectors * logs[..., None, :]) @ vectors.mT
    row, column = torch.triu_indices(*logarithm.shape[-2:], device=x.device)
    triangle = logarithm[..., row, column] * torch.where(row == column, 1.0, 2**0.5)
    return torch.where(known.any(1)[:, None], triangle.flatten(1), 0.0).to(x.dtype)


def log_eigenvalues(
    x: Float[Tensor, "B C T"], mask: Bool[Tensor, "B C"], modality: str
) -> Float[Tensor, "B Q"]:
    """Compute the log eigenvalues of the channels' covariances, largest first; needs no places.

    Arguments as in `log_covariance`. Where there are fewer than `EIGENVALUES`, the floor stands for the rest.
    """
    matrices = _covariances(torch.where(mask[..., None], x, 0.0), modality)
    copies = matrices.shape[-1] // x.shape[1]
    floor = _floor(matrices, copies * mask.sum(1).clamp_min(1)[:, None], modality)
    wanted = EIGENVALUES[modality]
    values = torch.linalg.eigvalsh(matrices).flip(-1)[..., :wanted].clamp_min(0)
    values = F.pad(values, (0, wanted - values.shape[-1]))
    return torch.log(values + floor[..., None]).flatten(1).to(x.dtype)


def covariance_width(modality: str) -> int:
    """Return V of `log_covariance`."""
    n, copies = len(ANCHORS[modality]), len(DELAYS_S) if modality == "ecg" else 1
    return _matrices(modality) * (n * copies * (n * copies + 1) // 2)


def eigenvalue_width(modality: str) -> int:
    """Return Q of `log_eigenvalues`."""
    return _matrices(modality) * EIGENVALUES[modality]


def _matrices(modality: str) -> int:
    return 1 if modality == "ecg" else len(BANDS_HZ)


@lru_cache(2)
def _anchors(modality: str) -> Tensor:
    return torch.from_numpy(places(ANCHORS[modality], modality))


def _covariances(x: Tensor, modality: str) -> Tensor:
    """Covariances [B, m, n, n] in double precision; of delayed copies (m = 1, n = 5 C) or bands (m = 4)."""
    n_samples = x.shape[-1]
    if modality == "ecg":
        delays = [min(round(s * RATE_HZ[modality]), n_samples - 1) for s in DELAYS_S]
        past = max(delays)
        copies = torch.cat([x[..., past - k : n_samples - k] for k in delays], 1)
        copies = copies - copies.mean(-1, keepdim=True)
        return (copies @ copies.mT / copies.shape[-1]).double()[:, None]
    spectrum = torch.view_as_real(fourier.rfft(x))
    bins_hz = RATE_HZ[modality] / n_samples
    found = []
    for low, high in BANDS_HZ:
        band = spectrum[:, :, math.ceil(low / bins_hz) : math.ceil(high / bins_hz)].flatten(2)
        found.append(band @ band.mT * (2 / n_samples**2))
    return torch.stack(found, 1).double()


def _floor(matrices: Tensor, n: Tensor | int, modality: str) -> Tensor:
    """Return what is added to eigenvalues [B, m]: a share of the mean variance of n channels."""
    return FLOOR[modality] * matrices.diagonal(dim1=-2, dim2=-1).sum(-1) / n + LEAST
