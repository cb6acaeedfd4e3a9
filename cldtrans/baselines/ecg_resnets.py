"""The residual networks of the PTB-XL benchmark: xresnet1d101 and resnet1d_wang.

Strodthoff et al. 2021, IEEE J. Biomed. Health Inform. 25:1519, doi 10.1109/JBHI.2020.3022989; resnet1d_wang
is its name for the residual network of Wang et al. 2017, IJCNN. The benchmark's training: ECGs at 100 Hz, a
random crop of 2.5 s of each, AdamW with weight decay 0.01 and a peak rate of 0.01, batches of 128; in a test
the largest output over crops that overlap by half. No input scaling: the first batch norm takes any common
scale away. Parameters, counted by hand in the tests for 12 leads and 5 classes: 1 872 261 and 473 349.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cldtrans.baselines.networks import NetworkClassifier, Recipe, resampled
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import LabelledWindows

RATE_HZ = 100.0
CROP_S = 2.5
_HIDDEN = 128


def convolved(n_in: int, n_out: int, kernel: int, stride: int = 1, active: bool = True) -> nn.Sequential:
    """Return a convolution that keeps the length, but for its stride, batch norm, and ReLU where `active`."""
    layers = [nn.Conv1d(n_in, n_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm1d(n_out)]
    return nn.Sequential(*layers, *([nn.ReLU()] if active else []))


class Residual(nn.Module):
    """ReLU of a path plus its input, [B, C, T] -> [B, C', T']; the shortcut fits the shapes."""

    def __init__(self, path: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.path, self.shortcut = path, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Apply both and add."""
        return torch.relu(self.path(x) + self.shortcut(x))


def bottleneck(n_in: int, width: int, stride: int, kernel: int = 5, expansion: int = 4) -> Residual:
    """Return xresnet's block: its shortcut averages neighbours where the path strides."""
    n_out = width * expansion
    path = nn.Sequential(
        convolved(n_in, width, 1),
        convolved(width, width, kernel, stride),
        convolved(width, n_out, 1, active=False),
    )
    pool = nn.AvgPool1d(2, ceil_mode=True) if stride > 1 else nn.Identity()
    fit = convolved(n_in, n_out, 1, active=False) if n_in != n_out else nn.Identity()
    return Residual(path, nn.Sequential(pool, fit))


def basic(width: int, stride: int) -> Residual:
    """Return the block of resnet1d_wang: kernels of 5 and 3 samples, a strided shortcut."""
    path = nn.Sequential(convolved(width, width, 5, stride), convolved(width, width, 3, active=False))
    return Residual(path, convolved(width, width, 1, stride, active=False) if stride > 1 else nn.Identity())


