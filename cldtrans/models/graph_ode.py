"""Graph ODE: each channel's state, moved by its own latents and by its sources over time.

    dh_i/dt = -softplus(r) h_i + tanh(W_h h_i + sum_j A_ij(t) W_m h_j + W_u u_i(t) + b)

u is the whole latent path, averaged over `STRIDE` tokens and interpolated linearly; A the time-varying
adjacency, interpolated between its knots; the unit of time is one control step (`STRIDE` tokens).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from cldtrans.config import ModelConfig

STRIDE = 4  # tokens a control step: 250 ms of EEG, 160 ms of ECG


@dataclass
class Trajectory:
    """States at the control times."""

    states: Float[Tensor, "B C S H"]
    energy: Float[Tensor, " B"]  # mean squared speed of the valid channels' states
    nfe: int  # evaluations of the right-hand side (0 without an ODE)


def control_path(z: Float[Tensor, "B C L D"]) -> Float[Tensor, "B C S D"]:
    """Average tokens [B, C, L, D] over `STRIDE` of them: [B, C, S, D], S = ceil(L / STRIDE)."""
    n_tokens = z.shape[2]
    n_steps = -(-n_tokens // STRIDE)
    short = n_steps * STRIDE - n_tokens
    whole = F.pad(z, (0, 0, 0, short)) if short else z  # padding by nothing is a copy
    count = torch.full((n_steps, 1), float(STRIDE), dtype=z.dtype, device=z.device)
    count[-1] = n_tokens - (n_steps - 1) * STRIDE
    return whole.unflatten(2, (n_steps, STRIDE)).sum(3) / count


def to_tokens(path: Float[Tensor, "B C S D"], n_tokens: int) -> Float[Tensor, "B C {n_tokens} D"]:
    """Give each token its control step's value: [B, C, S, D] -> [B, C, L, D]."""
    return path.repeat_interleave(STRIDE, 2)[:, :, :n_tokens]


class Adjacency(nn.Module):
    """Time-varying sparse adjacency [B, K, C, C] from lags and local latents.

    `A_ij(t_k) = w_ij p_ij s(q_i(t_k) . k_j(t_k)) / (row sum of p)`, kept for the `sources` most probable
    sources of each target; q and k are maps of the latents around knot k, s the logistic function. Cycles
    are allowed.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.knots, self.sources = config.knots, config.sources
        self.query = nn.Linear(config.width, config.ode_width)
        self.key = nn.Linear(config.width, config.ode_width)

    def forward(
        self,
        path: Float[Tensor, "B C S D"],
        weight: Float[Tensor, "B C C"],
        probability: Float[Tensor, "B C C"],
    ) -> Float[Tensor, "B K C C"]:
        """Compute the adjacency.

        Parameters
        ----------
        path : tensor [B, C, S, D]
            Control path.
        weight, probability : tensor [B, C, C]
            Of the edges.

        Returns
        -------
        tensor [B, K, C, C]
            Row = target, at each knot.
        """
        local = F.adaptive_avg_pool1d(path.flatten(0, 1).transpose(1, 2), self.knots)
        local = local.transpose(1, 2).unflatten(0, path.shape[:2]).transpose(1, 2)  # [B, K, C, D]
        query, key = self.query(local), self.key(local)
        gate = torch.sigmoid(query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]))
        sources = min(self.sources, probability.shape[-1])
        least = probability.detach().topk(sources, -1).values[..., -1:]
        kept = torch.where(probability >= least, probability, 0.0)
        strength = torch.tanh(weight) * kept / kept.sum(-1, keepdim=True).clamp_min(1.0)
        return gate * strength[:, None]


class VectorField(nn.Module):
    """The right-hand side and its weights."""

    def __init__(self, width: int, state: int):
        super().__init__()
        self.control = nn.Linear(width, state)
        self.own = nn.Linear(state, state, bias=False)
        self.message = nn.Linear(state, state, bias=False)
        self.rate = nn.Parameter(torch.linspace(-3.0, 1.0, state))  # decay over 20 to 0.8 control steps

    def forward(self, h: Tensor, drive: Tensor, adjacency: Tensor) -> Tensor:
        """Return dh/dt [N, C, H]; `drive` is W_u u + b. Few operations: the solver calls it often."""
        own = torch.addmm(drive.flatten(0, 1), h.flatten(0, 1), self.own.weight.T).view_as(h)
        push = torch.tanh(torch.baddbmm(own, adjacency, self.message(h)))
        return torch.addcmul(push, F.softplus(self.rate), h, value=-1)


class _Driven(nn.Module):
    """The field along a batch's paths: `drive` [S, B, C, H] and `adjacency` [K, B, C, C]."""

    def __init__(self, field: VectorField, drive: Tensor, adjacency: Tensor):
        super().__init__()
        # Steps apart: the gradient of one taken from the whole path would be a whole path of zeros.
        self.field, self.drive, self.adjacency = field, drive.unbind(), adjacency.unbind()
        self.knots_a_step = (len(adjacency) - 1) / (len(drive) - 1)
        self.nfe = 0

    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        self.nfe += 1
        time = float(t.detach())
        return self.field(h, _at(self.drive, time), _at(self.adjacency, time * self.knots_a_step))


