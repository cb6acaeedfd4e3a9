"""How well a lead can be known from a window at best, for discharges that were planted."""

from __future__ import annotations

import numpy as np
import torch
from focal_cases import CHANNELS, N_SAMPLES, PROJECTOR, RATE_HZ

from cldtrans.evaluation.discharges import Discharge, response
from cldtrans.evaluation.planted import HOP_S
from cldtrans.lag.single_source.grids import STEP_S, Grids
from cldtrans.lag.single_source.noise import background_covariance

LATEST_S = 0.75


def scores(quiet: np.ndarray, discharge: Discharge, snr_db: tuple[float, ...]) -> np.ndarray:
    """Score channels by someone who knows everything but which of them is the lead, array [S, C].

    Known are the waveform and when it starts, all gains, what is mixed, the second source, the drift, the
    covariance of the noise (from the very background that the discharge was planted in) and, whenever a
    channel is judged, the delays of all others. Their part of the discharge is taken away; what is left is
    the channel's own at a delay d, and the background:

        l(d) = log N(x - others | channel's own at d, S) ; score = l(0) - log mean_(d >= 20 ms) exp l(d)

    on the bins that `focal_lead` uses. That is the log odds of "this channel is the lead" against "it is
    reached 20 to 750 ms later", for each channel on its own. No estimator that has to find any of this in
    the window can do better than by luck.

    Parameters
    ----------
    quiet : array [C, T]
        The background, microvolts.
    discharge : Discharge
        What was planted in it.
    snr_db : tuple of float
        S levels at which it was.
    """
    like = torch.zeros(1, dtype=torch.float64)
    grids = Grids(N_SAMPLES, RATE_HZ, LATEST_S, like)

    def spectrum(x: np.ndarray) -> np.ndarray:
        return grids.spectrum(torch.from_numpy(x), grids.taper).numpy()

    source = discharge.sources[0]
    seen = response(quiet, discharge, PROJECTOR)  # [C, C]
    pressed = seen.T @ _precision(quiet, grids)  # [F, C, C]
    noise = np.einsum("fij,jf->if", pressed, spectrum(quiet))
    own = np.einsum("fij,ji->if", pressed, seen)  # how much the montage shows of each channel's own
    late = np.arange(HOP_S[0], LATEST_S + STEP_S / 2, STEP_S)
    waves = spectrum(discharge.delayed(source, np.concatenate([[0.0], late])))  # [1 + D, F]
    actual = spectrum(discharge.delayed(source, source.plan.delay_s))  # [C, F]

    gain = source.plan.gain[:, None]
    with_noise = gain * (noise @ waves.conj().T).real  # [C, 1 + D]
    with_itself = gain**2 * ((own * actual) @ waves.conj().T).real
    size = gain**2 * own @ (np.abs(waves) ** 2).T
    result = []
    for level in snr_db:
        scale = 10 ** (level / 20)
        found = grids.kappa * (2 * scale * with_noise + scale**2 * (2 * with_itself - size))
        later = np.logaddexp.reduce(found[:, 1:], axis=1) - np.log(len(late))
        result.append(found[:, 0] - later)
    return np.array(result)


def _precision(quiet: np.ndarray, grids: Grids) -> np.ndarray:
    """Invert the background's covariance within what electrodes can produce, [F, C, C]."""
    every = torch.ones(1, len(CHANNELS), dtype=torch.bool)
    covariance, _ = background_covariance(torch.from_numpy(quiet)[None, None], every, grids)
    value, vector = np.linalg.eigh(PROJECTOR)
    basis = vector[:, value > 0.5]
    inner = basis.T @ covariance[0].numpy() @ basis
    inverse = basis @ np.linalg.inv(inner) @ basis.T
    assert inverse.shape[-1] == len(CHANNELS)
    return np.repeat(inverse, grids.per_stripe, axis=0)
