"""Terms of the stage-1 loss. Each returns one number a window [B], so that a batch's loss is their mean."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cldtrans.lag import fourier
from cldtrans.lag.operator import fast_max_delay, lagged_mix
from cldtrans.models.graph_ode import STRIDE
from cldtrans.models.lag_inference.network import Lags
from cldtrans.models.modality import RATE_HZ
from cldtrans.models.output import Encoding
from cldtrans.models.readouts import focal_scores

STFT_SIZES = (16, 64, 256)  # samples; training steps take them in turn
LIKELIHOOD_SAMPLES = 1280  # of a window, from its middle: bounds the cost
FREQUENCIES = 48  # bins of the log-determinant, which is smooth in frequency
SCALE_FLOOR = 1e-2  # of a residual, in standard deviations of its channel
DEPENDENT = 1e-4  # share of a channel's variance that others leave unexplained: below, it is a sum of others
LEAST_LOG = -20.0  # of a posterior: a lead may be flat
SPANS = (3, 6)  # shortest and longest, tokens: 190 to 375 ms of EEG, 120 to 240 ms of ECG
HIDE_STEPS = 4  # length of a hidden stretch in control steps


def channel_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over the valid channels and everything after them: `values` [B, C, ...] -> [B]."""
    flat = values.flatten(2).mean(2) if values.dim() > 2 else values
    weight = mask.to(flat.dtype)
    return (flat * weight).sum(1) / weight.sum(1).clamp_min(1)


