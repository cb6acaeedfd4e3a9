"""Random convolution kernels and ridge regression, after MiniRocket.

Dempster et al. 2021, KDD, doi 10.1145/3447548.3467231. Kernels of nine taps, six of them -1 and three 2: all
84 of that kind; dilations spread evenly over octaves up to the window's length, at most 32; every second
kernel pads. A feature is the share of samples at which a kernel's response is above a bias, and biases are
quantiles of the response to a random training window. With several channels each kernel and dilation sums a
random subset of them, as the authors do. Ridge regression reads the features.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cldtrans.baselines.networks import resampled
from cldtrans.machine import best_device
from cldtrans.methods.cards import Card
from cldtrans.methods.ridge import RidgeScores
from cldtrans.methods.windows import LabelledWindows, in_batches

TAPS = 9
KERNELS = np.array(
    [[2.0 if k in twos else -1.0 for k in range(TAPS)] for twos in combinations(range(TAPS), 3)]
)
MOST_DILATIONS = 32
MOST_CHANNELS = 9
_GOLDEN = (np.sqrt(5) + 1) / 2
_BATCH = 32


class RandomKernels:
    """The `classifier` factory of the config.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    features : int
        At most so many (9 996 in the paper).
    max_rate_hz : float
        Windows sampled faster are resampled to this rate.
    most_windows : int
        Training windows that the regression looks at, a random part where there are more: it holds all of
        their features.
    """

    card = Card(
        title="Random kernels + ridge",
        source="Dempster, Schmidt & Webb 2021, KDD (MiniRocket), doi 10.1145/3447548.3467231",
        licence="MIT (ours, from the paper); the authors' is GPL-3",
        reproduced="kernels, dilations, biases, padding, channels at random",
        differs="ridge penalty by the task's metric on validation instead of leave-one-out",
    )

    def __init__(
        self,
        task: Any,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        features: int = 9996,
        max_rate_hz: float = 250.0,
        most_windows: int = 20_000,
    ) -> None:
        self._ridge = RidgeScores(task.kind, task.classes)
        self._seed, self._features, self._most = seed, features, most_windows
        self._reduction = min(1.0, max_rate_hz / sample_rate)
        self._device = best_device()
        self.device = str(self._device)
        torch.set_num_threads(threads)

    @property
    def parameters(self) -> int | None:
        """Number of fitted parameters; None before the fit."""
        return self._ridge.parameters

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit."""
        return self._ridge.notes

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Draw biases from training windows, fit the ridge; validation windows choose its penalty."""
        rng = np.random.default_rng(self._seed)
        some = np.sort(rng.permutation(len(train))[: self._most])
        examples = self._signals(train, rng.integers(len(train), size=MOST_DILATIONS))
        self._transform = Transform(examples, self._features, rng)
        x = self.features(train, some)
        self._ridge.fit(x, train.y[some], self.features(val, np.arange(len(val))), val.y)

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict scores [n, K]."""
        return self._ridge.predict_proba(self.features(windows, np.arange(len(windows))))

    def features(self, windows: LabelledWindows, which: np.ndarray) -> np.ndarray:
        """Return the features float32 [n, F] of some windows."""
        parts = [np.zeros((0, self._transform.n_features), dtype=np.float32)]
        for part in in_batches(len(which), _BATCH):
            parts.append(self._transform(self._signals(windows, which[part])).cpu().numpy())
        return np.concatenate(parts)

    def _signals(self, windows: LabelledWindows, which: np.ndarray) -> Tensor:
        x = torch.from_numpy(windows.x(which)).to(self._device)
        return resampled(x, round(x.shape[-1] * self._reduction))


class Transform:
    """The features of windows, x [B, C, T] -> [B, n_features].

    Parameters
    ----------
    examples : Tensor [n, C, T]
        Windows from whose responses the biases are drawn.
    features : int
        At most so many; at least one a kernel.
    rng : Generator
        Of channels and biases.
    """

    def __init__(self, examples: Tensor, features: int, rng: np.random.Generator) -> None:
        n_channels, n_samples = examples.shape[1:]
        each = max(1, features // len(KERNELS))
        exponents = np.linspace(0, np.log2(max((n_samples - 1) / (TAPS - 1), 1)), min(each, MOST_DILATIONS))
        self.dilations, counts = np.unique((2**exponents).astype(int), return_counts=True)
        shares = np.maximum(1, counts * (each // counts.sum()))
        shares[0] += max(0, each - shares.sum())
        self.n_features = int(shares.sum()) * len(KERNELS)
        most = np.log2(min(n_channels, MOST_CHANNELS) + 1)
        fraction = (np.arange(1, self.n_features + 1) * _GOLDEN) % 1  # quantiles, evenly spread
        self._weights, self._biases, used = [], [], 0
        for place, (dilation, share) in enumerate(zip(self.dilations, shares, strict=True)):
            chosen = np.zeros((len(KERNELS), n_channels, 1), dtype=np.float32)
            for kernel in chosen:
                kernel[rng.permutation(n_channels)[: int(2 ** rng.uniform(0, most))]] = 1
            weight = torch.from_numpy((KERNELS[:, None] * chosen).astype(np.float32)).to(examples.device)
            example = examples[place % len(examples)][None]
            response = self._response(example, weight, int(dilation))[0]
            levels = fraction[used : used + share * len(KERNELS)].reshape(len(KERNELS), share)
            used += levels.size
            found = np.stack(
                [np.quantile(one, q) for one, q in zip(response.cpu().numpy(), levels, strict=True)]
            )
            self._weights.append(weight)
            self._biases.append(torch.from_numpy(found.astype(np.float32)).to(examples.device))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features [B, n_features] of windows x [B, C, T]."""
        found = []
        for place, (dilation, weight, bias) in enumerate(
            zip(self.dilations, self._weights, self._biases, strict=True)
        ):
            response = self._response(x, weight, int(dilation))
            reach = int(dilation) * (TAPS // 2)
            inner = response[..., reach : response.shape[-1] - reach]
            padded = (np.arange(len(KERNELS)) + place) % 2 == 0
            for level in bias.T:
                whole = (response > level[:, None]).float().mean(-1)
                inside = (inner > level[:, None]).float().mean(-1) if inner.shape[-1] else whole
                found.append(torch.where(torch.from_numpy(padded).to(x.device), whole, inside))
        return torch.cat(found, dim=1)

    @staticmethod
    def _response(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        """Convolve: [B, kernels, T], zeros beyond the window."""
        return torch.nn.functional.conv1d(x, weight, dilation=dilation, padding=dilation * (TAPS // 2))
