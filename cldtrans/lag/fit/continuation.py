"""What may have come after a window's end and before its start, as far as the channel itself foretells it.

A fractional delay is a sinc, which feels a window's ends from afar: a jump there, such as zeros after a slow
rhythm of a thousand times the innovations' size, rings through many samples that are scored. The best linear
continuation has no jump; of white noise it is zero.
"""

import numpy as np
from scipy.signal import lfilter, lfiltic

ORDER = 16
"""Of the autoregression that foretells; damped, it forgets within the filled samples."""


def continued(x: np.ndarray, n_samples: int) -> np.ndarray:
    """Fill windows up so that they close to a ring without a jump.

    Each channel's autoregression (`burg`) runs on from the end and, backwards, from the start of every
    window; one fades into the other.

    Parameters
    ----------
    x : array [N, C, T]
        Windows.
    n_samples : int
        Length of the ring.

    Returns
    -------
    array [N, C, n_samples]
        The windows with what may have followed and preceded them.
    """
    n_fill = n_samples - x.shape[-1]
    fade = np.cos(0.5 * np.pi * (np.arange(n_fill) + 0.5) / n_fill) ** 2
    filled = np.empty((*x.shape[:-1], n_samples))
    filled[..., : x.shape[-1]] = x
    for channel, windows in enumerate(np.moveaxis(x, 1, 0)):
        error_filter = burg(windows, min(ORDER, x.shape[-1] - 1))
        onwards = _free_run(windows, error_filter, n_fill)
        backwards = _free_run(windows[:, ::-1], error_filter, n_fill)[:, ::-1]
        filled[:, channel, x.shape[-1] :] = fade * onwards + fade[::-1] * backwards
    return filled


def _free_run(windows: np.ndarray, error_filter: np.ndarray, n_samples: int) -> np.ndarray:
    """Return what follows windows [N, T] without innovations, [N, n_samples]."""
    if len(error_filter) == 1:
        return np.zeros((len(windows), n_samples))
    state = np.stack(
        [lfiltic([1.0], error_filter, window[::-1]) for window in windows[:, -len(error_filter) :]]
    )
    return lfilter([1.0], error_filter, np.zeros((len(windows), n_samples)), zi=state)[0]


def burg(windows: np.ndarray, order: int) -> np.ndarray:
    """Estimate the prediction error filter of one channel; always stable.

    Burg's method (1975), the reflection coefficients pooled over the windows.

    Parameters
    ----------
    windows : array [N, T]
        Of one channel.
    order : int
        Samples of past.

    Returns
    -------
    array [order + 1]
        1, a_1, ..., a_order.
    """
    error_filter = np.ones(1)
    forward, backward = windows[:, 1:], windows[:, :-1]
    for _ in range(order):
        power = (forward**2).sum() + (backward**2).sum()
        if power <= 0:
            break
        reflection = -2.0 * (forward * backward).sum() / power
        padded = np.append(error_filter, 0.0)
        error_filter = padded + reflection * padded[::-1]
        forward, backward = (
            (forward + reflection * backward)[:, 1:],
            (backward + reflection * forward)[:, :-1],
        )
    return error_filter
