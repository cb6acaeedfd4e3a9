"""EEG-GCNN: graph convolutions over channels, whose features are band powers (its shallow form).

Wagh & Varatharajah 2020, ML4H, PMLR 136:367, arXiv 2011.12107; written from the paper, because the authors'
code has no licence. A node is a channel, with its power in six bands; every pair of nodes has an edge, whose
weight is the distance of the two on the head, scaled to 0..1, plus their coherence. Two graph convolutions
of 64 and 128, each with batch norm and a leaky ReLU, the mean over nodes, a linear layer. The paper has
eight bipolar channels; here a node is any channel that is recorded, and a bipolar one lies midway between
its electrodes, as there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cldtrans.baselines.networks import NetworkClassifier, Recipe
from cldtrans.data.montages.places import places
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

BANDS_HZ = ((1.0, 4.0), (4.0, 7.5), (7.5, 13.0), (13.0, 16.0), (16.0, 30.0), (30.0, 40.0))
SEGMENT_S = 2.0
WIDTHS = (64, 128)


class GraphNetwork(nn.Module):
    """Two graph convolutions, [B, C, 6 + C] of features and coherences -> logits [B, K].

    Parameters
    ----------
    distance : Tensor [C, C]
        Between channels, 0..1.
    n_outputs : int
        K.
    """

    distance: Tensor

    def __init__(self, distance: Tensor, n_outputs: int) -> None:
        super().__init__()
        n_channels, n_bands = len(distance), len(BANDS_HZ)
        self.register_buffer("distance", distance)
        # What training windows tell of each feature's mean and spread; nothing is learned.
        self.scaler = nn.BatchNorm1d(n_channels * n_bands, affine=False)
        widths = (n_bands, *WIDTHS)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in WIDTHS)
        self.head = nn.Linear(WIDTHS[-1], n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [B, K]."""
        nodes, coherence = x.split([len(BANDS_HZ), x.shape[1]], dim=-1)
        nodes = self.scaler(nodes.flatten(1)).view_as(nodes)
        weight = self.distance + coherence
        for layer, norm in zip(self.layers, self.norms, strict=True):
            mixed = layer(weight @ nodes)
            nodes = nn.functional.leaky_relu(norm(mixed.transpose(1, 2)).transpose(1, 2))
        return self.head(nodes.mean(1))


class EegGcnn(NetworkClassifier):
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    **recipe
        As in `Recipe`.

    Raises
    ------
    ConfigError
        For recordings other than EEG, or channels whose place is not known.
    """

    card = Card(
        title="EEG-GCNN",
        source="Wagh & Varatharajah 2020, ML4H, PMLR 136:367, arXiv 2011.12107",
        licence="MIT (ours, from the paper); the authors' code has none",
        reproduced="features, graph and layers of the shallow form; 9 410 parameters for two classes",
        differs="nodes are the channels recorded, not its eight; published on another task, "
        "patients' normal EEGs against healthy ones (AUC 0.871)",
    )

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        **recipe: Any,
    ) -> None:
        if modality != "eeg":
            raise ConfigError(f"EEG-GCNN reads EEG, not {modality}; leave that dataset out")
        self._distance = distances(channels)
        self._rate_hz = sample_rate
        super().__init__(task, seed, threads, Recipe(**recipe))

    def make(self, n_samples: int) -> nn.Module:
        """Return the network with fresh weights; any length of a segment or more will do."""
        return GraphNetwork(torch.from_numpy(self._distance), len(self.classes))

    def inputs(self, windows: LabelledWindows, which: np.ndarray) -> Tensor:
        """Return band powers and coherences, [n, C, 6 + C]; of masked channels, zeros."""
        return graph_features(torch.from_numpy(windows.signals(which)).to(self._device), self._rate_hz)


def distances(channels: tuple[str, ...]) -> np.ndarray:
    """Return the distances of channels along the head, float32 [C, C], the smallest 0 and the largest 1.

    Raises
    ------
    ConfigError
        For a channel whose place is not known.
    """
    place = places(channels, "eeg")
    unknown = [name for name, at in zip(channels, place, strict=True) if not np.isfinite(at).all()]
    if unknown:
        raise ConfigError(f"EEG-GCNN: the place of {', '.join(unknown)} is not known; leave that dataset out")
    angle = np.arccos(np.clip(place @ place.T, -1, 1))
    np.fill_diagonal(angle, 0.0)
    return (angle / max(angle.max(), 1e-9)).astype(np.float32)


def graph_features(x: Tensor, sample_rate: float) -> Tensor:
    """Compute what the graph is made of, by Welch's method.

    Parameters
    ----------
    x : Tensor [B, C, T]
        Windows in microvolts.
    sample_rate : float
        Hertz.

    Returns
    -------
    Tensor [B, C, 6 + C]
        Mean power density in each band, then the coherence with each channel, the mean over 1-40 Hz.
    """
    length = min(round(SEGMENT_S * sample_rate), x.shape[-1])
    taper = torch.hann_window(length, device=x.device)
    segments = x.unfold(-1, length, max(length // 2, 1))
    spectrum = torch.fft.rfft((segments - segments.mean(-1, keepdim=True)) * taper)  # [B, C, S, F]
    frequency = torch.fft.rfftfreq(length, 1 / sample_rate, device=x.device)
    power = spectrum.abs().square().mean(2)
    density = 2 * power / (sample_rate * taper.square().sum())
    bands = [density[..., (frequency >= low) & (frequency < high)].mean(-1) for low, high in BANDS_HZ]
    used = (frequency >= BANDS_HZ[0][0]) & (frequency < BANDS_HZ[-1][1])
    part = spectrum[..., used]
    cross = torch.einsum("bisf,bjsf->bijf", part, part.conj()).abs().square() / part.shape[2] ** 2
    own = power[..., used]
    coherence = (cross / (own[:, :, None] * own[:, None]).clamp_min(1e-30)).mean(-1)
    return torch.cat([torch.stack(bands, -1), coherence], dim=-1)
