"""The noise that a discharge stands in: what the recording's quiet windows have, and what no model explains.

The covariance of channels at a frequency is known from few windows, and the better the shape of it is known,
the more of the background can be taken away. So correlations are shared between frequencies (most of what
channels have in common is volume conduction, which is the same at all of them), powers are not.

A discharge is never quite one waveform at one delay a channel: what is left of it is noise whose power grows
with it, in the channels that carry it (`excess`) and in all of them (`pooled`). How large it is cannot be
known beforehand; several sizes are tried side by side (`MISFITS`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from cldtrans.lag.single_source.grids import BAND_HZ, EDGE, Grids, power, smooth, taper

OWN_S = 2.0  # start of a window that stands for its background where none is given
OWN_EDGE = 0.25
SMOOTH_HZ = 1.0
NEIGHBOURS = 3  # stripes that share a covariance
SHARED = 3.0  # weight of the correlations common to all frequencies: so many windows a channel
UNCORRELATED = 0.3  # likewise of no correlation, in the common ones
DIAGONAL = 0.1
LEAST = 1e-5  # variance of a channel, as a share of all channels' mean: what single precision can invert
RANK = (
    2e-4  # of the mean eigenvalue of the correlations: below it a direction holds nothing. Loops of channels
)
# that were stored in steps of 0.4 microvolts have 1e-4, the smallest real ones of 64 electrodes 1e-3.


@dataclass(frozen=True)
class Misfit:
    """Power of what a discharge leaves unexplained, as shares of its own power."""

    pooled: float  # of the mean over channels, in every channel
    excess: float  # of the channel's own


MISFITS = (Misfit(0.0, 0.03), Misfit(0.1, 0.3), Misfit(1.5, 0.3))


@dataclass
class Quiet:
    """What is known of the noise without a discharge."""

    covariance: Float[Tensor, "B S C C"]  # of channels scaled to the background's power, in stripes
    scale: Float[Tensor, "B C"]  # that they are multiplied by
    valid: Bool[Tensor, "B C"]
    empty: Float[Tensor, "B C k"]  # from `_empty`, as the two that follow
    normal: Float[Tensor, "B C k"]
    dual: Float[Tensor, "B C k"]

    def on(self, whole: Grids, part: Grids) -> Quiet:
        """Take the covariance over from the stripes of a window to those of shorter ones."""
        near, here = (grids.stripe(grids.bins * grids.width_hz).mean(-1) for grids in (whole, part))
        here = here.clamp(near[0], near[-1])
        weight = (1 - (here[:, None] - near).abs() / (near[1] - near[0])).clamp_min(0).to(self.scale)
        power = part.taper.square().sum() / whole.taper.square().sum()
        moved = weight @ self.covariance.flatten(2) * power
        return replace(self, covariance=moved.unflatten(-1, self.covariance.shape[2:]))


@dataclass
class Whitened:
    """Windows scaled by the background's power, and the inverse covariance of their noise for each misfit."""

    spectrum: Complex[Tensor, "B N C F"]
    precision: Float[Tensor, "B M N S C C"]
    log_det: Float[Tensor, "B M"]  # of the precisions at all bins, up to what is common to misfits
    valid: Bool[Tensor, "B C"]


