"""One timeline for all channels: arrival times that explain the delays between phase-whitened signals.

Where a single source drives many channels, each pair's generalised cross-correlation (GCC-PHAT, Knapp &
Carter 1976) tells a delay, and all delays must fit one arrival time a channel: `net_ij ~ theta_i - theta_j`.
Solving for theta by weighted least squares over all pairs (HodgeRank, Jiang et al. 2011,
doi:10.1007/s10107-010-0419-x), reweighted so that delays off by a period of the rhythm lose their say, is far
more reliable than any one pair.

Two bands are tried, everything and the low frequencies that rhythmic discharges live in; the `mass` of each
is the coherence that its timeline explains at delays other than zero (volume conduction is at zero).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cldtrans.lag import fourier
from cldtrans.models.lag_inference.covariances import lagged_covariance, peak, two_sided

LOW_BAND = (0.0125, 0.075)  # of the sampling rate: 2-12 Hz of EEG, 6-38 Hz of ECG
REACH = 1.67  # largest delay searched in the low band, as a multiple of the lag grid's
TOLERANCE = 3.0  # samples between a delay and its timeline
ROUNDS = 6
SHARPNESS = 3.0  # power of the coherence in the weights
SMOOTH = 15  # bins of a spectrum that are averaged, a multiple of 3


@dataclass
class Timelines:
    """Of each band (last dimension, except `mass`)."""

    height: Tensor  # [B, C, C, 2] coherence at the best delay
    later: Tensor  # [B, C, C, 2] theta_i - theta_j, samples: > 0 where row i follows column j
    misfit: Tensor  # [B, C, C, 2] distance of the pair's own delay from that, samples
    mass: Tensor  # [B, 2] coherence explained at delays beyond the tolerance, mean over pairs


def timelines(x: Tensor, pair: Tensor, max_lag: int) -> Timelines:
    """Find the timelines of windows, one in each band.

    Whitened signals are as good in single precision: there is no narrow rhythm left that rounding could hide.

    Parameters
    ----------
    x : tensor [B, C, T]
        Windows of unit variance.
    pair : tensor [B, C, C] of bool
        Valid pairs.
    max_lag : int
        Samples.
    """
    found = []
    spectrum, smooth = smooth_spectrum(x)
    for band, reach in ((None, max_lag), (LOW_BAND, round(REACH * max_lag))):
        white = phase_whitened(spectrum, smooth, x.shape[-1], band).float()
        height, at = peak(two_sided(lagged_covariance(white, white, reach).abs_()))
        height, at = height.to(x.dtype), at.to(x.dtype)
        height, net = torch.where(pair, height, 0.0), torch.where(pair, at - reach, 0.0)
        theta = arrival_times(net, height**SHARPNESS)
        later = torch.where(pair, theta[:, :, None] - theta[:, None, :], 0.0)
        misfit = (net - later).abs()
        explained = height.square() * (misfit < TOLERANCE) * (later.abs() > TOLERANCE)
        mass = explained.sum((1, 2)) / pair.sum((1, 2)).clamp_min(1)
        found.append((height, later, misfit, mass))
    return Timelines(*(torch.stack(values, -1) for values in zip(*found, strict=True)))


def arrival_times(net: Tensor, weight: Tensor) -> Tensor:
    """Solve `min sum_ij w_ij rho(net_ij - theta_i + theta_j)`, rho a Cauchy loss, mean zero.

    Parameters
    ----------
    net : tensor [B, C, C]
        Delays of pairs, samples; row = target.
    weight : tensor [B, C, C]
        Weights w.

    Returns
    -------
    tensor [B, C]
        theta, samples.
    """
    n_channels = net.shape[-1]
    eye = torch.eye(n_channels, dtype=net.dtype, device=net.device)
    w = weight
    theta = net.new_zeros(net.shape[:2])
    for _ in range(ROUNDS):
        ridge = 1e-6 * w.sum((1, 2)) + 1e-12
        laplacian = torch.diag_embed(w.sum(2)) - w + ridge[:, None, None] * eye
        theta = torch.linalg.solve(laplacian, (w * net).sum(2)[..., None])[..., 0]
        apart = net - (theta[:, :, None] - theta[:, None, :])
        w = weight / (1 + (apart / TOLERANCE).square())
    return theta


def smooth_spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute spectra, and their power as means over `SMOOTH` bins, fewer at the ends.

    Parameters
    ----------
    x : tensor [B, C, T]
        Windows.

    Returns
    -------
    spectrum : tensor [B, C, F] of complex
        The spectra.
    smooth : tensor [B, C, F]
        Their power.
    """
    spectrum = fourier.rfft(x)
    n_bins, beside = spectrum.shape[-1], SMOOTH // 2
    power = F.pad(torch.view_as_real(spectrum).square().sum(-1), (beside, beside))
    three = power[..., :-2] + power[..., 1:-1]
    three += power[..., 2:]
    total = three[..., :n_bins].clone()
    for begin in range(3, SMOOTH, 3):
        total += three[..., begin : begin + n_bins]
    bins = torch.arange(n_bins, device=x.device)
    count = (bins + beside).clamp_max(n_bins - 1) - (bins - beside).clamp_min(0) + 1
    return spectrum, total / count


def phase_whitened(
    spectrum: Tensor, smooth: Tensor, n_samples: int, band: tuple[float, float] | None, floor: float = 0.01
) -> Tensor:
    """Give each channel a flat spectrum: in a band, or where it has power.

    Without a band, bins far below a channel's strongest ones stay small: what a filter left is not raised.

    Parameters
    ----------
    spectrum, smooth : tensor [B, C, F]
        From `smooth_spectrum`.
    n_samples : int
        T of the windows.
    band : (float, float) or None
        Shares of the sampling rate.
    floor : float
        Amplitude, as a share of the strongest bin's, far below which bins stay small.

    Returns
    -------
    tensor [B, C, F] of complex
        Spectra of signals of equal power.
    """
    if band is None:
        scale = (smooth + floor**2 * smooth.amax(-1, keepdim=True)).sqrt_()
    else:
        frequency = torch.fft.rfftfreq(n_samples, device=smooth.device)
        outside = (frequency < band[0]) | (frequency > band[1])
        scale = smooth.sqrt().masked_fill_(outside, torch.inf)
    flat = torch.view_as_real(spectrum) / scale.clamp_min_(1e-12)[..., None]
    white = fourier.irfft(torch.view_as_complex(flat), n_samples)
    return white.div_(white.square().mean(-1, keepdim=True).sqrt_().clamp_min_(1e-12))
