"""`CLDTransFeatures`: pooled vectors of a pretrained model as a transformer of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from cldtrans.config import load_any
from cldtrans.data.shards import ShardSet
from cldtrans.errors import DataError
from cldtrans.lag.inputs import is_mne, read_input
from cldtrans.machine import best_device, threads_of
from cldtrans.models import CLDTrans
from cldtrans.models.saved import shipped_names

SHIPPED = "standard"


class CLDTransFeatures(TransformerMixin, BaseEstimator):
    """Features of windows, for any classifier behind it; nothing is learned from X.

    Parameters
    ----------
    model : CLDTrans, path or hub name, optional
        A pretrained model. Default: the one that comes with the package; where none does, the paper's network
        with random weights, and a warning: a comparison, not a model.
    sample_rate : float, optional
        Hertz; mne's objects and shards know it.
    modality : one of "eeg", "ecg", optional
        Default: that of the shards, of an mne object's channels, else "eeg".
    channels : sequence of str, optional
        Names of electrodes or leads, for the features that know places; mne's objects and shards know them.
    batch_size : int
        Windows at once.
    threads : int
        Of the numerical libraries, on a CPU: beside other work, more are slower.

    Attributes
    ----------
    model_ : CLDTrans
        The network.
    modality_ : str
        "eeg" or "ecg".
    n_features_in_ : int
        Number of channels of the windows that it was fitted to; others may have another.
    """

    def __init__(
        self,
        model: CLDTrans | str | Path | None = None,
        *,
        sample_rate: float | None = None,
        modality: Literal["eeg", "ecg"] | None = None,
        channels: Sequence[str] | None = None,
        batch_size: int = 16,
        threads: int = 1,
    ) -> None:
        self.model = model
        self.sample_rate = sample_rate
        self.modality = modality
        self.channels = channels
        self.batch_size = batch_size
        self.threads = threads

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the model; X tells the modality, where nobody has said it."""
        batches = self._open(X)
        self.model_ = _model(self.model)
        self.modality_, self.n_features_in_ = batches.modality, batches.n_channels
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of windows.

        Parameters
        ----------
        X : array or tensor [n, C, T], mne.BaseEpochs, mne.io.BaseRaw or ShardSet
            Microvolts (EEG) or millivolts (ECG); volts in mne's objects, as everywhere in mne. A recording
            without bad stretches is one window.

        Returns
        -------
        array [n, F] of float32
            `CLDTrans.blocks` names its parts.

        Raises
        ------
        ValueError
            For another shape, values that are not finite, an array without a sampling rate.
        """
        if not hasattr(self, "model_"):
            self.fit(X)
        given = self._open(X)
        found = []
        with threads_of(self.threads):
            for x, mask in given.batches(self.batch_size):
                out = self.model_.read(x, given.sample_rate, mask, self.modality_, positions=given.channels)
                found.append(out.pooled.float().numpy())
        return np.concatenate(found)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return a name for each feature: its block and its number there."""
        check_is_fitted(self, "model_")
        blocks = self.model_.blocks(self.modality_).items()
        return np.array([f"{block}_{k}" for block, width in blocks for k in range(width)], dtype=object)

    def _open(self, X: Any) -> _Windows:
        try:
            return _Windows(X, self.sample_rate, self.modality, self.channels)
        except DataError as error:
            raise ValueError(str(error)) from error

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.requires_fit = False
        return tags


class _Windows:
    """Windows, wherever they are, with what the model has to know of them."""

    def __init__(
        self, X: Any, sample_rate: float | None, modality: str | None, channels: Sequence[str] | None
    ) -> None:
        self._shards = X if isinstance(X, ShardSet) else None
        if self._shards is not None:
            self.sample_rate = self._shards.rate_hz
            self.channels: list[str] | None = list(self._shards.channels)
            self.modality = modality or self._shards.modality
            self.n_channels, self._n = len(self._shards.channels), len(self._shards)
            return
        given = read_input(X, sample_rate, None if is_mne(X) else channels, "X")
        x = given.x.detach().cpu().numpy() if hasattr(given.x, "detach") else np.asarray(given.x)
        if x.ndim != 3 or x.dtype.kind not in "fiu":
            raise DataError(
                f"X has shape {x.shape} of {x.dtype}; expected numbers [windows, channels, samples]"
            )
        if not np.isfinite(x).all():
            raise DataError("X holds NaN or infinity; drop these windows or channels")
        names = given.channels
        if names is not None and len(names) != x.shape[1]:
            raise DataError(f"{len(names)} channel names for {x.shape[1]} channels")
        types = set(X.copy().pick(names).get_channel_types()) if is_mne(X) else set()
        self._x, self.sample_rate, self.channels = x.astype(np.float32), given.sample_rate, names
        self.modality = modality or ("ecg" if types == {"ecg"} else "eeg")
        self._n, self.n_channels = x.shape[:2]

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield signals [b, C, T] and masks [b, C]."""
        for first in range(0, self._n, size):
            rows = np.arange(first, min(first + size, self._n))
            if self._shards is not None:
                yield self._shards.signals(rows), self._shards.mask(rows)
            else:
                yield self._x[rows], np.ones((len(rows), self.n_channels), dtype=bool)


def _model(given: CLDTrans | str | Path | None) -> CLDTrans:
    if given is None and SHIPPED in shipped_names():
        given = SHIPPED
    if given is None:
        warnings.warn(
            "no model is named or shipped: features come from random weights; give the folder of a trained "
            "one, such as results/standard/checkpoints/stage1/cldtrans/seed-42 after `make standard`",
            stacklevel=4,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return CLDTrans(load_any([]).model).to(best_device()).eval()
    if isinstance(given, CLDTrans):
        return given.eval()
    return CLDTrans.from_pretrained(given).to(best_device()).eval()
