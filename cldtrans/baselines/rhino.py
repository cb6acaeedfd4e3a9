"""Rhino: a neural lagged causal model whose noise depends on the past, written from the paper.

Gong et al. 2023, ICLR, arXiv 2210.14706. A channel is a function of its parents, now and up to p samples
ago, plus noise whose distribution the past parents shape,

    x_i(t) = f_i(Pa_i(<= t)) + g_i(Pa_i(< t), e_i(t)).

f_i sums what one network makes of each parent's value and of the embedding of (lag, source), and a second
network reads the sum with the target's embedding; both are shared by all pairs. g_i is a conditional flow: a
scale and a monotone rational-quadratic spline (Durkan et al. 2019, NeurIPS) of 8 bins, whose parameters come
from two networks of the same form that see lagged parents alone. The graph is a variational posterior:
independent edges at each lag; now, one of three states a pair (one way, the other, none). The evidence bound
has a prior that counts edges and an augmented Lagrangian for h(G_0) = tr exp(G_0) - C = 0; edges are sampled
by straight-through Gumbel softmax.

As an estimator of lags, an edge is a pair with a posterior above one half at any lag, and its lag is the
likeliest: whole samples only. Differences: each sample in time has a draw of the graph, not each batch,
which steadies the gradient; h is taken of the posterior's mean instead of a sample; channels have unit
variance; steps are counted instead of epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cldtrans.methods.cards import Card
from cldtrans.methods.estimators import LagEstimate

BINS = 8
BOUND = 5.0
START = -1.0  # logit of an edge: sparse enough to stay so, and often enough there to be learned
_LEAST = 1e-3  # of a bin's share, and of a slope


@dataclass(frozen=True)
class Fit:
    """What is learned of a graph.

    Attributes
    ----------
    probability : array [order + 1, C, C]
        Posterior of an edge by lag (0 first), source and target.
    logit : array [order + 1, C, C]
        The same before the sigmoid, which tells apart what is near one.
    """

    probability: np.ndarray
    logit: np.ndarray


class Rhino:
    """The `estimator` factory.

    Parameters
    ----------
    sparsity : float
        Of the prior, nats an edge (5 to 25 in published settings). Networks that are not Bayesian gain some
        nats from any source by chance; below that, every edge hovers at one half.
    steps : int
        Optimiser steps in all.
    batch_size : int
        Samples in time a step.
    learning_rate : float
        Of the graph's logits; the networks learn at `network_rate`.
    network_rate : float
        Of the networks.
    width : int
        Of hidden layers and embeddings.
    temperature : float
        Of the Gumbel softmax (0.25 in published settings).
    outer : int
        Steps of the augmented Lagrangian.
    """

    card = Card(
        title="Rhino",
        source="Gong et al. 2023, ICLR, arXiv 2210.14706",
        licence="MIT (ours, from the paper); the authors' is MIT, for Python 3.10 and torch 2.0",
        reproduced="means, conditional splines, three-way posterior, evidence bound, augmented Lagrangian",
        differs="a draw of the graph for each sample in time; channels of unit variance; counted steps",
    )

    def __init__(
        self,
        sparsity: float = 20.0,
        steps: int = 2000,
        batch_size: int = 1024,
        learning_rate: float = 0.05,
        network_rate: float = 1e-2,
        width: int = 32,
        temperature: float = 0.25,
        outer: int = 10,
    ) -> None:
        self.sparsity, self.steps, self.batch_size = sparsity, steps, batch_size
        self.learning_rate, self.network_rate, self.width = learning_rate, network_rate, width
        self.temperature, self.outer = temperature, outer

    def __call__(self, x: np.ndarray, sample_rate: float, tau_max_s: float, seed: int = 0) -> LagEstimate:
        """Estimate edges and lags of windows x [N, C, T] of one system; lags reach `tau_max_s` seconds."""
        found = self.fit(x, max(1, int(np.ceil(tau_max_s * sample_rate))), seed)
        off = ~np.eye(x.shape[1], dtype=bool)
        support = (found.probability.max(0).T > 0.5) & off
        score = found.logit.max(0).T
        tau = np.where(support, found.logit.argmax(0).T / sample_rate, np.nan)
        return LagEstimate(tau, support, None, score=score)

    def fit(self, x: np.ndarray, order: int, seed: int = 0) -> Fit:
        """Learn graph and networks of windows; lags never reach across the edge of a window.

        Parameters
        ----------
        x : array [N, C, T]
            Windows of one system, T > order.
        order : int
            Samples of past.
        seed : int
            Of weights, batches and sampled graphs.
        """
        deviation = x.std(axis=(0, 2), keepdims=True)
        z = (x - x.mean(axis=-1, keepdims=True)) / np.where(deviation > 0, deviation, 1)
        series = torch.from_numpy(z.astype(np.float32)).transpose(1, 2)  # [N, T, C]
        n_windows, n_samples, n_channels = series.shape
        per_window = n_samples - order
        n_rows = n_windows * per_window
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Model(n_channels, order, self.width)
            optimiser = torch.optim.Adam(
                [
                    {"params": model.graph.parameters(), "lr": self.learning_rate},
                    {
                        "params": [*model.mean.parameters(), *model.noise.parameters()],
                        "lr": self.network_rate,
                    },
                ]
            )
            rho, alpha, before = 1.0, 0.0, np.inf
            for _ in range(self.outer):
                for _ in range(max(1, self.steps // self.outer)):
                    row = torch.randint(n_rows, (min(self.batch_size, n_rows),))
                    at = (row % per_window + order)[:, None] - torch.arange(order + 1)
                    batch = series[(row // per_window)[:, None], at]  # [B, order + 1, C], now first
                    graph = model.graph.sample(len(batch), self.temperature)
                    cyclic = model.graph.cyclic()
                    count = model.graph.probability().sum()
                    prior = self.sparsity * count + alpha * cyclic + 0.5 * rho * cyclic**2
                    loss = (prior - model.graph.entropy()) / n_rows - model.log_density(batch, graph).mean()
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()
                now = float(model.graph.cyclic().detach())
                if now > 0.65 * before:
                    rho *= 10
                else:
                    alpha += rho * now
                before = now
            with torch.no_grad():
                probability = model.graph.probability()
                return Fit(probability.numpy(), torch.logit(probability, 1e-7).double().numpy())


class Graph(nn.Module):
    """The posterior of edges, by lag, source and target."""

    def __init__(self, n_channels: int, order: int) -> None:
        super().__init__()
        self.lagged = nn.Parameter(torch.full((order, n_channels, n_channels), START))
        states = torch.tensor([START, START, 0.0])[:, None]  # of each pair: j to i, i to j, none
        self.now = nn.Parameter(states.repeat(1, n_channels * (n_channels - 1) // 2))
        self.first, self.second = torch.triu_indices(n_channels, n_channels, 1)

    def sample(self, n: int, temperature: float) -> Tensor:
        """Draw edges, 0 or 1 [n, order + 1, C, C], with the gradient of their softened draws."""
        lagged = torch.stack([self.lagged, torch.zeros_like(self.lagged)]).expand(n, -1, -1, -1, -1)
        states = self.now.expand(n, -1, -1)
        return torch.cat(
            [
                self._square(F.gumbel_softmax(states, temperature, hard=True, dim=1)),
                F.gumbel_softmax(lagged, temperature, hard=True, dim=1)[:, 0],
            ],
            dim=1,
        )

    def probability(self) -> Tensor:
        """Return the posterior [order + 1, C, C]."""
        return torch.cat([self._square(self.now.softmax(0)), self.lagged.sigmoid()])

    def entropy(self) -> Tensor:
        """Return the posterior's entropy, nats."""
        lagged = F.binary_cross_entropy_with_logits(self.lagged, self.lagged.sigmoid(), reduction="sum")
        return lagged - (self.now.softmax(0) * self.now.log_softmax(0)).sum()

    def cyclic(self) -> Tensor:
        """Return tr exp(P) - C of the posterior now; zero exactly for acyclic graphs."""
        now = self._square(self.now.softmax(0))[0]
        return torch.linalg.matrix_exp(now).trace() - len(now)

    def _square(self, states: Tensor) -> Tensor:
        """Put states [..., 3, pairs] into matrices [..., 1, C, C]."""
        n_channels = self.lagged.shape[-1]
        square = states.new_zeros(*states.shape[:-2], n_channels, n_channels)
        square[..., self.first, self.second] = states[..., 1, :]
        square[..., self.second, self.first] = states[..., 0, :]
        return square[..., None, :, :]


