"""How every network among the baselines is trained: one loop, one early stop, one random twin.

A network is any module whose last layer has a name. Its random twin is what the same architecture gives
with weights that nothing taught: fresh weights stay as they are, batch norms take the statistics of training
windows, and the input of the head goes to the ridge-penalised linear probe that our own model has. Where a
network starts from pretrained weights, its twin starts from fresh ones and is treated alike.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from cldtrans.baselines.weights import load_counted
from cldtrans.data.base import SEVERAL
from cldtrans.machine import best_device
from cldtrans.methods.probes import probe_of
from cldtrans.methods.search import LOOKS, PATIENCE, quality
from cldtrans.methods.tuning import Tuning
from cldtrans.methods.windows import Classifier, LabelledWindows, in_batches
from cldtrans.models.hazards import event_probabilities, hazard_loss
from cldtrans.scoring.metrics import PRIMARY

MOST_PROBED = 20_000  # training windows that a probe on frozen features looks at
_SETTLE = 8  # batches from which the batch norms of frozen weights take their statistics
_FRESH = 2**31  # a twin's weights come from another seed than those of the network


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a network learns; the same defaults for all, the rate the middle of a search.

    Attributes
    ----------
    steps : int
        Optimiser steps of one network, at most.
    batch_size : int
        Windows a step.
    learning_rate : float
        Peak; falls to zero as a cosine.
    weight_decay : float
        Of AdamW.
    warmup_steps : int
        Steps over which the rate rises.
    validate_every : int
        Steps between looks at validation windows; 0: so many that there are `LOOKS`, as for our model.
    validate_windows : int
        At most so many of them are used.
    patience : int
        Validations without a better one before an early stop.
    """

    steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_steps: int = 0
    validate_every: int = 0
    validate_windows: int = 4096
    patience: int = PATIENCE

    @property
    def between_looks(self) -> int:
        """Steps between looks."""
        return self.validate_every or max(1, self.steps // LOOKS)


class NetworkClassifier(ABC):
    """A classifier that trains one network, or an ensemble.

    Parameters
    ----------
    task : Task
        What is predicted.
    seed : int
        Of weights and batches.
    threads : int
        torch's; part of the result's last bits.
    recipe : Recipe
        How it learns.
    ensemble : int
        Networks that differ in their initial weights, whose probabilities are averaged.
    """

    head = "head"
    """Name of the network's last layer among its modules."""
    start: str = "from scratch"
    """Where the weights come from, as a result file says it."""
    tuning: Tuning | None = None
    """How it learns; None: all weights, the whole batch at once. Whoever makes the classifier sets it."""

    def __init__(self, task: Any, seed: int, threads: int, recipe: Recipe, ensemble: int = 1) -> None:
        self.task, self.kind, self.classes = task, task.kind, task.classes
        self.seed, self.recipe, self.ensemble = seed, recipe, ensemble
        self._device = best_device()
        self.device = str(self._device)
        self.notes: list[str] = []
        torch.set_num_threads(threads)
        self._networks: list[nn.Module] = []

    @abstractmethod
    def make(self, n_samples: int) -> nn.Module:
        """Return a network with fresh weights, inputs [B, ...] to logits [B, K], for such windows."""

    @abstractmethod
    def inputs(self, windows: LabelledWindows, which: np.ndarray) -> Any:
        """Return what the network reads of some windows, on any device: a tensor, or what has a `to`."""

    def extra_inputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what the loss of some windows needs beside their labels, a row each; nothing by default."""
        return ()

    @property
    def parameters(self) -> int:
        """Number of parameters of the whole ensemble."""
        return sum(p.numel() for network in self._networks for p in network.parameters())

    @property
    def trainable_parameters(self) -> int:
        """Number of those that training moves."""
        return sum(p.numel() for network in self._networks for p in network.parameters() if p.requires_grad)

    @property
    def has_rate(self) -> bool:
        """Tell whether weights are learned at a rate."""
        return True

    def at_rate(self, factor: float) -> Self:
        """Return another, not fitted, at its learning rate times a factor."""
        other = copy.copy(self)
        other.recipe = replace(self.recipe, learning_rate=factor * self.recipe.learning_rate)
        other.notes, other._networks, other.tuning = [], [], copy.deepcopy(self.tuning)
        return other

    def twin(self) -> Classifier:
        """Return the random twin, not fitted."""
        return FrozenFeatures(self)

    def drawn(self, windows: LabelledWindows, rng: np.random.Generator) -> np.ndarray:
        """Return the order in which an epoch of training draws windows."""
        return rng.permutation(len(windows))

    def started(self, n_samples: int, member: int) -> nn.Module:
        """Return a network as training starts with it."""
        return self.fresh(1000 * self.seed + member, n_samples)

    def pooled(self, at_head: Tensor) -> Tensor:
        """Return the features [B, F] that what reaches the head stands for."""
        return at_head.flatten(1)

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Train every network; validation windows choose the step that is kept."""
        n_samples = train.x(slice(0, 1)).shape[-1]
        self._networks = [self.started(n_samples, member) for member in range(self.ensemble)]
        weights = self._class_weights(train.y)
        self._standardise(train.y)
        some = np.random.default_rng(self.seed).permutation(len(val))[: self.recipe.validate_windows]
        some.sort()
        for member, network in enumerate(self._networks):
            self._fit_one(network, train, val, some, weights, np.random.default_rng([self.seed, member]))

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K], or numbers where the task asks for these: the mean over networks."""
        everything = np.arange(len(windows))
        return np.mean([self._predict(network, windows, everything) for network in self._networks], axis=0)

    def _standardise(self, y: np.ndarray) -> None:
        """Learn the level and spread of numbers, in which units the network predicts them."""
        if self.kind == "regression":
            level, spread = np.nanmean(y, axis=0), np.nanstd(y, axis=0)
            self._level, self._spread = map(torch.as_tensor, (level, np.where(spread > 0, spread, 1.0)))

    def restored(self, path: Path, train: LabelledWindows) -> nn.Module:
        """Return the network that `save` wrote, with an output in probabilities or the labels' units.

        Parameters
        ----------
        path : Path
            Of the weights.
        train : LabelledWindows
            The windows that it was trained on.

        Returns
        -------
        Module
            Inputs, as `inputs` gives them, to what `predict_proba` returns; on the CPU, in evaluation mode.
        """
        self._standardise(train.y)
        network = self.make(train.x(slice(0, 1)).shape[-1])
        load_counted(network, path, lambda name: name, lambda name: False)
        self._networks = [network.to(self._device)]
        numbers = (self._level, self._spread) if self.kind == "regression" else None
        return Answering(network.to("cpu").eval(), self.kind, numbers).eval()

    def save(self, path: Path) -> None:
        """Write the weights of the first network, as safetensors."""
        from safetensors.torch import save_file

        weights = self._networks[0].state_dict()
        save_file({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, path)

    def fresh(self, seed: int, n_samples: int) -> nn.Module:
        """Return a network with weights of a seed."""
        torch.manual_seed(seed)
        return self.make(n_samples).to(self._device)

    def _fit_one(
        self,
        network: nn.Module,
        train: LabelledWindows,
        val: LabelledWindows,
        some: np.ndarray,
        weights: Tensor | None,
        rng: np.random.Generator,
    ) -> None:
        recipe = self.recipe
        if self.tuning is not None:
            self.tuning.prepare(network, [self.head])
        learned = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(learned, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe))
        best, kept, waited, queue = -np.inf, None, 0, np.zeros(0, dtype=int)
        size = min(recipe.batch_size, len(train))

        def loss_of(x: Tensor, y: Tensor, *more: Tensor) -> Tensor:
            return self._loss(network(x), y, weights, *more)

        for step in tqdm(range(1, recipe.steps + 1), desc=type(self).__name__, disable=None):
            if len(queue) < size:
                queue = np.concatenate([queue, self.drawn(train, rng)])
            batch, queue = np.sort(queue[:size]), queue[size:]
            network.train()
            x, y = self.inputs(train, batch), torch.as_tensor(train.y[batch])
            x, y = x.to(self._device), y.to(self._device)
            rows = (x, y, *self.extra_inputs(x))
            optimiser.zero_grad(set_to_none=True)
            if self.tuning is None:
                loss_of(*rows).backward()
            else:
                self.tuning.backward(network, loss_of, rows, step, float(schedule.get_last_lr()[0]))
            optimiser.step()
            schedule.step()
            if len(some) and (step % recipe.between_looks == 0 or step == recipe.steps):
                found = self._quality(network, val, some)
                if found is None:
                    continue
                waited += 1
                if found > best:
                    best, kept, waited = found, copy.deepcopy(network.state_dict()), 0
                if waited >= recipe.patience:
                    break
        if kept is not None:
            network.load_state_dict(kept)
        if self.tuning is not None:
            self.tuning.finish(network)
        if kept is None and not self.notes:
            self.notes.append(f"validation does not define {PRIMARY[self.kind]}: the last step is kept")

    def _loss(self, logits: Tensor, y: Tensor, weights: Tensor | None, *more: Tensor) -> Tensor:
        if self.kind == "regression":
            target = (y - self._level.to(y)) / self._spread.to(y)
            known = torch.isfinite(target)
            error = torch.where(known, logits - target.nan_to_num(), 0.0).square()
            return error.sum() / known.sum().clamp(min=1)
        if self.kind == "time_to_event":
            return hazard_loss(logits, y, self.classes)
        if self.kind == "multilabel":
            known = (y >= 0).float()
            each = F.binary_cross_entropy_with_logits(logits, y.clamp(min=0).float(), reduction="none")
            return (each * known).sum() / known.sum().clamp(min=1)
        return F.cross_entropy(logits, y.long(), weight=weights)

    def _class_weights(self, y: np.ndarray) -> Tensor | None:
        if self.kind in SEVERAL:
            return None
        count = np.bincount(y, minlength=len(self.classes))
        balanced = np.where(count > 0, len(y) / np.maximum(count, 1) / (count > 0).sum(), 0.0)
        return torch.tensor(balanced, dtype=torch.float32, device=self._device)

    def _quality(self, network: nn.Module, val: LabelledWindows, some: np.ndarray) -> float | None:
        return quality(self.kind, self.classes, val.y[some], self._predict(network, val, some))

    @torch.inference_mode()
    def _predict(self, network: nn.Module, windows: LabelledWindows, which: np.ndarray) -> np.ndarray:
        network.eval()
        pieces = [np.zeros((0, len(self.classes)))]
        for part in in_batches(len(which), 2 * self.recipe.batch_size):
            logits = network(self.inputs(windows, which[part]).to(self._device)).double()
            if self.kind == "regression":
                pieces.append((logits.cpu() * self._spread + self._level).numpy())
                continue
            pieces.append(self._probabilities(logits).cpu().numpy())
        return np.concatenate(pieces)

    def _probabilities(self, logits: Tensor) -> Tensor:
        if self.kind == "time_to_event":
            return event_probabilities(logits)
        return logits.sigmoid() if self.kind == "multilabel" else logits.softmax(dim=1)

    @torch.inference_mode()
    def features(self, network: nn.Module, windows: LabelledWindows, which: np.ndarray) -> np.ndarray:
        """Return what reaches the head of a network, float32 [n, F], of some windows."""
        network.eval()
        found: list[np.ndarray] = []

        def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            found.append(self.pooled(arguments[0]).float().cpu().numpy())

        hook = network.get_submodule(self.head).register_forward_pre_hook(note)
        try:
            for part in in_batches(len(which), 2 * self.recipe.batch_size):
                network(self.inputs(windows, which[part]).to(self._device))
        finally:
            hook.remove()
        return np.concatenate(found) if found else np.zeros((0, 1), dtype=np.float32)


class FrozenFeatures:
    """A linear probe on what reaches the head of a network whose weights stay as they are.

    Parameters
    ----------
    owner : NetworkClassifier
        Whose inputs the network reads.
    pretrained : bool
        Whether the network starts as the owner's does; else its weights are fresh, and batch norms take the
        statistics of training windows.
    """

    def __init__(self, owner: NetworkClassifier, pretrained: bool = False) -> None:
        self._owner, self._pretrained = owner, pretrained
        self._network: nn.Module | None = None
        self._probe = probe_of(owner.kind, owner.classes)

    @property
    def parameters(self) -> int | None:
        """Number of parameters of network and probe; None before the fit."""
        if self._network is None or self._probe.parameters is None:
            return None
        return sum(p.numel() for p in self._network.parameters()) + self._probe.parameters

    @property
    def trainable_parameters(self) -> int | None:
        """Number of the probe's parameters; None before the fit."""
        return self._probe.parameters

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit."""
        return self._probe.notes

    def fit(self, train: LabelledWindows, val: LabelledWindows) -> None:
        """Fit the probe; validation windows choose its penalty."""
        owner, n_samples = self._owner, train.x(slice(0, 1)).shape[-1]
        order = np.random.default_rng(owner.seed).permutation(len(train))
        if self._pretrained:
            network = owner.started(n_samples, 0)
        else:
            network = owner.fresh(owner.seed + _FRESH, n_samples)
            self._settle(network, train, order)
        self._network = network
        some, some_val = np.sort(order[:MOST_PROBED]), np.arange(len(val))[: owner.recipe.validate_windows]
        x, x_val = (
            owner.features(network, windows, rows) for windows, rows in ((train, some), (val, some_val))
        )
        self._probe.fit(x, train.y[some], x_val.reshape(len(x_val), x.shape[1]), val.y[some_val])

    def predict_proba(self, windows: LabelledWindows) -> np.ndarray:
        """Predict probabilities [n, K]."""
        if self._network is None:
            raise ValueError("predict_proba before fit")
        everything = np.arange(len(windows))
        return self._probe.predict_proba(self._owner.features(self._network, windows, everything))

    @torch.no_grad()
    def _settle(self, network: nn.Module, train: LabelledWindows, order: np.ndarray) -> None:
        norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if not norms:
            return
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        network.train()
        size = self._owner.recipe.batch_size
        for part in in_batches(min(len(order), _SETTLE * size), size):
            rows = np.sort(order[part])
            if len(rows) > 1:
                network(self._owner.inputs(train, rows).to(self._owner.device))


class Answering(nn.Module):
    """A network whose outputs are what its classifier predicts.

    Parameters
    ----------
    network : Module
        Inputs to logits.
    kind : str
        Of the task.
    numbers : (tensor [K], tensor [K]), optional
        Level and spread of a regression's numbers.
    """

    def __init__(self, network: nn.Module, kind: str, numbers: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        self.network, self.kind = network, kind
        level, spread = numbers or (torch.zeros(1), torch.ones(1))
        self.register_buffer("level", level.float())
        self.register_buffer("spread", spread.float())

    def forward(self, x: Tensor) -> Tensor:
        """Predict probabilities or numbers [B, K]."""
        logits = self.network(x)
        if self.kind == "regression":
            return logits * self.spread + self.level
        if self.kind == "time_to_event":
            return event_probabilities(logits)
        return logits.sigmoid() if self.kind == "multilabel" else logits.softmax(1)


def _rate(step: int, recipe: Recipe) -> float:
    """Return the factor on the learning rate after so many steps."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    span = max(recipe.steps - recipe.warmup_steps, 1)
    return 0.5 * (1 + float(np.cos(np.pi * min((step - recipe.warmup_steps) / span, 1.0))))


def resampled(x: Tensor, n_samples: int) -> Tensor:
    """Resample windows x [..., T] to `n_samples`, by cutting or padding the spectrum."""
    if n_samples == x.shape[-1]:
        return x
    spectrum = torch.fft.rfft(x)[..., : n_samples // 2 + 1]
    return torch.fft.irfft(spectrum, n_samples) * (n_samples / x.shape[-1])
