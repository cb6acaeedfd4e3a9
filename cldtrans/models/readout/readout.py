"""The pooled vector of a window: blocks that a head or a probe standardises and weighs one by one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cldtrans.config import ModelConfig
from cldtrans.data.montages.places import places
from cldtrans.models.readout.across import MOMENTS, across_channels
from cldtrans.models.readout.covariance import (
    covariance_width,
    eigenvalue_width,
    log_covariance,
    log_eigenvalues,
)
from cldtrans.models.readout.events import NARROW, Events
from cldtrans.models.readout.histogram import code_histogram

SHARES = {
    "ecg": {"events": 0.7, "contexts": 0.7, "codes": 0.5, "covariance": 0.75, "eigenvalues": 0.1},
    "eeg": {"events": 0.1, "contexts": 0.1, "codes": 0.1, "covariance": 1.0, "eigenvalues": 0.1},
}
"""Variance of each block beside the others' before a probe chooses: benchmarks/ptbxl_probe.py."""

Positions = Sequence[str] | Tensor


class Readout(nn.Module):
    """Pools a window; the same for any order of the channels, of one length for any number of them.

    Parameters
    ----------
    config : ModelConfig
        Settings of the network; without codebook or transformer their blocks are left out.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        absent = {"codes": not config.quantize, "contexts": config.layers == 0}
        self.names = [name for name in config.readout if not absent.get(name, False)]
        self.codes = config.codebook_size
        self.events = Events(config.width)

    def blocks(self, modality: str) -> dict[str, int]:
        """Return the width of each block, in the order in which they stand in the vector."""
        widths = {
            "events": MOMENTS * self.events.moments(modality) * self.events.numbers,
            "contexts": MOMENTS * self.events.moments(modality) * NARROW,
            "codes": MOMENTS * self.codes,
            "covariance": covariance_width(modality),
            "eigenvalues": eigenvalue_width(modality),
        }
        return {name: widths[name] for name in self.names}

    def forward(
        self,
        x: Float[Tensor, "B C T"],
        scale: Float[Tensor, "B C"],
        mask: Bool[Tensor, "B C"],
        latents: Float[Tensor, "B C L D"],
        contexts: Float[Tensor, "B C L A"] | None,
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
            Of the tokens, before the codebook.
        contexts : tensor [B, C, L, A] or None
            Of the tokens; None: there is no transformer.
        index : tensor [B, C, L] of int
            Codes of the tokens.
        positions : tensor [B, C, 3] or None
            NaN: unknown; None: all are.
        modality : one of "eeg", "ecg"
            Of the windows.
        """
        with torch.autocast(x.device.type, enabled=False):
            signal, around = x * scale[..., None], self.events.around(x, mask, modality)
            parts = []
            for name in self.names:
                if name == "events":
                    found = self.events.average(around, self.events.narrowed(latents.to(x.dtype), modality))
                elif name == "contexts":
                    assert contexts is not None
                    found = self.events.average(around, contexts.to(x.dtype))
                elif name == "codes":
                    found = code_histogram(index, self.codes).to(x.dtype)
                else:
                    parts.append(self._second_order(name, signal, mask, positions, modality))
                    continue
                parts.append(across_channels(found, mask))
            return torch.cat(parts, -1)

    @torch.no_grad()  # nothing is learned here, and equal eigenvalues have no gradient
    def _second_order(
        self, name: str, signal: Tensor, mask: Tensor, positions: Tensor | None, modality: str
    ) -> Tensor:
        if name == "eigenvalues":
            return log_eigenvalues(signal, mask, modality)
        if positions is None:
            return signal.new_zeros(len(signal), covariance_width(modality))
        return log_covariance(signal, mask, positions, modality)


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