def background_covariance(
    background: Float[Tensor, "B K C U"], mask: Bool[Tensor, "B C"], grids: Grids, edge: float = EDGE
) -> tuple[Float[Tensor, "B S C C"], Float[Tensor, "B C C"]]:
    """Estimate the covariance of channels in stripes of frequency, from windows without a discharge.

    Parameters
    ----------
    background : tensor [B, K, C, U]
        Windows of any length; longer ones are cut into overlapping pieces as long as the window.
    mask : tensor [B, C] of bool
        Valid channels; the others are 0.
    grids : Grids
        Of the window with the discharge, on whose scale the covariance is.
    edge : float
        Share of a piece that is tapered at either end.

    Returns
    -------
    covariance : tensor [B, S, C, C]
        Real: as the channels' order is not time's, imaginary parts are as likely of either sign.
    raw : tensor [B, C, C]
        The mean over frequencies as it was measured: its rank is that of the montage.
    """
    length = min(background.shape[-1], grids.n_samples)
    if background.shape[-1] > length:
        pieces = background.unfold(-1, length, max(1, length // 2))
        background = pieces.transpose(2, 3).flatten(1, 2)
    window = taper(length, edge, background)
    scale = math.sqrt(float(grids.taper.square().sum() / window.square().sum()))
    spectrum = grids.stripe(scale * grids.spectrum(background, window))  # [B, K, C, S, m]
    n_pieces, n_channels = spectrum.shape[1], mask.sum(-1).to(background)[:, None, None, None]
    parts = torch.cat([spectrum.real, spectrum.imag], -1)
    parts = parts.permute(0, 3, 2, 1, 4).flatten(-2)  # [B, S, C, 2 m K]
    measured = parts @ parts.mT / (n_pieces * grids.per_stripe)
    measured = smooth(measured.permute(0, 2, 3, 1), NEIGHBOURS).permute(0, 3, 1, 2)
    seconds = n_pieces * length / grids.sample_rate
    deviation = measured.diagonal(dim1=-2, dim2=-1).clamp_min(1e-30).sqrt()
    across = deviation[..., :, None] * deviation[..., None, :]
    correlation = measured / across
    own = n_channels * UNCORRELATED / (n_channels * UNCORRELATED + seconds * (BAND_HZ[1] - BAND_HZ[0]))
    common = correlation.mean(1, keepdim=True)
    common = torch.lerp(common, torch.diag_embed(common.diagonal(dim1=-2, dim2=-1)), own)
    share = n_channels * SHARED / (n_channels * SHARED + max(n_pieces, seconds * SMOOTH_HZ))
    return torch.lerp(correlation, common, share) * across, measured.mean(1)


def quiet_of(
    x: Float[Tensor, "B N C T"],
    background: Float[Tensor, "B K C U"] | None,
    mask: Bool[Tensor, "B C"],
    grids: Grids,
) -> Quiet:
    """Find what the noise is without a discharge.

    Parameters
    ----------
    x : tensor [B, N, C, T]
        Windows of one discharge each.
    background : tensor [B, K, C, U] or None
        Windows without it, in the same unit; None: the first `OWN_S` seconds of x.
    mask : tensor [B, C] of bool
        Valid channels.
    grids : Grids
        Of x.
    """
    if background is None:
        start = x[..., : min(x.shape[-1], round(OWN_S * grids.sample_rate))]
        covariance, raw = background_covariance(start, mask, grids, OWN_EDGE)
    else:
        covariance, raw = background_covariance(background, mask, grids)
    variance = raw.diagonal(dim1=-2, dim2=-1)
    valid = mask & (variance > 1e-12 * variance.amax(-1, keepdim=True))
    scale = torch.where(valid, variance, 1.0).rsqrt() * valid
    covariance = covariance * (scale[:, None, :, None] * scale[:, None, None, :])
    return Quiet(covariance, scale, valid, *_empty(raw, scale, valid))


def whitened(
    x: Float[Tensor, "B N C T"], quiet: Quiet, grids: Grids, misfits: tuple[Misfit, ...] = MISFITS
) -> Whitened:
    """Find the noise of windows, for each of M misfits.

    Parameters
    ----------
    x : tensor [B, N, C, T]
        Windows of one discharge each.
    quiet : Quiet
        The noise without it.
    grids : Grids
        Of x.
    misfits : tuple of Misfit
        Sizes of what is left of the discharge.
    """
    covariance, valid = quiet.covariance, quiet.valid
    spectrum = grids.spectrum(x, grids.taper) * quiet.scale[:, None, :, None]
    own = covariance.diagonal(dim1=-2, dim2=-1)[:, None]  # [B, 1, S, C]
    loud = grids.stripe(smooth(power(spectrum), grids.bins_in(SMOOTH_HZ))).mean(-1).transpose(-1, -2)
    more = (loud - own) * valid[:, None, None]  # [B, N, S, C]
    count = valid.sum(-1).clamp_min(1)[:, None, None, None]
    pooled = (more.sum(-1, keepdim=True) / count).clamp_min(0)
    # What a weak discharge leaves unexplained drowns in the noise.
    own_mean = own.sum(-1, keepdim=True) / count
    pooled = pooled.square() / (pooled + own_mean).clamp_min(1e-30)
    excess = torch.stack([m.pooled * pooled + m.excess * more.clamp_min(0) for m in misfits], 1)
    added = (DIAGONAL * own + LEAST * own_mean)[:, None] + excess  # [B, M, N, S, C]

    added = torch.where(valid[:, None, None, None], added, 1.0)
    noise = torch.diag_embed(added) + (1 - DIAGONAL) * covariance[:, None, None]
    root = torch.linalg.cholesky(noise)
    precision, log_det = torch.cholesky_inverse(root), _log_det(root)
    if quiet.empty.shape[-1]:
        empty, normal, dual = (d[:, None, None, None] for d in (quiet.empty, quiet.normal, quiet.dual))
        # Where the empty directions hold nothing, instead of what the diagonal says.
        across = precision @ empty
        unused = torch.diag_embed((empty == 0).all(-2).to(empty))
        root = torch.linalg.cholesky(empty.mT @ across + unused)
        shown = torch.linalg.solve_triangular(root, across.mT, upper=False)
        precision, log_det = precision - shown.mT @ shown, log_det + _log_det(root)
        # And of what is compared with it, what comes nearest to it there.
        shown = precision @ normal
        precision = precision - shown @ dual.mT - dual @ (shown - dual @ (normal.mT @ shown)).mT
    precision = precision * (valid[:, :, None] & valid[:, None, :])[:, None, None, None]
    return Whitened(spectrum, precision, grids.per_stripe * log_det, valid)


def _log_det(root: Float[Tensor, "B M N S C C"]) -> Float[Tensor, "B M"]:
    """Return that of the inverses, from Cholesky factors, summed over windows and stripes."""
    return -2 * root.diagonal(dim1=-2, dim2=-1).log().sum((2, 3, 4))


@torch.no_grad()
def _empty(raw: Tensor, scale: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the directions in which channels do not vary: loops of bipolar channels and common references.

    A discharge that was thought of channel by channel does not obey such a sum. What it stands for is what
    comes nearest to it in the input's units: the least squares of potentials at electrodes. That is what
    `1 - normal dual^T` makes of scaled channels.

    Returns
    -------
    empty : tensor [B, C, k]
        Orthonormal, of scaled channels; columns that some of the windows do without are 0.
    normal, dual : tensor [B, C, k]
        What the sums of empty directions are taken out along, and how.
    """
    scale64 = torch.where(valid, scale, 1.0).double()
    # An invalid channel's axis is not empty: it is left out elsewhere.
    correlation = raw.double() * (scale.double()[:, :, None] * scale.double()[:, None, :])
    value, vector = torch.linalg.eigh(correlation + torch.diag_embed((~valid).double()))
    is_empty = value <= RANK * value.mean(-1, keepdim=True)
    empty = vector[..., : int(is_empty.sum(-1).max())]
    empty = empty * is_empty[:, None, : empty.shape[-1]]
    across = scale64[:, :, None] * empty  # in the input's units
    across = across / across.norm(dim=1, keepdim=True).clamp_min(1e-300)
    dual = torch.linalg.pinv(across, rtol=1e-6).mT / scale64[:, :, None]
    return empty.to(raw), (scale64[:, :, None] * across).to(raw), dual.to(raw)