class CroppedNetwork(nn.Module):
    """A body on crops, the benchmark's head, and the largest output over crops.

    Parameters
    ----------
    body : Module
        [n, C, T] -> [n, F, T'].
    n_features : int
        F.
    n_outputs : int
        K.
    crop : int
        Samples of a crop; shorter windows are read whole.
    """

    def __init__(self, body: nn.Module, n_features: int, n_outputs: int, crop: int) -> None:
        super().__init__()
        self.body, self.crop = body, crop
        self.hidden = nn.Sequential(
            nn.BatchNorm1d(2 * n_features),
            nn.Dropout(0.25),
            nn.Linear(2 * n_features, _HIDDEN),
            nn.ReLU(),
            nn.BatchNorm1d(_HIDDEN),
            nn.Dropout(0.5),
        )
        self.head = nn.Linear(_HIDDEN, n_outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [B, K] of windows x [B, C, T]: of one random crop in training, else of all."""
        crop = min(self.crop, x.shape[-1])
        if self.training:
            start = torch.randint(x.shape[-1] - crop + 1, (len(x), 1, 1), device=x.device)
            at = (start + torch.arange(crop, device=x.device)).expand(-1, x.shape[1], -1)
            crops = x.gather(-1, at)[:, None]
        else:
            crops = x.unfold(-1, crop, max(crop // 2, 1)).transpose(1, 2)  # [B, crops, C, crop]
        found = self.body(crops.flatten(0, 1))
        hidden = self.hidden(torch.cat([found.amax(-1), found.mean(-1)], dim=1))
        return self.head(hidden.unflatten(0, crops.shape[:2])).amax(1)


class EcgNetwork(NetworkClassifier):
    """What both networks share: rate, crops, recipe.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    **recipe
        As in `Recipe`.

    Raises
    ------
    ConfigError
        For recordings other than ECG.
    """

    card: ClassVar[Card]

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
        if modality != "ecg":
            raise ConfigError(f"{self.card.title} reads ECG, not {modality}; leave that dataset out")
        self._n_channels, self._source_rate_hz = len(channels), sample_rate
        super().__init__(task, seed, threads, Recipe(**recipe))

    @abstractmethod
    def body(self) -> tuple[nn.Module, int]:
        """Return what convolves, fresh, and its number of features."""

    def make(self, n_samples: int) -> nn.Module:
        """Return a network with fresh weights; any length will do."""
        return CroppedNetwork(*self.body(), len(self.classes), round(CROP_S * RATE_HZ))

    def inputs(self, windows: LabelledWindows, which: np.ndarray) -> Tensor:
        """Return signals [n, C, T'] at 100 Hz in their own unit: amplitudes matter in an ECG."""
        x = torch.from_numpy(windows.signals(which)).to(self._device)
        return resampled(x, round(x.shape[-1] * RATE_HZ / self._source_rate_hz))

    def pooled(self, at_head: Tensor) -> Tensor:
        """Return the mean over crops."""
        return at_head.mean(1)


_TRAINING = (
    "cosine rate instead of one cycle; early stop on validation; of exclusive classes the largest logit over "
    "crops, before the softmax"
)


class XResNet1d101(EcgNetwork):
    """The `classifier` factory of xresnet1d101; settings as in `EcgNetwork`."""

    card = Card(
        title="xresnet1d101",
        source="Strodthoff et al. 2021, IEEE J. Biomed. Health Inform. 25:1519; He et al. 2019, CVPR",
        licence="MIT (ours); the benchmark's code is GPL-3",
        reproduced="architecture, 1 872 261 parameters; crops, batch size, rate, weight decay",
        differs=_TRAINING,
        parameters=1_872_261,
        published=(("ptbxl", "macro AUROC", "0.928(05)", "Strodthoff et al. 2021, repository, table 4"),),
    )

    def body(self) -> tuple[nn.Module, int]:
        """Return a stem of three convolutions and 33 bottlenecks, whose width never grows."""
        widths = (self._n_channels, 32, 32, 64)
        layers: list[nn.Module] = [
            convolved(n_in, n_out, 5, 1 if place else 2)
            for place, (n_in, n_out) in enumerate(pairwise(widths))
        ]
        layers.append(nn.MaxPool1d(3, 2, 1))
        n_in = 64
        for stage, depth in enumerate((3, 4, 23, 3)):
            for block in range(depth):
                layers.append(bottleneck(n_in, 64, 2 if stage and not block else 1))
                n_in = 256
        return nn.Sequential(*layers), n_in


class ResNet1dWang(EcgNetwork):
    """The `classifier` factory of resnet1d_wang; settings as in `EcgNetwork`."""

    card = Card(
        title="resnet1d_wang",
        source="Strodthoff et al. 2021, IEEE J. Biomed. Health Inform. 25:1519; Wang et al. 2017, IJCNN",
        licence="MIT (ours); the benchmark's code is GPL-3",
        reproduced="architecture, 473 349 parameters; crops, batch size, rate, weight decay",
        differs=_TRAINING,
        parameters=473_349,
        published=(("ptbxl", "macro AUROC", "0.930(05)", "Strodthoff et al. 2021, repository, table 4"),),
    )

    def body(self) -> tuple[nn.Module, int]:
        """Return a stem of 7 samples and three blocks of 128 filters."""
        blocks = [basic(128, stride) for stride in (1, 2, 2)]
        return nn.Sequential(convolved(self._n_channels, 128, 7), *blocks), 128