class Messages(nn.Module):
    """What every target makes of its parents: values [B, L, C], edges [B, L, C, C] -> [B, C, n_out].

    Parameters
    ----------
    n_channels, n_lags : int
        C and L, of which lag 0 may be among them.
    width : int
        Of hidden layers and embeddings.
    n_out : int
        Numbers a target.
    """

    def __init__(self, n_channels: int, n_lags: int, width: int, n_out: int) -> None:
        super().__init__()
        self.source = nn.Parameter(torch.randn(n_lags, n_channels, width))
        self.target = nn.Parameter(torch.randn(n_channels, width))
        self.each = nn.Sequential(
            nn.Linear(1 + width, width), nn.LeakyReLU(), nn.LayerNorm(width), nn.Linear(width, width)
        )
        self.all = nn.Sequential(
            nn.Linear(2 * width, width), nn.LeakyReLU(), nn.LayerNorm(width), nn.Linear(width, n_out)
        )

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """Compute them."""
        who = self.source.expand(len(x), -1, -1, -1)
        messages = self.each(torch.cat([x[..., None], who], dim=-1))
        total = torch.einsum("blch,blci->bih", messages, graph)
        return self.all(torch.cat([total, self.target.expand(len(x), -1, -1)], dim=-1))


class Model(nn.Module):
    """Graph, means and noise of one system."""

    def __init__(self, n_channels: int, order: int, width: int) -> None:
        super().__init__()
        self.graph = Graph(n_channels, order)
        self.mean = Messages(n_channels, order + 1, width, 1)
        self.noise = Messages(n_channels, order, width, 3 * BINS)

    def log_density(self, x: Tensor, graph: Tensor) -> Tensor:
        """Return the log density [B] of the first of x [B, order + 1, C] given the others."""
        residual = x[:, 0] - self.mean(x, graph)[..., 0]
        log_scale, bins = self.noise(x[:, 1:], graph[:, 1:]).split([1, 3 * BINS - 1], dim=-1)
        scaled = residual * log_scale[..., 0].neg().exp()
        base, log_slope = spline(scaled, bins)
        normal = -0.5 * (base**2 + np.log(2 * np.pi))
        return (normal + log_slope - log_scale[..., 0]).sum(-1)