class GraphODE(nn.Module):
    """Solves for the `Trajectory` of a control path and an adjacency, by torchdiffeq.

    Parameters
    ----------
    config : ModelConfig
        Settings of the network.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.solver, self.adjoint, self.tolerance = config.solver, config.adjoint, config.tolerance
        self.field = VectorField(config.width, config.ode_width)

    def forward(
        self,
        path: Float[Tensor, "B C S D"],
        adjacency: Float[Tensor, "B K C C"],
        mask: Bool[Tensor, "B C"],
    ) -> Trajectory:
        """Solve for the states of a batch.

        Parameters
        ----------
        path : tensor [B, C, S, D]
            Control path.
        adjacency : tensor [B, K, C, C]
            Row = target.
        mask : tensor [B, C] of bool
            Valid channels.
        """
        with torch.autocast(path.device.type, enabled=False):
            dtype = self.field.rate.dtype
            drive = self.field.control(path.to(dtype)).movedim(2, 0).contiguous()
            adjacency = adjacency.to(dtype).movedim(1, 0).contiguous()
            times = torch.arange(len(drive), dtype=dtype, device=drive.device)
            start = torch.zeros_like(drive[0])
            if len(times) < 2:
                return Trajectory(start[:, :, None], start.sum((1, 2)) * 0.0, 0)
            sound: Tensor | None = None
            if (
                self.solver != "rk4"
            ):  # a batch shares its steps: one window that is no number would leave none
                sound = drive.isfinite().all((0, 2, 3)) & adjacency.isfinite().all((0, 2, 3))  # [B]
                keep = sound[None, :, None, None]
                drive, adjacency = torch.where(keep, drive, 0.0), torch.where(keep, adjacency, 0.0)
            driven = _Driven(self.field, drive, adjacency)
            options: dict[str, Any] = {"method": "rk4"}  # one step between control times
            if self.solver != "rk4":
                options = {"method": self.solver, "rtol": self.tolerance, "atol": self.tolerance}
            if self.adjoint and torch.is_grad_enabled():
                # The paths carry gradients as the weights do: the adjoint method has to be told.
                weights = (self.field.own.weight, self.field.message.weight, self.field.rate)
                states = odeint_adjoint(
                    driven, start, times, adjoint_params=(*weights, drive, adjacency), **options
                )
            else:
                states = odeint(driven, start, times, **options)
            if sound is not None:  # such a window's states are no numbers: that is for the guard to see
                states = torch.where(sound[None, :, None, None], states, torch.nan)
            nfe = driven.nfe
            between = torch.stack(
                [_at(driven.adjacency, step * driven.knots_a_step) for step in range(len(times))]
            )
            speed = self.field(states.flatten(0, 1), drive.flatten(0, 1), between.flatten(0, 1)).view_as(
                states
            )
        weight = mask.to(dtype)
        energy = (speed.square().mean((0, 3)) * weight).sum(1) / weight.sum(1).clamp_min(1)
        return Trajectory(states.movedim(0, 2), energy, nfe)


class TokenMap(nn.Module):
    """The no-ODE ablation: the same interface, each control step mapped by itself, no graph and no time."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.map = nn.Sequential(
            nn.Linear(config.width, config.ode_width),
            nn.Tanh(),
            nn.Linear(config.ode_width, config.ode_width),
        )

    def forward(
        self,
        path: Float[Tensor, "B C S D"],
        adjacency: Float[Tensor, "B K C C"],
        mask: Bool[Tensor, "B C"],
    ) -> Trajectory:
        """Map each control step of `path` by itself; arguments as in `GraphODE.forward`."""
        states = self.map(path)
        return Trajectory(states, states.sum((1, 2, 3)) * 0.0, 0)


def _at(path: Sequence[Tensor], t: float) -> Tensor:
    """Interpolate `path` linearly at time t in steps."""
    left = min(max(int(t), 0), max(0, len(path) - 2))
    share = min(max(t - left, 0.0), 1.0)
    return path[left] if share == 0.0 else torch.lerp(path[left], path[left + 1], share)
