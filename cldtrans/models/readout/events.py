"""Averages of tokens around soft events: what follows the heart's beat, a discharge or a burst, and when.

An event has no detector. Of each kind, every moment is one to a degree: the energy of the kind's band there,
averaged over channels of unit variance, squared, and no more than its 98 % quantile in the window. So one
artefact does not decide, every channel is read around the same moments, and gradients reach the bands.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cldtrans.lag import fourier
from cldtrans.models.modality import PATCH, RATE_HZ

# Edges of each kind's band before anything is learned, hertz. ECG: the QRS complex. EEG: discharges and slow
# waves; bursts of alpha, spindles and what is sharp.
BANDS_HZ = {"ecg": ((5.0, 20.0),), "eeg": ((1.0, 6.0), (8.0, 25.0))}
OFFSETS = {"ecg": (-7, 13), "eeg": (-4, 6)}  # tokens, both ends included: -280..520, -250..375 ms
NARROW = 32  # numbers that are left of a token
QUANTILE = 0.98


class Events(nn.Module):
    """Tokens averaged at fixed offsets from soft events.

    Parameters
    ----------
    width : int
        D of the latents, of which `numbers` are left.
    """

    def __init__(self, width: int):
        super().__init__()
        self.centre = nn.ParameterDict()  # log hertz, of each kind
        self.half_width = nn.ParameterDict()
        for modality, bands in BANDS_HZ.items():
            self.centre[modality] = nn.Parameter(torch.tensor([math.log((a + b) / 2) for a, b in bands]))
            self.half_width[modality] = nn.Parameter(torch.tensor([math.log((b - a) / 2) for a, b in bands]))
        self.numbers = min(NARROW, width)
        self.narrow = nn.ModuleDict()
        for modality in BANDS_HZ:
            self.narrow[modality] = nn.Linear(width, self.numbers, bias=False)
            nn.init.orthogonal_(self.narrow[modality].weight)  # type: ignore[arg-type]

    def moments(self, modality: str) -> int:
        """Return how many averages there are of a channel: kinds x offsets."""
        first, last = OFFSETS[modality]
        return len(BANDS_HZ[modality]) * (last - first + 1)

    def narrowed(self, latents: Float[Tensor, "B C L D"], modality: str) -> Float[Tensor, "B C L N"]:
        """Narrow latents to `numbers` each."""
        return self.narrow[modality](latents)

    def around(
        self, x: Float[Tensor, "B C T"], mask: Bool[Tensor, "B C"], modality: str
    ) -> Float[Tensor, "B moments L"]:
        """Find how much each token weighs in each average.

        Parameters
        ----------
        x : tensor [B, C, T]
            Standardised windows at the modality's rate.
        mask : tensor [B, C] of bool
            Valid channels; the others do not say where events are.
        modality : one of "eeg", "ecg"
            Of the windows.
        """
        return self.weights(self.energy(x, mask, modality), modality).flatten(1, 2)

    @staticmethod
    def average(
        around: Float[Tensor, "B moments L"], tokens: Float[Tensor, "B C L N"]
    ) -> Float[Tensor, "B C E"]:
        """Average what tokens hold around the events of each kind, at each offset."""
        return (around[:, None] @ tokens).flatten(2)

    def energy(
        self, x: Float[Tensor, "B C T"], mask: Bool[Tensor, "B C"], modality: str
    ) -> Float[Tensor, "B kinds L"]:
        """Say to what degree each token is an event of each kind; arguments as in `around`."""
        n_samples = x.shape[-1]
        frequency = torch.fft.rfftfreq(n_samples, 1 / RATE_HZ[modality], device=x.device, dtype=x.dtype)
        centre, half_width = self.centre[modality].exp(), self.half_width[modality].exp()
        gain = torch.exp(-(((frequency - centre[:, None]) / half_width[:, None]) ** 4))  # [kinds, F]
        filtered = fourier.irfft(fourier.rfft(x)[:, :, None] * gain, n_samples)
        share = mask.to(x.dtype) / mask.sum(1, keepdim=True).clamp_min(1)
        energy = torch.einsum("bckt,bc->bkt", filtered.square(), share)
        energy = energy.unflatten(-1, (-1, PATCH[modality])).mean(-1).square()
        return torch.minimum(energy, energy.quantile(QUANTILE, -1, keepdim=True))

    def weights(
        self, energy: Float[Tensor, "B kinds L"], modality: str
    ) -> Float[Tensor, "B kinds offsets L"]:
        """Turn degrees into weights of the tokens at each offset; their sum is 1 (0: no token lies there)."""
        first, last = OFFSETS[modality]
        weight = F.pad(energy, (last, -first)).unfold(-1, energy.shape[-1], 1).flip(2)
        return weight / weight.sum(-1, keepdim=True).clamp_min(torch.finfo(energy.dtype).tiny)

    @torch.no_grad()
    def settle(self, entries: Float[Tensor, "K D"], counts: Float[Tensor, " K"], modality: str) -> None:
        """Keep the principal directions of a modality's codebook, its entries weighted by their use.

        Entries are means of latents, so these are nearly the latents' own, found without a look at any.
        """
        share = (counts / counts.sum())[:, None].double()
        centred = entries.double() - (share * entries).sum(0)
        directions = torch.linalg.eigh(centred.T @ (share * centred))[1].flip(1).T
        sign = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
        narrow: Any = self.narrow[modality]
        narrow.weight.copy_((sign * directions)[: narrow.out_features])
