"""What adapters of published networks have in common: channels, rate, weights, a focal readout."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from cldtrans.baselines.networks import FrozenFeatures, NetworkClassifier, Recipe, resampled
from cldtrans.baselines.weights import load_counted, locate
from cldtrans.data.base import Task
from cldtrans.data.montages.montage import derivation
from cldtrans.errors import ConfigError
from cldtrans.methods.cards import Card
from cldtrans.methods.windows import Classifier, LabelledWindows, in_batches

ELECTRODES_19 = tuple(
    [
        "FP1",
        "FP2",
        "F7",
        "F3",
        "FZ",
        "F4",
        "F8",
        "T7",
        "C3",
        "CZ",
        "C4",
        "T8",
        "P7",
        "P3",
        "PZ",
        "P4",
        "P8",
        "O1",
        "O2",
    ]
)
TCP_16 = tuple(
    [
        "FP1-F7",
        "F7-T7",
        "T7-P7",
        "P7-O1",
        "FP2-F8",
        "F8-T8",
        "T8-P8",
        "P8-O2",
        "FP1-F3",
        "F3-C3",
        "C3-P3",
        "P3-O1",
        "FP2-F4",
        "F4-C4",
        "C4-P4",
        "P4-O2",
    ]
)
"""The bipolar channels of the TUH montage in the order in which BIOT and its followers count them."""
_BATCH = 8


class Network(nn.Module):
    """A library's network with the words that its forward needs beside the windows."""

    def __init__(self, inner: nn.Module, **words: Any) -> None:
        super().__init__()
        self.inner, self._words = inner, words

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [B, K] of inputs [B, C, T]."""
        found = self.inner(x, **self._words)
        return found if found.dim() == 2 else found.flatten(1)


class Adapter(NetworkClassifier):
    """The `classifier` factory of a published network.

    Parameters
    ----------
    task, channels, sample_rate, modality, seed, threads
        As every classifier gets them.
    weights : str, optional
        Path of a checkpoint, or a hub id that was downloaded before; None: from scratch.
    mode : one of "finetune", "probe"
        Whether all weights learn, or a linear probe on frozen ones does.
    saw_test_data : mapping, optional
        "yes" or "no" by dataset, for the given checkpoint; "unknown" where it says nothing.
    **recipe
        As in `Recipe`.

    Raises
    ------
    ConfigError
        For recordings that the network is not made for, or a probe without weights.
    """

    head = "inner.final_layer"
    card: ClassVar[Card]
    rate_hz: ClassVar[float]
    """Sampling rate of the original, hertz."""
    picked: ClassVar[Sequence[str]] = ()
    """Channels that the network takes by name; none: it takes any."""
    patch: ClassVar[int] = 1
    """Samples of a patch: windows are cut to whole ones."""
    has_weights: ClassVar[bool] = True
    """Whether there are checkpoints of the original."""
    reads: ClassVar[str] = "eeg"
    """Modality of the original."""

    def __init__(
        self,
        task: Task,
        channels: tuple[str, ...],
        sample_rate: float,
        modality: str,
        seed: int,
        threads: int,
        weights: str | None = None,
        mode: Literal["finetune", "probe"] = "finetune",
        saw_test_data: Mapping[str, str] | None = None,
        **recipe: Any,
    ) -> None:
        if modality != self.reads:
            wanted, given = self.reads.upper(), modality.upper()
            raise ConfigError(f"{self.card.title} reads {wanted}, not {given}; leave that dataset out")
        if mode == "probe" and weights is None:
            raise ConfigError(
                f"{self.card.title}: a probe without weights is the random twin that every row has; "
                "give weights, or mode: finetune"
            )
        self._arguments = (task, channels, sample_rate, modality, seed, threads)
        self._options: dict[str, Any] = {"mode": mode, **recipe}
        self._weights, self._mode, self._source_rate_hz = weights, mode, sample_rate
        matrix, self.names = self.montage(channels)
        self._matrix = torch.from_numpy(matrix.astype(np.float32))
        self.saw_test_data: Any = "no" if weights is None else dict(saw_test_data or {})
        self.start = "from scratch" if weights is None else f"weights {weights}"
        super().__init__(task, seed, threads, Recipe(**recipe))
        self._frozen = FrozenFeatures(self, pretrained=True) if mode == "probe" else None

    def montage(self, channels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Return how the network's channels are formed from ours, [C', C], and their names.

        Those of `picked` that are recorded; where none is, ours as they are.
        """
        try:
            return by_name(channels, self.picked, self.card.title)
        except ConfigError:
            return np.eye(len(channels)), list(channels)

    @abstractmethod
    def build(self, n_samples: int) -> Network:
        """Return the network with fresh weights, for inputs of `n_samples` at its own rate."""

    def scaled(self, x: Tensor) -> Tensor:
        """Bring microvolts [n, C', T'] to the scale of the original."""
        return x

    def rename(self, name: str) -> str | None:
        """Return the network's name of a checkpoint's tensor; None for one without a place."""
        return name

    def is_fresh(self, name: str) -> bool:
        """Tell whether a checkpoint has no tensor of that name for this network."""
        return name.startswith("final_layer.")

    def cut(self, name: str, tensor: Tensor, own: Tensor) -> Tensor:
        """Return what the network takes of a checkpoint's tensor, by its own name and tensor."""
        return tensor

    def make(self, n_samples: int) -> nn.Module:
        """Return the network with fresh weights for windows of `n_samples` at our rate."""
        return self.build(self._length(n_samples))

    def started(self, n_samples: int, member: int) -> nn.Module:
        """Return the network with the checkpoint's weights, where one is given."""
        network = super().started(n_samples, member)
        if self._weights is not None:
            inner = network.get_submodule("inner")
            own = inner.state_dict()

            def cut(name: str, tensor: Tensor) -> Tensor:
                return self.cut(name, tensor, own[name]) if name in own else tensor

            found = load_counted(inner, locate(self._weights), self.rename, self.is_fresh, cut)
            self.notes.append(
                f"{found.matched} tensors from the checkpoint, {found.fresh} fresh, {found.left} not used"
            )
        return network

    def inputs(self, windows: LabelledWindows, which: np.ndarray) -> Tensor:
        """Return what the network reads of some windows: its channels, rate, scale and whole patches."""
        return self.prepared(torch.from_numpy(windows.signals(which)))

    def prepared(self, x: Tensor) -> Tensor:
        """Bring windows [n, C, T] in microvolts to what the network reads, [n, C', T']."""
        n_samples = x.shape[-1]
        mixed = torch.einsum("ij,njt->nit", self._matrix.to(x), x)
        at_rate = resampled(mixed, round(n_samples * self.rate_hz / self._source_rate_hz))
        return self.scaled(at_rate[..., : self._length(n_samples)])

    def twin(self) -> Classifier:
        """Return the random twin: frozen where nothing or a probe is taught, else taught alike."""
        if self._weights is None or self._mode == "probe":
            return FrozenFeatures(self)
        task, channels, sample_rate, modality, seed, threads = self._arguments
        twin = type(self)(task, channels, sample_rate, modality, seed + 1, threads, **self._options)
        twin.tuning = copy.deepcopy(self.tuning)
        return twin

    @property
    def has_rate(self) -> bool:
        """Tell whether weights are learned at a rate: not where a probe reads frozen ones."""
        return self._frozen is None

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Train the network, or a probe on what it gives."""
        if self._frozen is None:
            super().fit(train, val)
        else:
            self._frozen.fit(train, val)
            self.notes += self._frozen.notes

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]."""
        return super().predict_proba(windows) if self._frozen is None else self._frozen.predict_proba(windows)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return super().parameters if self._frozen is None else self._frozen.parameters or 0

    def _length(self, n_samples: int) -> int:
        """Return the samples of a window at the network's rate, in whole patches."""
        length = round(n_samples * self.rate_hz / self._source_rate_hz) // self.patch * self.patch
        if length == 0:
            raise ConfigError(
                f"{self.card.title}: windows of {n_samples / self._source_rate_hz:g} s hold no patch of "
                f"{self.patch / self.rate_hz:g} s"
            )
        return length


