"""Change of sampling rate by a windowed-sinc polyphase filter, for tensors of any device and float type."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

ZERO_CROSSINGS = 12  # of the sinc on each side
ROLLOFF = 0.95  # pass-band edge as a share of the lower Nyquist rate
KAISER_BETA = 8.0  # stop band about -80 dB
MAX_DENOMINATOR = 1000


def resample(x: Tensor, sample_rate: float, new_rate_hz: float) -> Tensor:
    """Bring signals to another rate; sample 0 stays at time 0.

    Each output sample is the dot product of the input around its time with a Kaiser-windowed sinc that stops
    at the lower of the two Nyquist rates: no aliasing and no linear interpolation. x is zero outside.

    Parameters
    ----------
    x : tensor [..., T]
        Signals.
    sample_rate, new_rate_hz : float
        Hertz.

    Returns
    -------
    tensor [..., ceil(T * new / old)]
        The signals at the new rate.
    """
    ratio = Fraction(new_rate_hz / sample_rate).limit_denominator(MAX_DENOMINATOR)
    up, down = ratio.numerator, ratio.denominator
    if up == down:
        return x
    n_samples = x.shape[-1]
    cutoff = ROLLOFF * min(1.0, up / down)  # in cycles per two input samples
    half = math.ceil(ZERO_CROSSINGS / cutoff)
    phase = torch.arange(up, device=x.device, dtype=torch.float64)[:, None] * down / up
    whole = torch.floor(phase)
    offset = torch.arange(-half, half + 1, device=x.device, dtype=torch.float64)
    distance = (phase - whole) - offset  # input samples from tap to output time
    kaiser = torch.special.i0(KAISER_BETA * torch.sqrt((1 - (distance / (half + 1)) ** 2).clamp_min(0)))
    taps = cutoff * torch.sinc(cutoff * distance) * kaiser
    taps = (taps / taps.sum(-1, keepdim=True)).to(x.dtype)

    n_out = -(-n_samples * up // down)
    n_frames = -(-n_out // up)  # each frame of `down` inputs gives `up` outputs
    padded = F.pad(x.reshape(-1, 1, n_samples), (half, half + n_frames * down))
    # Phases start at different whole samples: place each phase's taps at its start, one strided convolution.
    kernel = x.new_zeros(up, 1, down + 2 * half + 1)
    position = whole.long() + torch.arange(2 * half + 1, device=x.device)
    kernel[:, 0].scatter_(1, position, taps)
    y = F.conv1d(padded, kernel, stride=down)[..., :n_frames]
    return y.transpose(1, 2).reshape(*x.shape[:-1], -1)[..., :n_out]