def waveform(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean squared error of the reconstruction y, [B], channels of unit variance."""
    return channel_mean((x - y).square(), mask)


def spectrum(x: Tensor, y: Tensor, mask: Tensor, size: int) -> Tensor:
    """Compute the mean absolute difference of log magnitudes of short-time Fourier transforms, [B].

    Parameters
    ----------
    x, y : tensor [B, C, T]
        Standardised waveform and its reconstruction.
    mask : tensor [B, C] of bool
        Valid channels.
    size : int
        Samples of a transform.
    """
    both = (
        torch.cat([x, y]).flatten(0, 1).float()
        if x.dtype != torch.float64
        else torch.cat([x, y]).flatten(0, 1)
    )
    power = torch.view_as_real(fourier.stft(both, size)).square().sum(-1)
    a, b = torch.log(power + 1e-3 * size).unflatten(0, (2, *x.shape[:2]))
    return channel_mean((a - b).abs() / 2, mask)


def hidden_steps(shape: tuple[int, int], fraction: float, step: int, device: torch.device) -> Tensor:
    """Choose control steps that the dynamics do not see, the same for all windows of a training step.

    Some stretches hide every channel (time has to be bridged), some a single one (the graph has to help).

    Parameters
    ----------
    shape : (int, int)
        C and S.
    fraction : float
        Share of the steps that are hidden.
    step : int
        Number of the training step.
    device : device
        Where the result lies.

    Returns
    -------
    tensor [C, S] of bool
        True where hidden.
    """
    generator = torch.Generator().manual_seed(step)
    n_channels, n_steps = shape
    n_blocks = -(-n_steps // HIDE_STEPS)
    alone = torch.rand(n_channels, n_blocks, generator=generator) < 0.8 * fraction
    together = torch.rand(1, n_blocks, generator=generator) < 0.2 * fraction
    blocks = (alone | together).repeat_interleave(HIDE_STEPS, 1)[:, :n_steps]
    return blocks.to(device)


def fill(prediction: Tensor, path: Tensor, hide: Tensor, mask: Tensor) -> Tensor:
    """Compute the squared error of the hidden control steps, [B].

    Parameters
    ----------
    prediction, path : tensor [B, C, S, D]
        What the dynamics say, and what is there.
    hide : tensor [C, S] of bool
        The hidden steps.
    mask : tensor [B, C] of bool
        Valid channels.
    """
    error = (prediction - path.detach()).square().mean(-1)
    weight = (hide & mask[..., None]).to(error.dtype)
    return (error * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)


def hidden_spans(shape: tuple[int, int], fraction: float, step: int, device: torch.device) -> Tensor:
    """Choose spans of the waveform that the network does not see, the same for all windows of a step.

    Half of what is hidden is so in every channel at once, and has to be told from time; half in single ones.

    Parameters
    ----------
    shape : (int, int)
        C and L.
    fraction : float
        Share of the tokens that are hidden, on average.
    step : int
        Number of the training step.
    device : device
        Where the result lies.

    Returns
    -------
    tensor [C, L] of bool
        True where hidden.
    """
    generator = torch.Generator().manual_seed(step)
    n_channels, n_tokens = shape
    each = 1 - (1 - fraction) ** 0.5  # of all channels, and of each alone: together the fraction
    mean = sum(SPANS) / 2
    hidden = []
    for rows in (1, n_channels):
        starts = torch.rand(rows, n_tokens, generator=generator) < 1 - (1 - each) ** (1 / mean)
        lengths = torch.randint(SPANS[0], SPANS[1] + 1, (rows, n_tokens), generator=generator)
        left = torch.where(starts, lengths, 0)
        for k in range(1, SPANS[1]):
            left[:, k:] = torch.maximum(left[:, k:], torch.where(starts, lengths, 0)[:, :-k] - k)
        hidden.append(left > 0)
    return (hidden[0] | hidden[1]).to(device)


def masked(x: Tensor, guess: Tensor, hide: Tensor, mask: Tensor) -> Tensor:
    """Compute the mean squared error of hidden tokens' waveform, [B]; channels of unit variance.

    Parameters
    ----------
    x, guess : tensor [B, C, T]
        What is there, and what the network says.
    hide : tensor [B, C, L] of bool
        The hidden tokens.
    mask : tensor [B, C] of bool
        Valid channels.
    """
    error = (guess - x).square().unflatten(-1, (hide.shape[-1], -1)).mean(-1)
    weight = (hide & mask[..., None]).to(error.dtype)
    return (error * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)


def independent_channels(x: Tensor, mask: Tensor) -> Tensor:
    """Find valid channels that are no linear combination of the ones before them, bool [B, C].

    Sums of other channels make the likelihood unbounded (residual 0 at lag 0): 12 leads have rank 8, an
    average reference C - 1. Read from the pivots of a Cholesky factor of the correlations.
    """
    correlation = x @ x.transpose(1, 2) / x.shape[-1]
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    valid = mask[:, :, None] & mask[:, None, :]
    correlation = torch.where(valid, correlation, 0.0) + (1e-6 + (~mask).to(x.dtype))[..., None] * eye
    pivots = torch.linalg.cholesky_ex(correlation)[0].diagonal(dim1=1, dim2=2).square()
    return mask & (pivots > DEPENDENT)


def ldsem(
    x: Tensor, mask: Tensor, lags: Lags, modality: str, tau_max_s: float, tau: Tensor | None = None
) -> Tensor:
    """Compute the negative log-likelihood a sample and channel of the lagged model, [B].

    Innovations are Laplace with free scale. `e_i = x_i - a_i * x_i - sum_j p_ij w_ij x_j(t - tau_ij)` and,
    per sample, `-log L = sum_i (log 2 s_i + 1) - mean_f log|det M(f)|` with `s_i = mean_t |e_i(t)|`, its
    maximum over the scale. Channels that depend on others are left out (as targets and as sources); scales
    have a floor. Lags are those of the models that the weights belong to, which are tau's unless one source
    drives the window.

    Parameters
    ----------
    x : tensor [B, C, T]
        Standardised windows.
    mask : tensor [B, C] of bool
        Valid channels.
    lags : Lags
        Of the windows.
    modality : one of "eeg", "ecg"
        Sets the rate.
    tau_max_s : float
        Largest lag, seconds.
    tau : tensor [B, C, C], optional
        Seconds; replaces the lags (for comparison).
    """
    rate_hz = RATE_HZ[modality]
    x = _middle(x.detach(), LIKELIHOOD_SAMPLES)
    free = independent_channels(x, mask)
    pair = free[:, :, None] & free[:, None, :]
    weight = torch.where(pair, lags.weight * lags.edge_probability, 0.0)
    tau = lags.candidates[..., 0] if tau is None else tau
    own = lags.own * free[..., None]
    longest = fast_max_delay(x.shape[-1], tau_max_s + 1 / rate_hz, rate_hz)
    mixed = lagged_mix(x, weight, tau, rate_hz, max_delay=longest)
    residual = x - mixed - _filtered(x, own)
    warm = own.shape[-1] + round(float(rate_hz) * 0.1)
    scale = residual[..., warm:].abs().mean(-1).clamp_min(SCALE_FLOOR)
    n_free = free.sum(1).clamp_min(1).to(x.dtype)
    fit = ((math.log(2.0) + torch.log(scale) + 1.0) * free).sum(1) / n_free
    return fit - _log_determinant(weight, tau * rate_hz, own) / n_free


def _middle(x: Tensor, n_samples: int) -> Tensor:
    start = max(0, (x.shape[-1] - n_samples) // 2)
    return x[..., start : start + n_samples]


def _filtered(x: Tensor, own: Tensor) -> Tensor:
    """Compute `(a_i * x_i)(t)`: each channel's own past through its coefficients [B, C, P]."""
    order = own.shape[-1]
    past = F.pad(x, (order, -1)).unfold(-1, order, 1)  # [B, C, T, P], oldest first
    return (past @ own.flip(-1)[..., None])[..., 0]


def _log_determinant(weight: Tensor, lag: Tensor, own: Tensor) -> Tensor:
    """Average `log|det M(f)|` over frequency, [B]; lags in samples."""
    f = (torch.arange(FREQUENCIES, dtype=weight.dtype, device=weight.device) + 0.5) / (2 * FREQUENCIES)
    angle = -2 * math.pi * f[:, None, None] * lag[:, None]
    matrix = torch.complex(-weight[:, None] * torch.cos(angle), -weight[:, None] * torch.sin(angle))
    order = torch.arange(1, own.shape[-1] + 1, device=own.device)
    turn = -2 * math.pi * f[:, None] * order
    response = (
        1
        - torch.einsum("bcp,fp->bfc", own, torch.cos(turn))
        - 1j * torch.einsum("bcp,fp->bfc", own, torch.sin(turn))
    )
    return torch.linalg.slogdet(matrix + torch.diag_embed(response))[1].mean(1)


def sparsity(lags: Lags, mask: Tensor) -> Tensor:
    """Compute the expected number of incoming edges of a channel, [B].

    It is a share of the number of channels that could send one.
    """
    others = (mask.sum(1) - 1).clamp_min(1).to(lags.edge_probability.dtype)
    return channel_mean(lags.edge_probability.sum(2), mask) / others


def smoothness(first: Lags, second: Lags, tau_max_s: float) -> Tensor:
    """Compute the change of tau between two stretches, where both see an edge, [B].

    It is a share of the largest lag.
    """
    p = first.edge_probability * second.edge_probability
    change = p * (first.tau - second.tau).abs() / tau_max_s
    return change.sum((1, 2)) / p.sum((1, 2)).clamp_min(1)


def edges(lags: Lags, edge: Tensor, known: Tensor, mask: Tensor) -> Tensor:
    """Compute the cross-entropy of the edges of a simulated world; 0 where they are not all `known` [B]."""
    pair = mask[:, :, None] & mask[:, None, :]
    pair = pair & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    counted = pair & known[:, None, None]
    loss = F.binary_cross_entropy_with_logits(lags.edge_logit, edge.to(lags.edge_logit), reduction="none")
    return torch.where(counted, loss, 0.0).sum((1, 2)) / pair.sum((1, 2)).clamp_min(1)


def true_lags(lags: Lags, edge: Tensor, lag_s: Tensor, sample_rate: float) -> Tensor:
    """Compute the error of tau on true edges, [B].

    It has two parts: of the choice among the candidates, and of tau itself with its uncertainty. In samples;
    the second part is the negative log-likelihood of Student's t with three degrees of freedom, for a lag is
    either nearly right or another one.

    Parameters
    ----------
    lags : Lags
        Of the windows.
    edge : tensor [B, C, C] of bool
        The true edges.
    lag_s : tensor [B, C, C]
        Their lags in seconds.
    sample_rate : float
        Hertz.
    """
    truth = lag_s * sample_rate
    apart = (lags.candidates * sample_rate - truth[..., None]).abs()
    chosen = (lags.choice.exp() * torch.log1p(apart / 0.1)).sum(-1)
    spread = (lags.tau_stderr * sample_rate).clamp_min(0.01)
    error = (lags.tau * sample_rate - truth) / spread
    density = 2 * torch.log1p(error.square() / 3) + torch.log(spread)
    weight = edge.to(truth.dtype)
    return ((0.5 * chosen + 0.2 * density) * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)


def leads(lags: Lags, lead: Tensor, mask: Tensor) -> Tensor:
    """Compute the cross-entropy of whether one source drives a window, and of which, [B].

    The default readout's scores tell which, and so does the posterior of the first channel.

    Parameters
    ----------
    lags : Lags
        Of the windows.
    lead : tensor [B] of int
        Leading channel, -1 where there is none.
    mask : tensor [B, C] of bool
        Valid channels.
    """
    scores = focal_scores(lags.tau, lags.edge_probability, mask)
    truth = lead.clamp_min(0)
    which = F.cross_entropy(scores, truth, reduction="none")
    posterior = F.nll_loss(lags.lead.clamp_min(LEAST_LOG), truth, reduction="none")
    driven = lags.driven.clamp(1e-6, 1 - 1e-6)
    return torch.where(lead >= 0, which + posterior - torch.log(driven), -torch.log1p(-driven))


def control_steps(encoding_tokens: int) -> int:
    """Return the control steps of a window with so many tokens."""
    return -(-encoding_tokens // STRIDE)


def snr_db(encoding: Encoding, y: Tensor) -> Tensor:
    """Compute the variance of the signal over that of the reconstruction's error, decibels, [B]."""
    return -10 * torch.log10(waveform(encoding.x, y, encoding.mask).clamp_min(1e-9))