class GradientLead:
    """The `readout` factory: how much of what reaches the head each channel carries, gradient times input.

    Of h, what reaches the head, the score of channel c is sum over time of |x_c dq/dx_c| with q = |h|^2 / 2
    (Shrikumar et al. 2017, ICML, for the product). It needs no seizure head, and it says which channels a
    network looks at, which is not who leads: chance stands beside it.

    Parameters
    ----------
    network : str
        Adapter, as `module:class`.
    weights : str, optional
        As in `Adapter`; None: fresh weights.
    seed : int
        Of fresh weights.
    saw_test_data : mapping, optional
        As in `Adapter`.
    """

    reads_channels = True
    trainable_parameters = 0  # nothing learns here

    def __init__(
        self,
        network: str,
        weights: str | None = None,
        seed: int = 0,
        saw_test_data: Mapping[str, str] | None = None,
    ) -> None:
        from cldtrans.methods.factories import build

        self._network, self._weights, self._seed, self._build = network, weights, seed, build
        self._made: dict[tuple[tuple[str, ...], float, int], tuple[Adapter, nn.Module]] = {}
        self.parameters: int | None = None
        self.saw_test_data: Any = "no" if weights is None else dict(saw_test_data or {})
        self.start = "from scratch" if weights is None else f"weights {weights}"
        self.notes = [f"{network.partition(':')[2]}: {weights or 'fresh weights'}"]

    def __call__(
        self, x: np.ndarray, mask: np.ndarray, sample_rate: float, channels: tuple[str, ...] = ()
    ) -> np.ndarray:
        """Score the channels of windows x [n, C, T] in microvolts: [n, C], -inf where the mask is False."""
        adapter, network = self._ready(channels, sample_rate, x.shape[-1])
        scores = np.full(mask.shape, -np.inf)
        for part in in_batches(len(x), _BATCH):
            given = torch.from_numpy(np.where(mask[part][..., None], x[part], 0).astype(np.float32))
            given.requires_grad_()
            found: list[Tensor] = []
            hook = network.get_submodule(adapter.head).register_forward_pre_hook(
                lambda module, arguments, found=found: found.append(arguments[0])
            )
            try:
                network(adapter.prepared(given).to(adapter.device))
            finally:
                hook.remove()
            (gradient,) = torch.autograd.grad(found[0].square().sum() / 2, given)
            scores[part] = (given * gradient).abs().sum(-1).detach().double().numpy()
        return np.where(mask, scores, -np.inf)

    def _ready(
        self, channels: tuple[str, ...], sample_rate: float, n_samples: int
    ) -> tuple[Adapter, nn.Module]:
        key = (channels, sample_rate, n_samples)
        if key not in self._made:
            task = Task("seizure", "binary", ("no", "yes"))
            adapter = self._build(
                self._network, task, channels, sample_rate, "eeg", self._seed, 1, weights=self._weights
            )
            network = adapter.started(n_samples, 0).eval()
            self.parameters = sum(p.numel() for p in network.parameters())
            self._made[key] = adapter, network
        return self._made[key]


