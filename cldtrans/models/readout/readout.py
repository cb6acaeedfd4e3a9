"""The pooled vector of a window: blocks that a head or a probe standardises and weighs one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cldtrans.data.montages.places import places
from cldtrans.models.readout.across import MOMENTS, across_channels
from cldtrans.models.readout.covariance import (
    covariance_width,
    eigenvalue_width,
    log_covariance,
    log_eigenvalues,
)
from cldtrans.models.readout.events import Events
from cldtrans.models.readout.histogram import code_histogram

SHARES = {
    "ecg": {"events": 1.0, "codes": 1.0, "covariance": 0.3, "eigenvalues": 0.1},
    "eeg": {"events": 0.1, "codes": 0.1, "covariance": 1.0, "eigenvalues": 0.1},
}
"""Variance of each block beside the others' before a probe chooses: benchmarks/ptbxl_probe.py."""

Positions = Sequence[str] | Tensor


class Readout(nn.Module):
    """Pools a window; the same for any order of the channels, of one length for any number of them.

    Parameters
    ----------
    width : int
        D of the latents.
    codes : int
        Entries of the codebook; 0: there is none, nor its block.
    """

    def __init__(self, width: int, codes: int):
        super().__init__()
        self.codes = codes
        self.events = Events(width)

    def blocks(self, modality: str) -> dict[str, int]:
        """Return the width of each block, in the order in which they stand in the vector."""
        widths = {
            "events": MOMENTS * self.events.width(modality),
            "codes": MOMENTS * self.codes,
            "covariance": covariance_width(modality),
            "eigenvalues": eigenvalue_width(modality),
        }
        return {name: width for name, width in widths.items() if width}

    def forward(
        self,
        x: Float[Tensor, "B C T"],
        scale: Float[Tensor, "B C"],
        mask: Bool[Tensor, "B C"],
        latents: Float[Tensor, "B C L D"],
        index: Int[Tensor, "B C L"],
        positions: Float[Tensor, "B C 3"] | None,
        modality: str,
    ) -> Float[Tensor, "B F"]:
        """Pool windows.

        Parameters
        ----------
        x : tensor [B, C, T]
            Standardised windows at the modality's rate.
        scale : tensor [B, C]
            The deviation that each channel had, microvolts (EEG) or millivolts (ECG).
        mask : tensor [B, C] of bool
            Valid channels.
        latents : tensor [B, C, L, D]
            Before the codebook.
        index : tensor [B, C, L] of int
            Codes of the tokens.
        positions : tensor [B, C, 3] or None
            NaN: unknown; None: all are.
        modality : one of "eeg", "ecg"
            Of the windows.
        """
        with torch.autocast(x.device.type, enabled=False):
            parts = [across_channels(self.events(x, mask, latents, modality), mask)]
            if self.codes:
                parts.append(across_channels(code_histogram(index, self.codes), mask).to(x.dtype))
            with torch.no_grad():  # nothing is learned here, and equal eigenvalues have no gradient
                signal = x * scale[..., None]
                if positions is None:
                    parts.append(x.new_zeros(len(x), covariance_width(modality)))
                else:
                    parts.append(log_covariance(signal, mask, positions, modality))
                parts.append(log_eigenvalues(signal, mask, modality))
            return torch.cat(parts, -1)


def placed(positions: Positions | None, x: Tensor, modality: str) -> Float[Tensor, "B C 3"] | None:
    """Return the place of each channel of windows x [B, C, T], from names or as given.

    Raises
    ------
    ValueError
        Where there are not as many places as channels.
    """
    if positions is None:
        return None
    n_windows, n_channels = x.shape[:2]
    if not isinstance(positions, Tensor):
        positions = torch.from_numpy(places(positions, modality))
    if positions.shape not in ((n_channels, 3), (n_windows, n_channels, 3)):
        raise ValueError(
            f"positions are of shape {tuple(positions.shape)}; expected the names of {n_channels} channels, "
            f"or [{n_channels}, 3] or [{n_windows}, {n_channels}, 3]"
        )
    return positions.to(x.device, torch.promote_types(x.dtype, torch.float32)).expand(n_windows, -1, -1)
