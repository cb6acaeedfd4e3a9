"""The delay between any two channels, by the phase of their cross-spectrum: no claim of who causes whom.

Channels are whitened without a change of phase; their cross-covariances up to the largest lag are exact sums
over the windows. The delay is the slope of the phase over frequency, by generalised least squares: weights
`1 / (v(f) + kappa^2)` with the variance v of a phase at its coherence (Knapp & Carter 1976, IEEE Trans. ASSP
24:320, after Hannan & Thomson) and the variance kappa^2 of what no straight line explains, as echoes make it
(a random effect by moments, as in DerSimonian & Laird 1986, Control. Clin. Trials 7:177). Where kappa^2 = 0
it is maximum likelihood; with a large one every coherent frequency counts the same, as in PHAT.
Rows are targets: tau_ij > 0 where channel i is later than channel j.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cldtrans.errors import DataError
from cldtrans.lag.pairwise.phase import Pairs, delays
from cldtrans.lag.pairwise.result import PairwiseDelays
from cldtrans.lag.pairwise.spectra import SHORTEST, Plan, Spectra, whitened

CHUNK = 4_000_000
"""Numbers of one array of pairs by frequencies that are worked on at once."""


def pairwise_delays(
    x: Any, sample_rate: float, tau_max: float, *, band_hz: tuple[float, float] | None = None
) -> PairwiseDelays:
    """Estimate the delay of every channel after every other one.

    Parameters
    ----------
    x : array or tensor [C, T] or [N, C, T]
        Windows that share their delays, any unit.
    sample_rate : float
        Hertz.
    tau_max : float
        Largest delay searched, seconds, either way.
    band_hz : (float, float), optional
        Frequencies used; default: all that hold anything.

    Returns
    -------
    PairwiseDelays
        Delays with standard errors, and how coherent the channels are.

    Raises
    ------
    DataError
        For another shape, values that are not finite, a window too short for tau_max; one line.

    Notes
    -----
    The standard error is the largest of three: what coherence allows (the Cramér–Rao bound at these weights),
    the scatter over pieces of the recording, and how phases stray from the line over frequency. Where other
    peaks of the generalised correlation are nearly as high, it contains the way to them.
    """
    windows = _checked(x, sample_rate, tau_max, band_hz)
    n_channels = windows.shape[1]
    varies = windows.std(-1).amax(0) > 1e-12 * windows.abs().amax((0, 2)).clamp_min(1e-300)
    alive = torch.nonzero(varies)[:, 0]
    full = {name: np.full((n_channels, n_channels), np.nan) for name in ("tau", "tau_stderr")}
    full |= {name: np.zeros((n_channels, n_channels)) for name in ("coherence", "correlation", "stray")}
    place = alive.cpu().numpy()
    for name, value in (("tau", 0.0), ("tau_stderr", 0.0), ("coherence", 1.0), ("correlation", 1.0)):
        full[name][place, place] = value
    if len(alive) > 1:
        plan = Plan.of(windows.shape[0] * windows.shape[2], windows.shape[2], sample_rate, tau_max)
        white, used = whitened(windows[:, alive], plan, sample_rate, band_hz)
        spectra = Spectra.of(white, plan)
        later, earlier = torch.tril_indices(len(alive), len(alive), -1, device=windows.device)
        step = max(1, CHUNK // (2 * plan.reach))
        for first in range(0, len(later), step):
            rows, columns = later[first : first + step], earlier[first : first + step]
            both = used[rows] & used[columns]
            found = delays(Pairs(spectra, rows, columns, both, plan))
            i, j = place[rows.cpu().numpy()], place[columns.cpu().numpy()]
            for name, values in found.items():
                seconds = sample_rate if name.startswith("tau") else 1.0
                full[name][i, j] = values.cpu().numpy() / seconds
                full[name][j, i] = -full[name][i, j] if name == "tau" else full[name][i, j]
    return PairwiseDelays(**full, sample_rate=float(sample_rate), tau_max=float(tau_max))


def _checked(x: Any, sample_rate: float, tau_max: float, band_hz: tuple[float, float] | None) -> Tensor:
    """Return windows [N, C, T] of float64 without their means, or raise one clear error."""
    if not isinstance(x, Tensor) and np.asarray(x).dtype.kind not in "fiu":
        raise DataError(f"x has type {np.asarray(x).dtype}; expected real numbers")
    tensor = x.detach().double() if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=float))
    if tensor.dim() == 2:
        tensor = tensor[None]
    if tensor.dim() != 3 or 0 in tensor.shape:
        raise DataError(f"x has shape {tuple(np.shape(x))}; expected [C, T] or [N, C, T]")
    if not (sample_rate > 0 and tau_max > 0):
        raise DataError(f"sample_rate is {sample_rate} Hz and tau_max {tau_max} s; both must be positive")
    whole = torch.isfinite(tensor)
    if not bool(whole.all()):
        bad = torch.nonzero(~whole.all(2).all(0))[:, 0].tolist()
        raise DataError(
            f"x holds NaN or infinity in channels {bad}; cut windows of one length between "
            "the gaps, or drop these channels"
        )
    if band_hz is not None and not 0 <= band_hz[0] < band_hz[1]:
        raise DataError(f"band_hz is {band_hz}; expected 0 <= low < high")
    n_samples, least = tensor.shape[-1], 2 * math.ceil(tau_max * sample_rate) + 4 * SHORTEST
    if n_samples < least:
        raise DataError(
            f"windows of {n_samples} samples ({n_samples / sample_rate:g} s) are too short for tau_max = "
            f"{tau_max:g} s: {least} samples or more are needed; use longer windows or a smaller tau_max"
        )
    return tensor - tensor.mean(-1, keepdim=True)