def by_name(channels: Sequence[str], wanted: Sequence[str], title: str) -> tuple[np.ndarray, list[str]]:
    """Return how to pick the wanted channels that there are, in their order, [C', C], and their names.

    Raises
    ------
    ConfigError
        Where there is none.
    """
    ours = {_plain(name): place for place, name in enumerate(channels)}
    found = [name for name in wanted if _plain(name) in ours]
    if not found:
        raise ConfigError(f"{title}: none of its channels ({', '.join(wanted[:4])}, ...) is recorded here")
    matrix = np.zeros((len(found), len(channels)))
    matrix[np.arange(len(found)), [ours[_plain(name)] for name in found]] = 1
    return matrix, found


def by_place(channels: Sequence[str], order: Sequence[str], title: str) -> tuple[np.ndarray, list[str]]:
    """Return which channels have a place among those that a network knows, [C', C], and the places' names.

    A channel is looked up by its name, then, if bipolar, by its first electrode.

    Raises
    ------
    ConfigError
        Where none has one.
    """
    known = {name.upper(): name for name in order}
    places, names = [], []
    for place, channel in enumerate(channels):
        pair = derivation(channel)
        candidates = [] if pair is None else ["-".join(filter(None, pair)), pair[0]]
        found = next((known[name] for name in candidates if name in known), None)
        if found is not None:
            places.append(place)
            names.append(found)
    if not names:
        raise ConfigError(f"{title} has no place for any of {', '.join(channels[:4])}")
    return np.eye(len(channels))[places], names


def by_electrode(channels: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return how to fill the places of electrodes, [C', C]: the mean of what is recorded at each.

    A bipolar channel counts as its first electrode's; a place without any stays zero.
    """
    matrix = np.zeros((len(wanted), len(channels)))
    for place, name in enumerate(channels):
        at = derivation(name)
        if at is not None and at[0] in wanted:
            matrix[wanted.index(at[0]), place] = 1
    return matrix / np.maximum(matrix.sum(1, keepdims=True), 1)


def _plain(name: str) -> str:
    pair = derivation(name)
    return name.upper() if pair is None else "-".join(filter(None, pair))