def spline(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Apply monotone rational-quadratic splines; beyond `BOUND` on either side the identity.

    Parameters
    ----------
    x : Tensor [...]
        Where.
    parameters : Tensor [..., 3 BINS - 1]
        Widths and heights of the bins, slopes between them, all unbounded.

    Returns
    -------
    y, log_slope : Tensor [...]
        Values and the logarithm of dy/dx.
    """
    shares, slopes = parameters[..., : 2 * BINS].unflatten(-1, (2, BINS)), parameters[..., 2 * BINS :]
    sizes = 2 * BOUND * (_LEAST + (1 - _LEAST * BINS) * shares.softmax(-1))
    knots = F.pad(sizes.cumsum(-1), (1, 0)) - BOUND  # [..., 2, BINS + 1]
    slopes = F.pad(_LEAST + F.softplus(slopes + np.log(np.expm1(1 - _LEAST))), (1, 1), value=1.0)
    inside = x.abs() < BOUND
    at = torch.where(inside, x, torch.zeros_like(x))
    place = (at[..., None] >= knots[..., 0, 1:-1]).sum(-1, keepdim=True)

    def of_bin(values: Tensor) -> Tensor:
        return values.gather(-1, place)[..., 0]

    width, height = of_bin(sizes[..., 0, :]), of_bin(sizes[..., 1, :])
    left, right = of_bin(slopes[..., :-1]), of_bin(slopes[..., 1:])
    part = (at - of_bin(knots[..., 0, :-1])) / width
    steep, mixed = height / width, part * (1 - part)
    below = steep + (left + right - 2 * steep) * mixed
    y = of_bin(knots[..., 1, :-1]) + height * (steep * part**2 + left * mixed) / below
    above = right * part**2 + 2 * steep * mixed + left * (1 - part) ** 2
    log_slope = 2 * steep.log() + above.log() - 2 * below.log()
    return torch.where(inside, y, x), torch.where(inside, log_slope, torch.zeros_like(x))
